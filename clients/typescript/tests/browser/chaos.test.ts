import { beforeAll, test } from 'vitest';
import { shows } from './support/chromium.ts';
import { live, Stage } from './support/stage.ts';

const STEPS = 40;
/** Each makes a session of its own, the same each time. */
const SEEDS = process.env.CHAOS_SEEDS?.split(',').map(Number) ?? [1, 4];

// Pings are so frequent that a silent network is soon found dead, over a WebSocket as well as over an event stream.
const stage = new Stage({ FANFARE_PING_MS: '400' });
let total = 0;

beforeAll(() => {
  stage.app.serve('orders', () => ({ total }));
});

async function keepOrders(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    total += 1;
    await stage.backend.keep('channel:orders', 'order.updated', { id: total });
  }
}

async function publishOrders(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    total += 1;
    await stage.backend.publish('channel:orders', 'order.updated', { id: total });
  }
}

/** What can happen. */
const HAPPENINGS: ((count: number) => Promise<void> | void)[] = [
  keepOrders,
  keepOrders,
  publishOrders,
  () => stage.network.cut(),
  (count) => {
    stage.network.stall();
    return keepOrders(count);
  },
  () => {
    stage.network.blocksWebSockets = !stage.network.blocksWebSockets;
    stage.network.cut();
  },
  async (count) => {
    await stage.node.kill();
    await keepOrders(count);
    await stage.node.restart();
  },
  () => stage.restartRedis(),
  (count) => new Promise((resolve) => setTimeout(resolve, 100 * count)),
];

test.each(SEEDS)(
  'whatever happens, each event comes once and in order or a gap tells of it, and pages end up right (seed %i)',
  async (seed) => {
    const tabs = [await stage.open('orders'), await stage.open('orders', { msgpack: 'yes' })];
    const random = randomNumbers(seed);

    for (let step = 0; step < STEPS; step += 1) {
      await HAPPENINGS[Math.floor(random() * HAPPENINGS.length)]?.(1 + Math.floor(random() * 5));
      await keepOrders(1);
      await publishOrders(1);
    }
    stage.network.heal();
    await Promise.all(tabs.map(live));
    await keepOrders(1);

    for (const tab of tabs) {
      await stage.accountsFor('channel:orders', tab);
      await shows(tab, '#orders', new RegExp(`^${total} orders$`));
    }
  },
);

/** Numbers from 0 up to 1 (the generator mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
