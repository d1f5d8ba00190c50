/** Agency: a dashboard that is computed by the backend, asked for over the connection, or over HTTP when that is down. */

import { bindQueryClient, liveQueryOptions } from '@fanfare/client/query';
import { ConnectionStatus, useConnectionHealth } from '@fanfare/client/react';
import { useRealtimeMutation, useThrottledRefresh } from '@fanfare/client/react-query';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, render, setUp } from './shell.tsx';

const MINUTE = 60_000;

interface Timer {
  id: string;
  task: string;
  running: boolean;
}

const page = setUp();
// What isn't shown for a while is kept as long as the longest of these times.
page.queryClient.setDefaultOptions({ queries: { gcTime: 20 * MINUTE } });
const binding = bindQueryClient(page.client, page.queryClient, {
  rules: {
    'timer.changed': { channels: ['agency'], keys: [['timers']] },
  },
  ttl: [
    { queryKey: ['metrics'], staleTime: 5 * MINUTE },
    { queryKey: ['team'], staleTime: 3 * MINUTE },
    { queryKey: ['clients'], staleTime: 10 * MINUTE },
    { queryKey: ['timers'], staleTime: MINUTE / 2 },
  ],
});

interface Figures {
  value: string;
}

/** One kind of data: the backend computes it when asked, and pushes it when it has changed. */
function figures(kind: string) {
  return liveQueryOptions({
    queryKey: [kind],
    method: 'dashboard.get',
    input: { kind },
    fallback: () => api<Figures>(`dashboard/${kind}`),
    channels: ['agency'],
    patchOn: { 'dashboard.data_updated': ({ data }) => (data.kind === kind ? data.figures : undefined) },
  });
}

function Figure({ kind }: { kind: string }) {
  const { data } = useQuery(figures(kind));
  return (
    <p id={kind}>
      {kind}: {data?.value ?? 'loading'}
    </p>
  );
}

function Timers() {
  const { data = [] } = useQuery({ queryKey: ['timers'], queryFn: () => api<Timer[]>('timers') });
  const stop = useRealtimeMutation({
    method: 'timers.stop',
    optimistic: ({ id }: { id: string }) => [
      {
        queryKey: ['timers'],
        update: (timers: Timer[]) => timers.map((timer) => (timer.id === id ? { ...timer, running: false } : timer)),
      },
    ],
  });
  return (
    <>
      <ul id="timers">
        {data.map(({ id, task, running }) => (
          <li key={id} id={id}>
            {task} {running ? 'runs' : 'stopped'}
            <button type="button" onClick={() => stop.mutate({ id })}>
              Stop {task}
            </button>
          </li>
        ))}
      </ul>
      <p id="pending">{stop.isPending ? 'one change' : 'nothing'}</p>
      <p id="refusal">{stop.error?.message}</p>
    </>
  );
}

function Refresh() {
  const refresh = useThrottledRefresh({ method: 'dashboard.refresh', input: { kind: 'metrics' } }, 1000);
  return (
    <button type="button" id="refresh" onClick={() => refresh()}>
      Refresh
    </button>
  );
}

function HealthPanel() {
  const { latencyMs, subscriptions, reconnects } = useConnectionHealth();
  return (
    <dl>
      <dt>round trip</dt>
      <dd id="latency">{latencyMs === undefined ? 'unknown' : `${latencyMs} ms`}</dd>
      <dt>subscriptions</dt>
      <dd id="subscriptions">{subscriptions}</dd>
      <dt>reconnects</dt>
      <dd id="reconnects">{reconnects}</dd>
      <dt>in the cache</dt>
      <dd id="cache">{binding.cacheSize}</dd>
      <dt>refreshed</dt>
      <dd id="refreshed">{Object.keys(binding.lastRefresh).length}</dd>
    </dl>
  );
}

function Dashboard() {
  const [view, setView] = useState('dashboard');
  return (
    <>
      <p id="status">
        <ConnectionStatus />
      </p>
      <button type="button" onClick={() => setView(view === 'dashboard' ? 'other' : 'dashboard')}>
        Switch
      </button>
      {view === 'dashboard' && (
        <>
          <Figure kind="metrics" />
          <Figure kind="team" />
          <Figure kind="clients" />
          <Timers />
          <Refresh />
        </>
      )}
      <HealthPanel />
    </>
  );
}

render(page, <Dashboard />);
