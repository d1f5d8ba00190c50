/** Cached data at once, results pushed by the backend, and timers that don't wait for it. */

import { useThrottledRefresh } from '@fanfare/client/react-query';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { Avatar, Bar, Card, Flash, PageHead, Sparkline, type Tone } from '../../ui/parts.tsx';
import type { Metric, Timer } from './contract.ts';
import { agencyQuery, useTimerSwitch } from './live.ts';
import { elapsed } from './timer.ts';
import './agency.css';

export function AgencyPage() {
  const refresh = useThrottledRefresh(['agency'], 5000);
  return (
    <>
      <PageHead
        title="Agency dashboard"
        about="The backend does the sums and pushes the results. Without a socket the same is asked by HTTP."
      >
        <button className="button" type="button" onClick={() => refresh()}>
          Refresh all
        </button>
      </PageHead>
      <Metrics />
      <div className="grid agency">
        <Timers />
        <Team />
        <Clients />
      </div>
    </>
  );
}

function Metrics() {
  const { data: metrics } = useQuery(agencyQuery('metrics'));
  return (
    <div className="grid tiles">
      {metrics?.map((metric) => (
        <dl key={metric.label} className="card tile metric">
          <dt>{metric.label}</dt>
          <dd>
            <Flash of={String(metric.value)}>{figure(metric)}</Flash>
          </dd>
          <Sparkline values={metric.trend} label={`Course of ${metric.label}`} />
        </dl>
      ))}
    </div>
  );
}

function Timers() {
  const { data: timers } = useQuery(agencyQuery('timers'));
  const turn = useTimerSwitch();
  return (
    <Card title="Timers" note="each third switch is refused">
      <ul className="rows">
        {timers?.map((timer) => (
          <li key={timer.id}>
            <span className="grow">
              <span className="cut timer-task">{timer.task}</span>
              <span className="soft cut">
                {timer.client} · {timer.who}
              </span>
            </span>
            <Clock timer={timer} />
            <button
              className="switch"
              type="button"
              role="switch"
              aria-checked={timer.running}
              aria-label={timer.task}
              disabled={timer.who !== 'You'}
              onClick={() => turn.mutate({ id: timer.id, running: !timer.running })}
            />
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Clock({ timer }: { timer: Timer }) {
  const { running } = timer;
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!running) return;
    const ticking = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(ticking);
  }, [running]);
  const seconds = Math.round(elapsed(timer, now) / 1000);
  const [h, m, s] = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map((part) =>
    String(Math.floor(part)).padStart(2, '0'),
  );
  return (
    <time className="number clock" data-running={running}>
      {h}:{m}:{s}
    </time>
  );
}

function Team() {
  const { data: team } = useQuery(agencyQuery('team'));
  return (
    <Card title="Team" note="booked">
      <ul className="rows">
        {team?.map(({ name, role, load }) => (
          <li key={name}>
            <Avatar name={name} />
            <span className="grow load">
              <span className="cut">
                {name} <span className="soft">{role}</span>
              </span>
              <Bar share={load / 120} label={`${name} is booked`} tone={loadTone(load)} />
            </span>
            <span className="number">{load} %</span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Clients() {
  const { data: clients } = useQuery(agencyQuery('clients'));
  return (
    <Card title="Clients" note="health, budget">
      <ul className="rows">
        {clients?.map(({ name, score, budget }) => (
          <li key={name}>
            <span className="score" data-tone={score > 75 ? 'good' : score > 60 ? 'warn' : 'bad'}>
              <Flash of={String(score)}>{score}</Flash>
            </span>
            <span className="grow cut">{name}</span>
            <span className="soft number">{budget} %</span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function loadTone(load: number): Tone {
  return load > 100 ? 'bad' : load > 85 ? 'warn' : 'good';
}

function figure({ value, unit }: Metric): string {
  if (unit === 'money') return `€ ${value.toLocaleString('en-GB')}`;
  return unit === 'hours' ? `${value.toLocaleString('en-GB')} h` : `${value} %`;
}
