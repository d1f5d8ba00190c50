/** An agency's dashboard: the backend does all sums, when it is asked (a method) and when something has changed (an event). */

import { channel, RequestError } from '@fanfare/server';
import type { AgencyData, Timer } from '../../src/apps/agency/contract.ts';
import type { World } from '../world.ts';

export function agency({ routes, worker, random, publish, every }: World): void {
  const now = Date.now();
  const data: AgencyData = {
    metrics: [
      { label: 'Revenue this month', value: 184_200, unit: 'money', trend: trend(160_000, 184_200) },
      { label: 'Billable hours', value: 1286, unit: 'hours', trend: trend(1100, 1286) },
      { label: 'Utilisation', value: 78, unit: 'percent', trend: trend(70, 78) },
      { label: 'Margin', value: 34, unit: 'percent', trend: trend(31, 34) },
    ],
    team: [
      { name: 'Hanna Berg', role: 'Design', load: 92 },
      { name: 'Tomás Pinto', role: 'Engineering', load: 74 },
      { name: 'Ruth Adeyemi', role: 'Strategy', load: 61 },
      { name: 'Kenji Mori', role: 'Engineering', load: 104 },
      { name: 'Clara Vogt', role: 'Content', load: 48 },
    ],
    clients: [
      { name: 'Northwind Rail', score: 91, budget: 64 },
      { name: 'Brightwater', score: 78, budget: 88 },
      { name: 'Halden Foods', score: 55, budget: 102 },
      { name: 'Lumen Energy', score: 84, budget: 47 },
      { name: 'Ostrava Museum', score: 69, budget: 73 },
    ],
    timers: [
      {
        id: 't-1',
        task: 'Booking flow',
        client: 'Northwind Rail',
        who: 'You',
        running: true,
        elapsedMs: 4_380_000,
        updatedAt: now,
      },
      {
        id: 't-2',
        task: 'Brand workshop',
        client: 'Brightwater',
        who: 'You',
        running: false,
        elapsedMs: 1_920_000,
        updatedAt: now,
      },
      {
        id: 't-3',
        task: 'Tariff calculator',
        client: 'Lumen Energy',
        who: 'You',
        running: false,
        elapsedMs: 660_000,
        updatedAt: now,
      },
      {
        id: 't-4',
        task: 'Recipe platform',
        client: 'Halden Foods',
        who: 'Kenji Mori',
        running: true,
        elapsedMs: 9_120_000,
        updatedAt: now,
      },
      {
        id: 't-5',
        task: 'Exhibition site',
        client: 'Ostrava Museum',
        who: 'Clara Vogt',
        running: true,
        elapsedMs: 2_700_000,
        updatedAt: now,
      },
    ],
  };
  let updates = 0;

  worker.method('dashboard.metrics', () => data.metrics);
  worker.method('dashboard.team', () => data.team);
  worker.method('dashboard.clients', () => data.clients);
  worker.method('dashboard.timers', () => data.timers);
  worker.method('timers.update', async ({ data: { id, running } }) => {
    await new Promise((resolve) => setTimeout(resolve, 700)); // long enough to see that the page doesn't wait
    updates += 1;
    if (updates % 3 === 0) throw new RequestError('forbidden', 'the time sheet is locked, try again');
    const timer = data.timers.find((timer) => timer.id === String(id));
    if (!timer) throw new RequestError('forbidden', 'there is no such timer');
    return turn(timer, running === true);
  });

  // The same by HTTP, for pages without a connection.
  routes.get('/agency/metrics', () => data.metrics);
  routes.get('/agency/team', () => data.team);
  routes.get('/agency/clients', () => data.clients);
  routes.get('/agency/timers', () => data.timers);

  every(2000, () => {
    const [revenue, hours, ...shares] = data.metrics;
    if (revenue) move(revenue, revenue.value + random.whole(-150, 900));
    if (hours) move(hours, hours.value + random.whole(0, 4));
    for (const share of shares) move(share, Math.min(97, Math.max(20, share.value + random.whole(-2, 2))));
    publish(channel('agency'), { type: 'dashboard.metrics_updated', data: data.metrics });
  });
  every(3100, () => {
    const member = random.pick(data.team);
    if (member) member.load = Math.min(118, Math.max(20, member.load + random.whole(-9, 9)));
    publish(channel('agency'), { type: 'dashboard.team_updated', data: data.team });
  });
  every(4700, () => {
    const client = random.pick(data.clients);
    if (client) client.score = Math.min(99, Math.max(30, client.score + random.whole(-6, 6)));
    publish(channel('agency'), { type: 'dashboard.clients_updated', data: data.clients });
  });
  every(6000, () => {
    const timer = random.pick(data.timers.filter(({ who }) => who !== 'You'));
    if (timer) turn(timer, !timer.running);
  });

  function turn(timer: Timer, running: boolean): Timer {
    const now = Date.now();
    if (timer.running) timer.elapsedMs += now - timer.updatedAt;
    Object.assign(timer, { running, updatedAt: now });
    publish(channel('agency'), { type: 'dashboard.timers_updated', data: data.timers });
    return timer;
  }

  function trend(from: number, to: number): number[] {
    return Array.from(
      { length: 24 },
      (_, step) => from + ((to - from) * step) / 23 + (to - from) * 0.3 * random.next(),
    );
  }
}

function move(metric: { value: number; trend: number[] }, value: number): void {
  metric.value = value;
  metric.trend = [...metric.trend.slice(1), value];
}
