/** A day's shifts: fifteen types of events, for the company, for one user and for a channel. */

import { useEvent, useEventState, useWebSocket } from '@fanfare/client/react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { type CSSProperties, useState } from 'react';
import { get, post } from '../../api.ts';
import { Avatar, Card, PageHead, Pill, Tile, type Tone } from '../../ui/parts.tsx';
import { toast } from '../../ui/toasts.tsx';
import type { RosterRow, Shift, Stats, Violation } from './contract.ts';
import './shifts.css';

const TONES: Record<Shift['status'], Tone> = {
  planned: 'plain',
  active: 'good',
  paused: 'warn',
  completed: 'info',
  cancelled: 'bad',
};
const NEXT: Record<Shift['status'], string> = {
  planned: 'start',
  active: 'pause',
  paused: 'resume',
  completed: 'plan',
  cancelled: 'plan',
};
const DAY = { from: 6 * 60, to: 22 * 60 };

export function ShiftsPage() {
  useEvent('system.notification', ({ data }) => toast(data.message));
  return (
    <>
      <PageHead title="Shifts" about="The whole company hears of shifts; violations have a channel of their own.">
        <WatchViolations />
      </PageHead>
      <StatTiles />
      <div className="grid shifts">
        <Roster />
        <div className="grid">
          <Violations />
          <Activity />
        </div>
      </div>
    </>
  );
}

/** A channel by hand, as hooks have it that people write themselves. */
function WatchViolations() {
  const [watching, setWatching] = useState(false);
  const { subscribeToChannel, unsubscribeFromChannel } = useWebSocket();
  useEvent(
    ['violation.detected', 'violation.created'],
    ({ data }) => data.severity >= 6 && toast(`Severity ${data.severity}`, data.description, 'bad'),
    { enabled: watching },
  );
  const toggle = () => {
    (watching ? unsubscribeFromChannel : subscribeToChannel)('violations');
    setWatching(!watching);
  };
  return (
    <button className="button" type="button" aria-pressed={watching} onClick={toggle}>
      {watching ? 'Alerts are on' : 'Alert me to violations'}
    </button>
  );
}

function StatTiles() {
  const { data: stats } = useQuery({ queryKey: ['shift-stats'], queryFn: () => get<Stats>('/shifts/stats') });
  return (
    <div className="grid tiles">
      <Tile label="Active shifts" value={stats?.activeShifts ?? '–'} />
      <Tile label="On a break" value={stats?.onBreak ?? '–'} />
      <Tile label="Open violations" value={stats?.violations ?? '–'} />
      <Tile label="Pending exceptions" value={stats?.pendingExceptions ?? '–'} />
    </div>
  );
}

function Roster() {
  const { data: rows } = useQuery({ queryKey: ['shifts'], queryFn: () => get<RosterRow[]>('/shifts') });
  const step = useMutation({ mutationFn: ({ id, status }: Shift) => post(`/shifts/${id}/${NEXT[status]}`) });
  return (
    <Card title="Today" note="06:00 to 22:00">
      <ul className="roster">
        {rows?.map(({ id, name, role, shift }) => (
          <li key={id}>
            <Avatar name={name} />
            <span className="grow">
              <span className="cut">{name}</span>
              <span className="soft">{role}</span>
            </span>
            <span className="span" style={span(shift)} data-tone={TONES[shift.status]}>
              <i />
            </span>
            <Pill tone={TONES[shift.status]}>{shift.status}</Pill>
            <button className="button" data-size="small" type="button" onClick={() => step.mutate(shift)}>
              {NEXT[shift.status]}
            </button>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Violations() {
  const { data: violations } = useQuery({
    queryKey: ['violations'],
    queryFn: () => get<Violation[]>('/shifts/violations'),
  });
  return (
    <Card title="Violations">
      {violations?.length === 0 && <p className="empty">None.</p>}
      <ul className="rows">
        {violations?.slice(0, 4).map(({ id, severity, description }) => (
          <li key={id} className="flash">
            <span className="severity" data-tone={severity >= 7 ? 'bad' : severity >= 4 ? 'warn' : 'plain'}>
              {severity}
            </span>
            <span className="grow">{description}</span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

/** Everything that the company is told, newest first. */
function Activity() {
  const lines = useEventState(
    '*',
    (lines, { topic, type, at = 0 }) =>
      topic === 'tenant' ? [{ id: (lines[0]?.id ?? 0) + 1, type, at }, ...lines].slice(0, 8) : lines,
    [] as { id: number; type: string; at: number }[],
    { everyMs: 400 },
  );
  return (
    <Card title="Told to the company">
      <ol className="activity">
        {lines.map(({ id, type, at }) => (
          <li key={id}>
            <code>{type}</code>
            <time className="soft">{new Date(at).toLocaleTimeString('en-GB')}</time>
          </li>
        ))}
      </ol>
    </Card>
  );
}

function span({ from, to }: Shift): CSSProperties {
  const share = (minutes: number) => `${((minutes - DAY.from) / (DAY.to - DAY.from)) * 100}%`;
  return { '--from': share(from), '--to': share(to) } as CSSProperties;
}
