/** What other SDKs get wrong. Those traps of pages and of queries have their tests where pages and queries are. */

import { createClient } from '@fanfare/client';
import { createFakeGateway, type FakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../../support/client.ts';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { statusesOf } from '../../support/watch.ts';

stopTime();

const subscribes = (gateway: FakeGateway) => gateway.received.filter(({ op }) => op === 'subscribe');

describe('1. two sockets where one was meant', () => {
  test('making a client opens nothing, and asks for nothing', async () => {
    const gateway = createFakeGateway();
    const getToken = vi.fn(() => 'x');
    const url = vi.fn(() => gateway.url);
    const client = clientOf(gateway, { getToken, url });
    client.channel('orders');
    client.state.get();
    client.health.get();
    client.channel('orders').presence.get();
    client.on('order.updated', () => {});
    client.onGap(() => {});
    client.onError(() => {});
    statusesOf(client);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([gateway.opened, getToken.mock.calls.length, url.mock.calls.length]).toEqual([0, 0, 0]);
    expect(client.state.get()).toEqual({ status: 'idle' });
  });

  test('a client is made where there is neither page nor network, as on a server', () => {
    for (const name of ['window', 'document', 'navigator', 'location', 'WebSocket', 'fetch', 'crypto']) {
      vi.stubGlobal(name, undefined);
    }
    const client = createClient({ url: '/ws', getToken: () => null });
    expect(client.channel('orders').state.get()).toEqual({ status: 'idle' });
  });

  test('mounting, unmounting and mounting again is one socket and one subscribe', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const mount = () => client.channel('orders').on('*', () => {});
    const unmount = mount();
    unmount();
    mount();
    await settle();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(gateway.received).toMatchObject([
      { op: 'auth' },
      { op: 'subscribe', topics: [{ topic: 'channel:orders' }] },
    ]);
    expect(gateway.opened).toBe(1);
  });

  test('so it is when the token and the url still have to be fetched', async () => {
    const gateway = createFakeGateway();
    const later = <T>(value: T) => new Promise<T>((resolve) => setTimeout(() => resolve(value), 1_000));
    const getToken = vi.fn(() => later('x'));
    const client = clientOf(gateway, { getToken, url: () => later(gateway.url) });
    client.retain()();
    await vi.advanceTimersByTimeAsync(500);
    client.retain();
    await vi.advanceTimersByTimeAsync(10_000);
    expect([gateway.opened, getToken.mock.calls.length]).toEqual([1, 1]);
    expect(gateway.connections).toHaveLength(1);
  });

  test('a socket is not left behind when nobody needs it any more before its token came', async () => {
    const gateway = createFakeGateway();
    const getToken = () => new Promise<string>((resolve) => setTimeout(() => resolve('x'), 5_000));
    const client = clientOf(gateway, { getToken });
    client.retain()();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(gateway.opened).toBe(0);
    expect(client.state.get()).toEqual({ status: 'idle' });
  });

  test('many components share one connection and one subscription, asked for in one frame', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    for (const name of ['orders', 'orders', 'team:7', 'orders', 'team:7']) {
      client.channel(name).on('*', () => {});
    }
    await settle();
    expect(gateway.opened).toBe(1);
    const topics = [{ topic: 'channel:orders' }, { topic: 'channel:team:7' }];
    expect(subscribes(gateway)).toMatchObject([{ topics }]);
  });

  test('the last one who goes is waited for: the socket lingers, then it goes', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const release = client.retain();
    await settle();
    release();
    await vi.advanceTimersByTimeAsync(2_499);
    expect(client.state.get().status).toBe('connected');
    const again = client.retain();
    await vi.advanceTimersByTimeAsync(10_000);
    expect([gateway.connections.length, gateway.opened]).toEqual([1, 1]);
    again();
    again();
    await vi.advanceTimersByTimeAsync(2_500);
    expect(client.state.get()).toEqual({ status: 'idle' });
    expect(gateway.connections).toEqual([]);
  });
});
