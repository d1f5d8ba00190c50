import type { Page } from 'playwright-core';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { Refusal } from './support/backend.ts';
import { shows } from './support/chromium.ts';
import { Stage, settled } from './support/stage.ts';

const KINDS = ['metrics', 'team', 'clients'];
const MINUTE = 60_000;

const stage = new Stage();
/** What the backend computes, by its kind. */
let figures: Record<string, string>;
let timers: { id: string; task: string; running: boolean }[];
/** What backends were asked for, over the connection. */
let asked: string[];
/** A request to stop a timer that waits for its decision. */
let request: { confirm(): void; refuse(): void } | undefined;

beforeAll(() => {
  for (const kind of KINDS) {
    stage.app.serve(`dashboard/${kind}`, () => ({ value: figures[kind] }));
  }
  stage.app.serve('timers', () => timers);
  stage.backend.answer('dashboard.get', (input) => {
    const { kind } = input as { kind: string };
    asked.push(kind);
    return { value: figures[kind] };
  });
  stage.backend.answer('dashboard.refresh', async (input) => {
    const { kind } = input as { kind: string };
    asked.push(`refresh ${kind}`);
    await push(kind, `computed ${asked.filter((what) => what === `refresh ${kind}`).length} times`);
  });
  stage.backend.answer('timers.stop', async (input) => {
    const { id } = input as { id: string };
    await new Promise<void>((resolve, reject) => {
      request = { confirm: resolve, refuse: () => reject(new Refusal('forbidden', 'this timer is not yours')) };
    });
    set(id, { running: false });
  });
});

beforeEach(() => {
  figures = { metrics: '10', team: '3', clients: '7' };
  timers = [
    { id: 't1', task: 'Design', running: true },
    { id: 't2', task: 'Review', running: true },
  ];
  asked = [];
  request = undefined;
  stage.app.forgetCalls();
});

/** What the backend has computed goes to whoever shows it. */
async function push(kind: string, value: string): Promise<void> {
  figures[kind] = value;
  await stage.backend.publish('channel:agency', 'dashboard.data_updated', { kind, figures: { value } });
}

function set(id: string, change: Partial<(typeof timers)[number]>): void {
  timers = timers.map((timer) => (timer.id === id ? { ...timer, ...change } : timer));
}

function requested(): Promise<NonNullable<typeof request>> {
  return until('the backend was asked', () => request);
}

async function showsFigures(tab: Page): Promise<void> {
  for (const kind of KINDS) {
    await shows(tab, `#${kind}`, `${kind}: ${figures[kind]}`);
  }
}

test('figures are asked for over the connection, each once, and what the backend pushes takes their place', async () => {
  const tab = await stage.open('agency');
  await showsFigures(tab);
  asked = [];
  stage.app.forgetCalls();
  figures = { metrics: '11', team: '4', clients: '8' };

  await tab.evaluate(() => window.page?.queryClient.invalidateQueries());
  await showsFigures(tab);
  expect(asked.sort()).toEqual(['clients', 'metrics', 'team']);

  await push('metrics', '12');
  await push('team', '5');
  await showsFigures(tab);
  expect(asked).toHaveLength(3);
  expect(KINDS.map((kind) => stage.app.calls(`dashboard/${kind}`))).toEqual([0, 0, 0]);
  await stage.accountsFor('channel:agency', tab);
});

test('however often a refresh is asked for, the backend computes seldom, and everybody gets what it has computed', async () => {
  const tab = await stage.open('agency');
  const colleague = await stage.open('agency', { user: 'bo' });
  await showsFigures(tab);

  const refreshes = () => asked.filter((what) => what === 'refresh metrics').length;
  await tab.locator('#refresh').click();
  await until('it was computed', () => refreshes() === 1);
  await tab.evaluate(() => {
    for (let click = 0; click < 20; click += 1) {
      document.querySelector<HTMLElement>('#refresh')?.click();
    }
  });
  await until('it was computed again', () => refreshes() === 2 && figures.metrics === 'computed 2 times');
  await showsFigures(tab);
  await showsFigures(colleague);
  expect(refreshes()).toBe(2);
});

test('a change shows at once, and stays when the backend confirms it', async () => {
  const tab = await stage.open('agency');
  await shows(tab, '#t1', 'Design runs');

  await tab.getByText('Stop Design').click();
  await shows(tab, '#t1', 'Design stopped');
  expect(timers[0]?.running).toBe(true);
  (await requested()).confirm();

  await shows(tab, '#pending', 'nothing');
  await shows(tab, '#t1', 'Design stopped');
  expect(timers[0]?.running).toBe(false);
});

test('trap 9: a change that is refused is taken back, and what others have changed meanwhile stays', async () => {
  const tab = await stage.open('agency');
  await shows(tab, '#t2', 'Review runs');

  await tab.getByText('Stop Design').click();
  await shows(tab, '#t1', 'Design stopped');
  set('t2', { task: 'Second review' });
  await stage.backend.publish('channel:agency', 'timer.changed', { id: 't2' });
  await shows(tab, '#t2', 'Second review runs');
  // What was fetched has the timer running, and the change lies over it.
  await shows(tab, '#t1', 'Design stopped');
  (await requested()).refuse();

  await shows(tab, '#refusal', 'this timer is not yours');
  await shows(tab, '#t1', 'Design runs');
  await shows(tab, '#t2', 'Second review runs');
});

test('while the connection is away HTTP takes its place, and the channels come back by themselves', async () => {
  const tab = await stage.open('agency');
  await showsFigures(tab);
  stage.network.refuses = true;
  stage.network.cut();
  await shows(tab, '#status', 'Reconnecting');

  figures = { metrics: '12', team: '5', clients: '8' };
  asked = [];
  await tab.evaluate(() => window.page?.queryClient.invalidateQueries());
  await showsFigures(tab);
  expect(asked).toEqual([]);

  stage.network.heal();
  await shows(tab, '#status', 'Live');
  await push('metrics', '13');
  await showsFigures(tab);
  await stage.accountsFor('channel:agency', tab);
});

test('what is in the cache is shown at once, and fetched again when the time of its kind is over', async () => {
  const tab = await stage.open('agency', {}, { prepare: (tab) => tab.clock.install() });
  await showsFigures(tab);
  await shows(tab, '#t1', 'Design runs');
  stage.network.refuses = true;
  stage.network.cut();
  await shows(tab, '#status', 'Reconnecting');

  const fetchedOnReturn = async (afterMs: number) => {
    await tab.getByText('Switch').click();
    await tab.locator('#metrics').waitFor({ state: 'detached' });
    await tab.clock.fastForward(afterMs);
    stage.app.forgetCalls();
    await tab.getByText('Switch').click();
    // It stands there as soon as the page does.
    expect(await tab.locator('#metrics').textContent()).toBe('metrics: 10');
    await settled(tab);
    return ['dashboard/metrics', 'dashboard/team', 'dashboard/clients', 'timers'].filter(
      (path) => stage.app.calls(path) > 0,
    );
  };
  // Long after all times, and before what is not shown is dropped.
  await fetchedOnReturn(15 * MINUTE);

  expect(await fetchedOnReturn(10_000)).toEqual([]);
  expect(await fetchedOnReturn(30_000)).toEqual(['timers']);
  expect(await fetchedOnReturn(2.5 * MINUTE)).toEqual(['dashboard/team', 'timers']);
  expect(await fetchedOnReturn(2 * MINUTE)).toEqual(['dashboard/metrics', 'timers']);
  expect(await fetchedOnReturn(5 * MINUTE)).toEqual([
    'dashboard/metrics',
    'dashboard/team',
    'dashboard/clients',
    'timers',
  ]);
});

test('a panel shows how the connection and the cache are', async () => {
  const tab = await stage.open('agency');
  await showsFigures(tab);
  await shows(tab, '#t1', 'Design runs');
  // The company, the user, and the agency's channel.
  await shows(tab, '#subscriptions', /^3$/);
  await shows(tab, '#latency', /^\d+ ms$/);
  await shows(tab, '#reconnects', /^0$/);
  await shows(tab, '#cache', /^4$/);

  await stage.backend.publish('channel:agency', 'timer.changed', { id: 't1' });
  stage.network.cut();

  await shows(tab, '#reconnects', /^1$/);
  await shows(tab, '#subscriptions', /^3$/);
  await shows(tab, '#refreshed', /[1-9]/);
});
