/** What other SDKs get wrong. Those traps of pages and of queries have their tests where pages and queries are. */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../../support/client.ts';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { sleeper } from '../../support/wake.ts';
import { statusesOf } from '../../support/watch.ts';

stopTime();

describe('5. a connection is taken for dead, or alive, by timers that browsers slow down', () => {
  test('silence is asked about, and only an unanswered question is death', async () => {
    const gateway = createFakeGateway({ pingMs: 25_000 });
    const client = clientOf(gateway);
    client.connect();
    await settle();
    gateway.freeze();
    await vi.advanceTimersByTimeAsync(34_999);
    expect(client.state.get().status).toBe('connected');
    gateway.thaw();
    await vi.advanceTimersByTimeAsync(1);
    expect(client.state.get().status).toBe('reconnecting');
    await vi.advanceTimersByTimeAsync(30_000);
    expect(client.state.get().status).toBe('connected');
  });

  test('a quiet connection lives for ever', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const statuses = statusesOf(client);
    client.connect();
    await vi.advanceTimersByTimeAsync(24 * 3_600_000);
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
    expect(gateway.opened).toBe(1);
  });

  test('a machine that slept asks at once, and comes back in seconds', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 24 * 3_600_000 });
    const lifecycle = sleeper();
    const client = clientOf(gateway, { lifecycle });
    client.connect();
    await settle();
    gateway.freeze();
    // The clock on the wall goes on, the timers don't.
    vi.setSystemTime(Date.now() + 8 * 3_600_000);
    gateway.thaw();
    lifecycle.wake();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(client.state.get().status).toBe('reconnecting');
    await vi.advanceTimersByTimeAsync(500);
    expect(client.state.get().status).toBe('connected');
  });

  test('one whose connection has survived stays as it is', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 24 * 3_600_000 });
    const lifecycle = sleeper();
    const client = clientOf(gateway, { lifecycle });
    const statuses = statusesOf(client);
    client.connect();
    await settle();
    vi.setSystemTime(Date.now() + 60_000);
    lifecycle.wake();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(gateway.received.filter(({ op }) => op === 'ping').length).toBeGreaterThan(0);
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
  });

  test('a timer that rings late proves nothing: the question is asked once more', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 24 * 3_600_000 });
    const lifecycle = sleeper();
    const client = clientOf(gateway, { lifecycle });
    const statuses = statusesOf(client);
    client.connect();
    await settle();
    gateway.latencyMs = 100;
    lifecycle.wake();
    // The page is frozen with the question under way; when it goes on, its timers ring before what has arrived is read.
    gateway.latencyMs = 6_000;
    vi.setSystemTime(Date.now() + 600_000);
    await vi.advanceTimersByTimeAsync(5_000);
    gateway.latencyMs = 100;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(gateway.received.filter(({ op }) => op === 'ping').length).toBeGreaterThan(1);
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
  });

  test('the page’s own events wake it: seen again, online again, back from the cache, resumed', async () => {
    const [page, sheet] = [new EventTarget(), Object.assign(new EventTarget(), { visibilityState: 'visible' })];
    vi.stubGlobal('window', page);
    vi.stubGlobal('document', sheet);
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    await settle();
    const pings = () => gateway.received.filter(({ op }) => op === 'ping').length;
    const events: [EventTarget, string][] = [
      [sheet, 'visibilitychange'],
      [sheet, 'resume'],
      [page, 'pageshow'],
      [page, 'online'],
    ];
    for (const [index, [target, type]] of events.entries()) {
      target.dispatchEvent(new Event(type));
      await settle();
      expect([type, pings()]).toEqual([type, index + 1]);
    }
    sheet.visibilityState = 'hidden';
    sheet.dispatchEvent(new Event('visibilitychange'));
    await settle();
    expect(pings()).toBe(events.length);
    client.disconnect();
    page.dispatchEvent(new Event('online'));
    await settle();
    expect(gateway.opened).toBe(1);
  });

  test('waking up tries again at once, but not each time that a page is looked at', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.999);
    const gateway = createFakeGateway();
    const lifecycle = sleeper();
    const client = clientOf(gateway, { lifecycle, transports: ['websocket'] });
    gateway.stop();
    client.connect();
    await vi.advanceTimersByTimeAsync(120_000);
    while (gateway.opened < 10) {
      await vi.advanceTimersToNextTimerAsync();
    }
    await vi.advanceTimersByTimeAsync(2_000);
    lifecycle.wake();
    await settle();
    lifecycle.wake();
    await settle();
    expect([client.state.get().status, gateway.opened]).toEqual(['reconnecting', 11]);
    await vi.advanceTimersByTimeAsync(2_000);
    gateway.start();
    lifecycle.wake();
    await settle();
    expect([client.state.get().status, gateway.opened]).toEqual(['connected', 12]);
  });
});
