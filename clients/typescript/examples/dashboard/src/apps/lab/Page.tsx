/** Equipment, sessions, and an inbox that only its owner hears of. */

import { useEvent, usePresence } from '@fanfare/client/react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { get, me, post } from '../../api.ts';
import { Avatar, Card, PageHead, Pill, Sparkline, type Tone } from '../../ui/parts.tsx';
import type { Equipment, Sample, Session } from './contract.ts';
import './lab.css';

const TONES: Record<Equipment['status'] | Sample['status'], Tone> = {
  available: 'good',
  in_use: 'warn',
  maintenance: 'bad',
  new: 'info',
  received: 'plain',
  testing: 'warn',
  done: 'good',
};

const LABELS = { available: 'Free', in_use: 'In use', maintenance: 'Service' };

export function LabPage() {
  return (
    <>
      <PageHead
        title="Equipment lab"
        about="Who uses what, at this moment. Samples are told to the one who gets them, and to nobody else."
      >
        <Colleagues />
      </PageHead>
      <EquipmentGrid />
      <div className="grid lab">
        <Inbox />
        <MySessions />
        <Latency />
      </div>
    </>
  );
}

/** Who else looks at this page. */
function Colleagues() {
  const others = usePresence('lab').users.filter(({ user }) => user !== me);
  if (others.length === 0) {
    return (
      <a className="soft" href="/?as=grace#/lab" target="_blank" rel="noreferrer">
        Only you are here: come as Grace, too
      </a>
    );
  }
  return (
    <span className="soft colleagues">
      Also here:
      {others.map(({ user }) => (
        <Avatar key={user} name={user} />
      ))}
      {others.map(({ user }) => user).join(', ')}
    </span>
  );
}

function EquipmentGrid() {
  const { data: equipment } = useQuery({ queryKey: ['equipment'], queryFn: () => get<Equipment[]>('/lab/equipment') });
  const start = useMutation({ mutationFn: (id: string) => post(`/lab/equipment/${id}/start`) });
  return (
    <ul className="grid equipment">
      {equipment?.map(({ id, name, room, status, user }) => (
        <li key={id} className="card" data-status={status}>
          <div className="equipment-head">
            <Pill tone={TONES[status]}>{LABELS[status]}</Pill>
            <span className="soft">{room}</span>
          </div>
          <b className="cut">{name}</b>
          <div className="equipment-foot soft">
            {status === 'available' ? (
              <button className="button" data-size="small" type="button" onClick={() => start.mutate(id)}>
                Start a session
              </button>
            ) : (
              <span className="cut">{user === me ? 'You' : (user ?? 'Back soon')}</span>
            )}
          </div>
        </li>
      ))}
    </ul>
  );
}

function Inbox() {
  const { data: samples } = useQuery({ queryKey: ['inbox'], queryFn: () => get<Sample[]>('/lab/inbox') });
  const { data: unread } = useQuery({ queryKey: ['unread-count'], queryFn: () => get<number>('/lab/unread-count') });
  const read = useMutation({ mutationFn: (id: string) => post(`/lab/inbox/${id}/read`) });
  return (
    <Card title="Your samples" note={`${unread ?? 0} unread`}>
      <ul className="rows">
        {samples?.map(({ id, name, sender, status, unread }) => (
          <li key={id}>
            <button type="button" className="sample grow" data-unread={unread} onClick={() => read.mutate(id)}>
              <span className="cut">{name}</span>
              <span className="soft cut">from {sender}</span>
            </button>
            <Pill tone={TONES[status]}>{status}</Pill>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function MySessions() {
  const { data: all } = useQuery({ queryKey: ['sessions'], queryFn: () => get<Session[]>('/lab/sessions') });
  const { data: mine } = useQuery({ queryKey: ['my-sessions'], queryFn: () => get<Session[]>('/lab/my-sessions') });
  const { data: equipment } = useQuery({ queryKey: ['equipment'], queryFn: () => get<Equipment[]>('/lab/equipment') });
  const end = useMutation({ mutationFn: (id: string) => post(`/lab/sessions/${id}/end`) });
  const nameOf = (id: string) => equipment?.find((one) => one.id === id)?.name;
  return (
    <Card title="Sessions" note={`${all?.length ?? 0} running`}>
      <ul className="rows">
        {mine?.map(({ id, equipment }) => (
          <li key={id}>
            <span className="grow cut">{nameOf(equipment)}</span>
            <button className="button" data-size="small" type="button" onClick={() => end.mutate(id)}>
              End mine
            </button>
          </li>
        ))}
        {all
          ?.filter(({ user }) => user !== me)
          .map(({ id, equipment, user }) => (
            <li key={id}>
              <Avatar name={user} />
              <span className="grow cut">{nameOf(equipment)}</span>
            </li>
          ))}
      </ul>
    </Card>
  );
}

/** From publishing to the screen. Both clocks are this machine's. */
function Latency() {
  const [times, setTimes] = useState<readonly number[]>([]);
  useEvent(
    'equipment_update',
    ({ at = 0 }) => requestAnimationFrame(() => setTimes((times) => [...times, Date.now() - at].slice(-60))),
    { channel: 'lab' },
  );
  const sorted = times.toSorted((a, b) => a - b);
  const milliseconds = (quantile: number) =>
    sorted.length > 0 ? `${sorted[Math.min(sorted.length - 1, Math.floor(quantile * sorted.length))]} ms` : '–';
  return (
    <Card title="Publish to screen" note={`last ${times.length}`}>
      <dl className="latency">
        <div>
          <dt className="soft">median</dt>
          <dd>{milliseconds(0.5)}</dd>
        </div>
        <div>
          <dt className="soft">p99</dt>
          <dd>{milliseconds(0.99)}</dd>
        </div>
      </dl>
      <Sparkline values={times} label="Milliseconds from publishing to the screen, each update" />
    </Card>
  );
}
