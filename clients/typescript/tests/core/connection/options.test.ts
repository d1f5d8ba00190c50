/** When there is a connection, and how it comes back. */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../../support/client.ts';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { sleeper } from '../../support/wake.ts';

stopTime();

describe('options', () => {
  test('reconnect.enabled: false: it doesn’t come back by itself', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway, { reconnect: { enabled: false } });
    client.connect();
    await settle();
    gateway.drop();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(client.state.get()).toMatchObject({ status: 'failed', reason: 'attempts' });
    client.reconnect();
    await settle();
    expect(client.state.get().status).toBe('connected');
  });

  test('reconnect.maxAttempts: so many tries in a row', async () => {
    const gateway = createFakeGateway();
    gateway.stop();
    const client = clientOf(gateway, { transports: ['websocket'], reconnect: { maxAttempts: 3 } });
    client.connect();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(client.state.get()).toMatchObject({ status: 'failed', reason: 'attempts' });
    expect(gateway.opened).toBe(4);
    gateway.start();
    client.connect();
    await settle();
    expect(client.state.get().status).toBe('connected');
  });

  test('reconnect.intervalMs: always about the same wait', async () => {
    const gateway = createFakeGateway();
    gateway.stop();
    const client = clientOf(gateway, { transports: ['websocket'], reconnect: { intervalMs: 5_000 } });
    const waits: number[] = [];
    client.state.subscribe((state) => {
      if (state.status === 'reconnecting' && state.retryAt > Date.now()) {
        waits.push(state.retryAt - Date.now());
      }
    });
    client.connect();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(waits.length).toBeGreaterThan(8);
    expect(waits.every((ms) => ms >= 4_000 && ms <= 6_000)).toBe(true);
    expect(new Set(waits).size).toBeGreaterThan(1);
  });

  test('reconnect.minDelayMs and maxDelayMs', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.999);
    const gateway = createFakeGateway();
    gateway.stop();
    const reconnect = { minDelayMs: 100, maxDelayMs: 300 };
    const client = clientOf(gateway, { transports: ['websocket'], reconnect });
    const waits: number[] = [];
    client.state.subscribe((state) => {
      if (state.status === 'reconnecting' && state.retryAt > Date.now()) {
        waits.push(Math.round(state.retryAt - Date.now()));
      }
    });
    client.connect();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(waits.slice(0, 4)).toEqual([100, 200, 300, 300]);
  });

  test('heartbeat: how long silence may be, and an answer may take', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway, { heartbeat: { silenceMs: 2_000, timeoutMs: 300 } });
    client.connect();
    await settle();
    gateway.freeze();
    await vi.advanceTimersByTimeAsync(2_299);
    expect(client.state.get().status).toBe('connected');
    await vi.advanceTimersByTimeAsync(1);
    expect(client.state.get().status).toBe('reconnecting');
  });

  test('heartbeat: whatever is heard after the question is a sign of life', async () => {
    const gateway = createFakeGateway();
    const lifecycle = sleeper();
    const WebSocket = class extends gateway.WebSocket {
      override send(message: string | Uint8Array<ArrayBuffer>) {
        if (!String(message).includes('"ping"')) {
          super.send(message);
        }
      }
    };
    const client = clientOf(gateway, { WebSocket, lifecycle, heartbeat: { timeoutMs: 1_000 } });
    client.connect();
    await settle();
    lifecycle.wake();
    await vi.advanceTimersByTimeAsync(500);
    gateway.publish('tenant', { type: 'x' });
    await vi.advanceTimersByTimeAsync(1_500);
    expect([client.state.get().status, gateway.opened]).toEqual(['connected', 1]);
    lifecycle.wake();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(client.state.get().status).toBe('reconnecting');
  });

  test('lingerMs: how long a connection is kept that nobody needs', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway, { lingerMs: 100 });
    client.retain()();
    await vi.advanceTimersByTimeAsync(99);
    expect(client.state.get().status).toBe('connected');
    await vi.advanceTimersByTimeAsync(1);
    expect(client.state.get()).toEqual({ status: 'idle' });
  });

  test('lifecycle: it is listened to as long as there is a connection, or is to be one', async () => {
    const gateway = createFakeGateway();
    const lifecycle = sleeper();
    const client = clientOf(gateway, { lifecycle });
    expect(lifecycle.listeners).toBe(0);
    client.connect();
    await settle();
    gateway.drop();
    await settle();
    expect(lifecycle.listeners).toBe(1);
    client.disconnect();
    expect(lifecycle.listeners).toBe(0);
  });
});
