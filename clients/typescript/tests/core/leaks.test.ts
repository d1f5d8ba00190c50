/** What is left when nobody needs the client any more: nothing. */

import type { Client } from '@fanfare/client';
import { createFakeGateway, type FakeGateway } from '@fanfare/client/testing';
import { expect, test, vi } from 'vitest';
import { clientOf } from '../support/client.ts';
import { stopTime } from '../support/clock.ts';
import { settle } from '../support/settle.ts';
import { sleeper } from '../support/wake.ts';

stopTime();

/** A client in full use. */
function busy(gateway: FakeGateway) {
  const lifecycle = sleeper();
  const client = clientOf(gateway, { lifecycle, transports: ['websocket'] });
  const channel = client.channel('orders');
  const stopWatchingHealth = client.health.subscribe(() => {});
  const offs = [
    stopWatchingHealth,
    client.retain(),
    channel.subscribe(),
    channel.on('*', () => {}),
    channel.onGap(() => {}),
    channel.presence.subscribe(() => {}),
    client.state.subscribe(() => {}),
    client.on('*', () => {}),
    client.onGap(() => {}),
    client.onError(() => {}),
  ];
  client.request('unanswered').catch(() => {});
  client.request('unanswered', null, { signal: new AbortController().signal }).catch(() => {});
  return { client, lifecycle, offs, stopWatchingHealth };
}

const endings: [string, (gateway: FakeGateway, client: Client) => unknown][] = [
  ['while it is connected', () => {}],
  [
    'while it connects',
    (gateway, client) => {
      gateway.latencyMs = 80;
      client.reconnect();
    },
  ],
  ['while the gateway is down', (gateway) => gateway.stop()],
  ['while it waits as it was told', (gateway) => gateway.disconnect({ code: 1013, after_ms: 600_000 })],
  [
    'while a channel is refused',
    (gateway, client) => {
      gateway.refuse('channel:orders', 'unavailable');
      client.reconnect();
    },
  ],
  ['after it has failed', (gateway) => gateway.disconnect({ code: 4403 })],
];

/** Calls `happens`, and gives it a moment. */
async function ending(happens: (typeof endings)[0][1]) {
  const gateway = createFakeGateway();
  gateway.onRequest('unanswered', () => new Promise(() => {}));
  const all = { gateway, ...busy(gateway) };
  await settle();
  // Longer than what is only for the first moments.
  await vi.advanceTimersByTimeAsync(6_000);
  await happens(gateway, all.client);
  await vi.advanceTimersByTimeAsync(100);
  return all;
}

test.each(endings)('the last one goes %s', async (_, happens) => {
  const { gateway, lifecycle, offs } = await ending(happens);
  for (const off of offs) {
    off();
  }
  // Requests last until they time out, and the connection lingers.
  await vi.advanceTimersByTimeAsync(15_000);
  expect(gateway.connections).toEqual([]);
  expect(lifecycle.listeners).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

test.each(endings)('it is disconnected %s', async (_, happens) => {
  const { gateway, client, lifecycle, stopWatchingHealth } = await ending(happens);
  stopWatchingHealth();
  client.disconnect();
  await vi.advanceTimersByTimeAsync(gateway.latencyMs * 2);
  expect(gateway.connections).toEqual([]);
  expect(lifecycle.listeners).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

test('a page’s listeners are taken off', async () => {
  const count = { now: 0 };
  class Target extends EventTarget {
    override addEventListener(...args: Parameters<EventTarget['addEventListener']>) {
      count.now += 1;
      super.addEventListener(...args);
    }
    override removeEventListener(...args: Parameters<EventTarget['removeEventListener']>) {
      count.now -= 1;
      super.removeEventListener(...args);
    }
  }
  vi.stubGlobal('window', new Target());
  vi.stubGlobal('document', Object.assign(new Target(), { visibilityState: 'visible' }));
  const gateway = createFakeGateway();
  const client = clientOf(gateway);
  for (let n = 0; n < 3; n++) {
    client.retain()();
    await vi.advanceTimersByTimeAsync(100);
    expect(count.now).toBeGreaterThan(0);
    gateway.drop();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(count.now).toBe(0);
  }
});

test('a signal keeps no request that is over', async () => {
  const gateway = createFakeGateway();
  gateway.onRequest('echo', (input) => input);
  const client = clientOf(gateway);
  const { signal } = new AbortController();
  const added = vi.spyOn(signal, 'addEventListener');
  const removed = vi.spyOn(signal, 'removeEventListener');
  for (let n = 0; n < 10; n++) {
    await Promise.all([client.request('echo', n, { signal }), settle()]);
  }
  expect(added).toHaveBeenCalledTimes(10);
  expect(removed).toHaveBeenCalledTimes(10);
});
