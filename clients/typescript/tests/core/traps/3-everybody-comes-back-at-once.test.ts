/** What other SDKs get wrong. Those traps of pages and of queries have their tests where pages and queries are. */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../../support/client.ts';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { sleeper } from '../../support/wake.ts';

stopTime();

describe('3. everybody comes back at the same moment', () => {
  /** How long the client waits before each of its tries, the gateway being down. */
  async function waits(random: number, tries: number): Promise<number[]> {
    vi.spyOn(Math, 'random').mockReturnValue(random);
    const gateway = createFakeGateway();
    gateway.stop();
    const client = clientOf(gateway, { transports: ['websocket'] });
    const times: number[] = [];
    client.state.subscribe((state) => {
      if (state.status === 'reconnecting' && state.retryAt > Date.now()) {
        times.push(state.retryAt - Date.now());
      }
    });
    client.connect();
    await settle();
    while (times.length < tries) {
      await vi.advanceTimersToNextTimerAsync();
    }
    client.disconnect();
    return times.slice(0, tries);
  }

  test('the wait is random, up to a limit that doubles', async () => {
    expect(await waits(0.5, 9)).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
    expect(await waits(0.999, 3)).toEqual([499.5, 999, 1_998]);
  });

  test('a connection that is dropped as soon as it was accepted doesn’t start the count over', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const attempts: number[] = [];
    client.state.subscribe((state) => {
      if (state.status === 'connected') {
        Promise.resolve().then(() => gateway.drop());
      } else if (state.status === 'reconnecting') {
        attempts.push(state.attempt);
      }
    });
    client.connect();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(attempts.slice(0, 5)).toEqual([1, 2, 3, 4, 5]);
    expect(gateway.opened).toBeLessThan(10);
  });

  test('one that has lasted does', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway, { reconnect: { stableAfterMs: 5_000 } });
    const attempts: number[] = [];
    client.state.subscribe((state) => {
      if (state.status === 'reconnecting') {
        attempts.push(state.attempt);
      }
    });
    client.connect();
    for (const lastsMs of [0, 4_999, 5_000]) {
      while (client.state.get().status !== 'connected') {
        await vi.advanceTimersByTimeAsync(1);
      }
      await vi.advanceTimersByTimeAsync(lastsMs);
      gateway.drop();
      await settle();
    }
    expect(attempts).toEqual([1, 2, 1]);
  });

  test('what the gateway says is obeyed: neither more nor less than after_ms', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    await settle();
    gateway.disconnect({ code: 1012, after_ms: 1_840 });
    await settle();
    expect(client.state.get()).toMatchObject({ status: 'reconnecting', retryAt: Date.now() + 1_840 });
    await vi.advanceTimersByTimeAsync(1_839);
    expect(gateway.opened).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(gateway.opened).toBe(2);
  });

  test('a farewell without a time is no reason to come back at once, again and again', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.state.subscribe(({ status }) => {
      if (status === 'connected') {
        Promise.resolve().then(() => gateway.disconnect({ code: 1011 }));
      }
    });
    client.connect();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(gateway.opened).toBeLessThan(10);
  });

  test('waking up doesn’t cut short what the gateway has ordered', async () => {
    const gateway = createFakeGateway();
    const lifecycle = sleeper();
    const client = clientOf(gateway, { lifecycle });
    client.connect();
    await settle();
    gateway.disconnect({ code: 1013, after_ms: 8_000 });
    await vi.advanceTimersByTimeAsync(4_000);
    lifecycle.wake();
    await settle();
    expect(gateway.opened).toBe(1);
  });
});
