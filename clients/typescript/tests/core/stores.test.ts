/** Stores, as Svelte and React ask for them, and the figures about the connection. */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../support/client.ts';
import { stopTime } from '../support/clock.ts';
import { settle } from '../support/settle.ts';
import { valuesOf } from '../support/watch.ts';

stopTime();

describe('a store', () => {
  test('calls back at once, and after each change until it is left', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const statuses: string[] = [];
    const off = client.state.subscribe(({ status }) => statuses.push(status));
    expect(statuses).toEqual(['idle']);
    client.connect();
    await settle();
    off();
    off();
    client.disconnect();
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
  });

  test('gives the same object until it changes', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const stores = [client.state, client.health, client.channel('orders').state, client.channel('orders').presence];
    client.channel('orders').subscribe();
    await settle();
    for (const store of stores) {
      expect(store.get()).toBe(store.get());
    }
    const seen = valuesOf(client.state);
    expect(seen[0]).toBe(client.state.get());
  });

  test('has functions that can be handed around on their own', () => {
    const { subscribe, get } = clientOf(createFakeGateway()).state;
    expect(get()).toEqual({ status: 'idle' });
    const values: unknown[] = [];
    subscribe((value) => values.push(value));
    expect(values).toEqual([{ status: 'idle' }]);
  });

  test('tells everybody the newest value last, even if one of them changes it', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.state.subscribe(({ status }) => {
      if (status === 'connected') {
        client.disconnect();
      }
    });
    const statuses: string[] = [];
    client.state.subscribe(({ status }) => statuses.push(status));
    client.connect();
    await settle();
    expect(statuses.at(-1)).toBe('closed');
    expect(client.state.get()).toEqual({ status: 'closed' });
  });

  test('can be left by one who is being told', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const statuses: string[] = [];
    let off = () => {};
    client.state.subscribe(({ status }) => {
      if (status === 'connecting') {
        off();
      }
    });
    off = client.state.subscribe(({ status }) => statuses.push(status));
    client.connect();
    await settle();
    expect(statuses).toEqual(['idle']);
  });
});

describe('health', () => {
  test('counts what came and went', async () => {
    const gateway = createFakeGateway();
    gateway.latencyMs = 40;
    const client = clientOf(gateway);
    client.channel('orders').subscribe();
    const values = valuesOf(client.health);
    expect(values[0]).toEqual({
      latencyMs: undefined,
      lastMessageAt: undefined,
      received: 0,
      sent: 0,
      subscriptions: 0,
      reconnects: 0,
      gaps: 0,
    });
    await vi.advanceTimersByTimeAsync(900);
    gateway.publish('channel:orders', { type: 'order.updated' });
    await vi.advanceTimersByTimeAsync(20_000);
    expect(values.at(-1)).toMatchObject({ latencyMs: 80, subscriptions: 3, reconnects: 0, gaps: 0 });
    expect(values.at(-1)?.received).toBeGreaterThanOrEqual(3);
    expect(values.at(-1)?.sent).toBeGreaterThanOrEqual(2);
    expect(values.at(-1)?.lastMessageAt).toBeGreaterThan(1_767_225_600_940);
  });

  test('counts connections that came back, and gaps', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    await settle();
    gateway.drop();
    await vi.advanceTimersByTimeAsync(500);
    gateway.gap('tenant');
    await settle();
    // On coming back one gap each of the tenant's and of the own topic.
    expect(client.health.get()).toMatchObject({ reconnects: 1, gaps: 3 });
  });

  test('is told once a second at most, whatever goes on', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.channel('orders').subscribe();
    await settle();
    const run = vi.fn();
    client.health.subscribe(run);
    for (let n = 0; n < 1_000; n++) {
      gateway.publish('channel:orders', { type: 'order.touched' });
      await vi.advanceTimersByTimeAsync(10);
    }
    expect(run.mock.calls.length).toBeGreaterThan(8);
    expect(run.mock.calls.length).toBeLessThan(13);
  });

  test('costs nothing when nobody looks, and is told to nobody when nothing has changed', async () => {
    const gateway = createFakeGateway({ pingMs: 3_600_000 });
    const client = clientOf(gateway);
    client.connect();
    await settle();
    const timers = vi.getTimerCount();
    const run = vi.fn();
    const off = client.health.subscribe(run);
    await vi.advanceTimersByTimeAsync(1_500);
    const calls = run.mock.calls.length;
    await vi.advanceTimersByTimeAsync(7_000);
    expect(run).toHaveBeenCalledTimes(calls);
    off();
    expect(vi.getTimerCount()).toBeLessThanOrEqual(timers);
    expect(client.health.get().received).toBeGreaterThan(0);
  });
});
