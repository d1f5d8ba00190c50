import type { Page } from 'playwright-core';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type Client, createClient } from '../../src/index.ts';
import { until } from '../support/until.ts';
import { shows } from './support/chromium.ts';
import { Stage } from './support/stage.ts';
import { mintToken } from './support/token.ts';

// The operator has said that what happens to equipment is always kept.
const stage = new Stage({ FANFARE_TOPICS: '[{"pattern":"channel:equipment","durable":"always"}]' });
/** More than change within the time in which a page fetches the same at most once. */
const MACHINES = 50;
let equipment: { id: string; status: string }[];
let unread: Record<string, number>;
const sessions = new Map<string, string>();
/** Of this process. */
const clients: Client[] = [];

beforeAll(() => {
  stage.app.serve('equipment', () => equipment);
  stage.app.serve('inbox/ana', () => ({ unread: unread.ana }));
  stage.app.serve('inbox/bo', () => ({ unread: unread.bo }));
  for (const machine of machines(MACHINES)) {
    stage.app.serve(`sessions/${machine}`, () => ({ label: sessions.get(machine) ?? 'nobody' }));
  }
});

beforeEach(() => {
  equipment = machines(MACHINES).map((id) => ({ id, status: 'available' }));
  unread = { ana: 0, bo: 0 };
  sessions.clear();
  stage.app.forgetCalls();
});

afterEach(() => {
  for (const client of clients.splice(0)) {
    client.disconnect();
  }
});

function machines(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `m${index + 1}`);
}

/** Says how a machine is now, for those who are away as well. */
async function setStatus(id: string, status: string): Promise<void> {
  equipment = equipment.map((item) => (item.id === id ? { id, status } : item));
  await stage.backend.keep('channel:equipment', 'equipment_update', { id, status });
}

async function startSession(machine: string, label: string): Promise<void> {
  sessions.set(machine, label);
  await stage.backend.publish('channel:sessions', 'session_update', { equipment: machine });
}

test('there is one socket, though StrictMode mounts everything twice; the token is its first frame, and part of no address', async () => {
  const addresses: string[] = [];
  const frames: string[] = [];
  const prepare = async (tab: Page) => {
    tab.on('websocket', (socket) => {
      addresses.push(socket.url());
      socket.on('framesent', ({ payload }) => frames.push(String(payload)));
    });
  };

  await stage.open('equipment', {}, { prepare });

  expect(addresses).toEqual([`ws://127.0.0.1:${stage.network.port}/ws`]);
  expect(JSON.parse(frames[0] ?? '')).toMatchObject({ op: 'auth', token: expect.stringMatching(/^ey/) });
});

test('what happens to equipment shows by itself, and without asking the API again', async () => {
  const tab = await stage.open('equipment');
  await shows(tab, '#m3', 'available');
  const calls = stage.app.calls();

  await setStatus('m3', 'in use');

  await shows(tab, '#m3', 'in use');
  expect(stage.app.calls()).toBe(calls);
});

test('a sample is told to its recipient, in all her tabs, and to nobody else', async () => {
  const ana = await stage.somebody();
  const tabs = [
    await stage.open('equipment', { user: 'ana' }, { context: ana }),
    await stage.open('equipment', { user: 'ana' }, { context: ana }),
  ];
  const other = await stage.open('equipment', { user: 'bo' });
  await shows(other, '#inbox', '0 unread');
  const calls = stage.app.calls('inbox/bo');

  unread.ana = 1;
  await stage.backend.publish('user:ana', 'sample_update', { submission: 7 });
  await setStatus('m1', 'told to all, later');

  for (const tab of tabs) {
    await shows(tab, '#inbox', '1 unread');
  }
  await shows(other, '#m1', 'told to all, later');
  expect(stage.app.calls('inbox/bo')).toBe(calls);
});

test('the status and a toast tell of a lost connection, and that it is back', async () => {
  const tab = await stage.open('equipment');
  await shows(tab, '[role=status]', 'Live');

  stage.network.refuses = true;
  stage.network.cut();
  await shows(tab, '[role=status]', 'Reconnecting');
  await shows(tab, '#toasts', /^Connection lost$/);

  stage.network.refuses = false;
  await shows(tab, '[role=status]', 'Live');
  await shows(tab, '#toasts', 'Connection lost, Back again');
});

test('after a reconnect only that is fetched of which something may have been missed', async () => {
  const tab = await stage.open('equipment');
  await shows(tab, '#session-m1', 'nobody');
  await shows(tab, '#m1', 'available');
  stage.app.forgetCalls();

  stage.network.refuses = true;
  stage.network.cut();
  await shows(tab, '[role=status]', 'Reconnecting');
  await setStatus('m1', 'in use');
  await setStatus('m1', 'broken');
  await startSession('m1', 'ana');
  stage.network.refuses = false;

  // Kept, and handed over on coming back.
  await shows(tab, '#m1', 'broken');
  // For whoever was connected, so nobody knows.
  await shows(tab, '#session-m1', 'ana');
  expect(stage.app.calls('equipment')).toBe(0);
  expect(stage.app.calls('sessions/m1')).toBe(1);
  await stage.accountsFor('channel:equipment', tab);
  await stage.accountsFor('channel:sessions', tab);
});

test('with 200 connections a change is rendered within 100 ms of its publication, in 99 of 100 cases', async () => {
  const tab = await stage.open('equipment', { sessions: String(MACHINES) });
  await shows(tab, `#session-m${MACHINES}`, 'nobody');
  const others = await connectOthers(199);
  const rendered = await watchTexts(tab);

  // A busy machine makes one run slow; a slow client makes all of them slow. What is rendered and heard is no matter of time.
  for (let run = 1, isQuick = false; !isQuick; run += 1) {
    const published = await publishChanges(tab, run);
    const renderedAt = new Map(await rendered());
    expect([...renderedAt.keys()]).toEqual(expect.arrayContaining([...published.keys()]));
    await until('all others have it, too', () => others.every(({ heard }) => heard === run * published.size));

    const p99 = ['carried', 'fetched'].map((kind) => {
      const texts = [...published].filter(([text]) => text.startsWith(kind));
      const delays = texts.map(([text, at]) => (renderedAt.get(text) ?? Number.POSITIVE_INFINITY) - at);
      return delays.sort((one, other) => other - one)[1] ?? Number.NaN;
    });
    isQuick = p99.every((ms) => ms < 100);
    expect(isQuick || run < 3, `p99 of what is carried and of what is fetched, in ms: ${p99}`).toBe(true);
  }
});

/** Changes each machine in turn, and waits for each change to be rendered. Returns the texts, and when each was published. */
async function publishChanges(tab: Page, run: number): Promise<Map<string, number>> {
  const published = new Map<string, number>();
  for (let turn = 0; turn < 100; turn += 1) {
    const machine = machines(MACHINES)[turn % MACHINES] ?? '';
    // One event carries the change; after the other one the page fetches it.
    const [carried, fetched] = [`carried ${run}.${turn}`, `fetched ${run}.${turn}`];
    published.set(carried, now());
    await setStatus(machine, carried);
    published.set(fetched, now());
    await startSession(machine, fetched);
    await shows(tab, `#session-${machine}`, fetched);
    await shows(tab, `#${machine}`, carried);
  }
  return published;
}

/** Unix ms, and fractions: the same clock as in pages on this machine. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

/** Has the page note each text that it shows, and when. */
async function watchTexts(tab: Page): Promise<() => Promise<[string, number][]>> {
  const noted = await tab.evaluateHandle(() => {
    const noted: [string, number][] = [];
    const observer = new MutationObserver((changes) => {
      const at = performance.timeOrigin + performance.now();
      noted.push(...changes.map(({ target }): [string, number] => [target.textContent ?? '', at]));
    });
    observer.observe(document.body, { subtree: true, characterData: true });
    return noted;
  });
  return () => noted.jsonValue();
}

/** Connects so many others, who hear the same. */
async function connectOthers(count: number): Promise<{ heard: number }[]> {
  const others = Array.from({ length: count }, (_, index) => {
    const client = createClient({
      url: `ws://127.0.0.1:${stage.node.port}/ws`,
      getToken: () => mintToken({ tenant: stage.app.tenant, user: `u${index}`, lifetimeS: 600 }),
      WebSocket,
    });
    const other = { client, heard: 0 };
    for (const channel of ['equipment', 'sessions']) {
      client.channel(channel).on('*', () => {
        other.heard += 1;
      });
    }
    clients.push(client);
    return other;
  });
  await until('all are live', () => others.every(({ client }) => client.state.get().status === 'connected'));
  return others;
}
