import type { Page } from 'playwright-core';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { shows, sleep } from './support/chromium.ts';
import { live, Stage } from './support/stage.ts';

// A token is worth nothing from the second in which it expires.
const stage = new Stage({ FANFARE_TOKEN_EXPIRY_GRACE_S: '0', FANFARE_JWT_LEEWAY_S: '0' });
let total: number;

beforeAll(() => {
  stage.app.serve('orders', () => ({ total }));
});

beforeEach(() => {
  total = 0;
  stage.app.forgetCalls();
});

afterEach(() => {
  stage.app.tokenLifetimeS = 600;
});

/** Changes orders, and tells those who are away as well. */
async function keepOrders(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    total += 1;
    await stage.backend.keep('channel:orders', 'order.updated', { id: total });
  }
}

/** Changes an order, and tells whoever is connected. */
async function publishOrder(): Promise<void> {
  total += 1;
  await stage.backend.publish('channel:orders', 'order.updated', { id: total });
}

/** Everything that was published has come, or a gap told of it, and the page shows what the API has. */
async function nothingIsLost(tab: Page): Promise<void> {
  await stage.accountsFor('channel:orders', tab);
  await shows(tab, '#orders', new RegExp(`^${total} orders$`));
}

function isReconnecting(tab: Page): Promise<unknown> {
  return tab.waitForFunction(() => window.page?.client.state.get().status === 'reconnecting');
}

function reconnects(tab: Page): Promise<number> {
  return tab.evaluate(() => window.page?.states.filter(({ status }) => status === 'reconnecting').length ?? 0);
}

function transport(tab: Page): Promise<string | undefined> {
  return tab.evaluate(() => {
    const state = window.page?.client.state.get();
    return state?.status === 'connected' ? state.transport : undefined;
  });
}

test('a node is killed and comes back: what was kept meanwhile is handed over', async () => {
  const tab = await stage.open('orders');
  await keepOrders(3);
  await publishOrder();
  await shows(tab, '#events', '1 2 3 4');

  await stage.node.kill();
  await isReconnecting(tab);
  await keepOrders(5);
  await publishOrder();
  await stage.node.restart();
  await live(tab);
  await keepOrders(1);

  await shows(tab, '#events', '1 2 3 4 5 6 7 8 9 11');
  await nothingIsLost(tab);
});

test('Redis is restarted and has forgotten everything: a gap tells of it, and what is shown is fetched afresh', async () => {
  const tab = await stage.open('orders');
  await keepOrders(2);
  await shows(tab, '#events', '1 2');

  await stage.restartRedis(() => {
    total += 1;
  });
  await shows(tab, '#orders', '3 orders');
  await publishOrder();
  await keepOrders(1);

  await nothingIsLost(tab);
  const gaps = await tab.evaluate(() => window.page?.heard.filter((entry) => 'gap' in entry));
  expect(gaps).toContainEqual(expect.objectContaining({ topic: 'channel:orders' }));
});

test('3 s of a blocked main thread are no reason to reconnect, and nothing is lost', async () => {
  const tab = await stage.open('orders', { silenceMs: '300' });
  const { upgrades } = stage.network;

  const blocked = tab.evaluate(() => {
    // So the client asks the node, and can't hear the answer.
    window.dispatchEvent(new Event('online'));
    const end = performance.now() + 3000;
    while (performance.now() < end) {
      // As a page does that computes too much.
    }
  });
  await keepOrders(20);
  await publishOrder();
  await blocked;

  await nothingIsLost(tab);
  // A question that was asked after the block has been answered.
  await tab.waitForFunction(() => window.page?.client.health.get().latencyMs !== undefined);
  expect(await reconnects(tab)).toBe(0);
  expect(stage.network.upgrades).toBe(upgrades);
});

test('a connection that is silently dead is noticed, and another one takes its place', async () => {
  const tab = await stage.open('orders', { silenceMs: '300' });
  await keepOrders(1);
  await shows(tab, '#events', '1');

  stage.network.stall();
  await keepOrders(3);
  await publishOrder();

  await shows(tab, '#events', '1 2 3 4');
  await live(tab);
  await nothingIsLost(tab);
});

test('a tab that is closed is gone from the node', async () => {
  const ana = await stage.somebody();
  const [tab, other] = [
    await stage.open('orders', {}, { context: ana }),
    await stage.open('orders', {}, { context: ana }),
  ];
  expect(await stage.node.connections()).toBe(2);

  await tab.close();

  await until('one connection is left', async () => (await stage.node.connections()) === 1);
  await publishOrder();
  await nothingIsLost(other);
});

test('the token expires while the page sleeps: it wakes up, fetches exactly one, and goes on where it was', async () => {
  stage.app.tokenLifetimeS = 3;
  const tab = await stage.open('orders');
  await keepOrders(1);
  await shows(tab, '#events', '1');

  const wake = await sleep(stage.browser);
  stage.app.tokenLifetimeS = 600;
  await until('the node has ended the connection', async () => (await stage.node.connections()) === 0);
  await keepOrders(3);
  await publishOrder();
  const { tokens } = stage.app;
  const { upgrades } = stage.network;
  wake();

  await shows(tab, '#events', '1 2 3 4');
  await live(tab);
  expect(stage.app.tokens - tokens).toBe(1);
  expect(stage.network.upgrades - upgrades).toBe(1);
  expect(await tab.evaluate(() => window.page?.states.map(({ status }) => status))).not.toContain('failed');
  await nothingIsLost(tab);
});

test('the network forgets the connection of a page that sleeps, and its token expires: on waking up it asks once, and comes back', async () => {
  stage.app.tokenLifetimeS = 3;
  const tab = await stage.open('orders');

  const wake = await sleep(stage.browser);
  stage.app.tokenLifetimeS = 600;
  stage.network.stall();
  await until('the node has ended the connection', async () => (await stage.node.connections()) === 0);
  await keepOrders(3);
  const { tokens } = stage.app;
  const { upgrades } = stage.network;
  wake();
  // What a browser tells its pages when the machine has slept.
  await tab.evaluate(() => window.dispatchEvent(new Event('online')));

  await shows(tab, '#events', '1 2 3');
  await live(tab);
  expect(stage.app.tokens - tokens).toBe(1);
  expect(stage.network.upgrades - upgrades).toBe(1);
  await nothingIsLost(tab);
});

test('WebSockets are blocked: an event stream takes over, until they are allowed again', async () => {
  stage.network.blocksWebSockets = true;
  const tab = await stage.open('orders', {}, { prepare: (tab) => tab.clock.install() });
  expect(await transport(tab)).toBe('sse');
  await keepOrders(3);
  await publishOrder();
  await shows(tab, '#events', '1 2 3 4');

  // What a page says goes as requests.
  stage.backend.answer('orders.double', (input) => 2 * Number(input));
  expect(await tab.evaluate(() => window.page?.client.request('orders.double', 21))).toBe(42);
  await tab.evaluate(() => {
    window.page?.client
      .channel('notes')
      .on('note.added', ({ data, own }) => Object.assign(window, { note: { data, own } }));
  });
  await tab.waitForFunction(() => window.page?.client.channel('notes').state.get().status === 'subscribed');
  await tab.evaluate(() => window.page?.client.channel('notes').publish('note.added', 'call back'));
  const note = await tab.waitForFunction(() => (window as { note?: object }).note);
  expect(await note.jsonValue()).toEqual({ data: 'call back', own: true });

  stage.network.cut();
  await keepOrders(2);
  await shows(tab, '#events', '1 2 3 4 5 6');
  await live(tab);
  expect(await transport(tab)).toBe('sse');

  stage.network.blocksWebSockets = false;
  // It looks once a minute whether the first way is open again.
  await tab.clock.fastForward(60_000);
  await until('a WebSocket is used', async () => (await transport(tab)) === 'websocket');
  await keepOrders(2);
  await shows(tab, '#events', '1 2 3 4 5 6 7 8');
  await stage.accountsFor('channel:orders', tab);
});

test('WebSockets are blocked in the middle of a session: an event stream takes over, and what it cannot hand over is told', async () => {
  const tab = await stage.open('orders');
  await keepOrders(2);
  await publishOrder();
  await shows(tab, '#events', '1 2 3');

  stage.network.blocksWebSockets = true;
  stage.network.cut();
  await keepOrders(2);
  await publishOrder();
  await until('an event stream is used', async () => (await transport(tab)) === 'sse');
  await nothingIsLost(tab);
  await keepOrders(1);
  await publishOrder();

  await shows(tab, '#events', / 7 8$/);
  await nothingIsLost(tab);
});

test('all frames can be MessagePack', async () => {
  const texts: string[] = [];
  const binaries: Buffer[] = [];
  const prepare = async (tab: Page) => {
    tab.on('websocket', (socket) => {
      const note = ({ payload }: { payload: string | Buffer }) =>
        typeof payload === 'string' ? texts.push(payload) : binaries.push(payload);
      socket.on('framesent', note);
      socket.on('framereceived', note);
    });
  };
  const tab = await stage.open('orders', { msgpack: 'yes' }, { prepare });
  await keepOrders(2);
  stage.network.cut();
  await keepOrders(2);
  await publishOrder();

  await shows(tab, '#events', '1 2 3 4');
  await stage.accountsFor('channel:orders', tab);
  expect(texts).toEqual([]);
  expect(binaries.length).toBeGreaterThan(5);
});

test('a network that breaks again and again loses nothing', async () => {
  const tab = await stage.open('orders');
  for (let turn = 0; turn < 10; turn += 1) {
    await keepOrders(5);
    stage.network.cut();
    await keepOrders(5);
    await publishOrder();
    await live(tab);
  }
  await keepOrders(1);

  await shows(tab, '#events', / 111$/);
  await nothingIsLost(tab);
  const lost = await tab.evaluate(() => window.page?.heard.map((entry) => 'gap' in entry && entry.gap));
  expect(lost).not.toContain('all');
});
