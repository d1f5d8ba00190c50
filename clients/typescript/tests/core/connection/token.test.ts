/** When there is a connection, and how it comes back. */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../../support/client.ts';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { errorsOf, statusesOf } from '../../support/watch.ts';

stopTime();

describe('the token', () => {
  test('is renewed by refreshToken(), on the same connection', async () => {
    const gateway = createFakeGateway();
    const getToken = vi.fn(() => gateway.token());
    const client = clientOf(gateway, { getToken });
    client.connect();
    await settle();
    const renewed = Promise.all([client.refreshToken(), client.refreshToken()]);
    await settle();
    await renewed;
    expect(getToken.mock.calls).toEqual([[{ reason: 'connect' }], [{ reason: 'renew' }]]);
    expect(gateway.opened).toBe(1);
    expect(gateway.received.filter(({ op }) => op === 'auth')).toHaveLength(2);
  });

  test('that is refused on renewal is told, and the old one stays', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    await settle();
    gateway.refuseTokens(2);
    const renewed = client.refreshToken();
    renewed.catch(() => {});
    await settle();
    await expect(renewed).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(client.state.get().status).toBe('connected');
  });

  test('can’t be renewed without a connection', async () => {
    const client = clientOf(createFakeGateway());
    await expect(client.refreshToken()).rejects.toMatchObject({ code: 'offline' });
  });

  test('that can’t be renewed for a while is asked for again before it expires', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 600_000 });
    let isDown = false;
    const getToken = vi.fn(() => {
      if (isDown) {
        throw new Error('down');
      }
      return gateway.token();
    });
    const client = clientOf(gateway, { getToken });
    const errors = errorsOf(client);
    const statuses = statusesOf(client);
    client.connect();
    await settle();
    isDown = true;
    await vi.advanceTimersByTimeAsync(545_000);
    isDown = false;
    await vi.advanceTimersByTimeAsync(200_000);
    expect(errors).toMatchObject([{ code: 'token' }]);
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
  });

  test('brings back a channel that the old one didn’t allow, and takes away what the new one doesn’t', async () => {
    const gateway = createFakeGateway();
    const grants = [{ channels: ['a'] }, { channels: ['b'] }];
    const client = clientOf(gateway, { getToken: () => gateway.token(grants.shift()) });
    const errors = errorsOf(client);
    const [a, b] = [client.channel('a'), client.channel('b')];
    a.subscribe();
    b.subscribe();
    await settle();
    expect([a.state.get().status, b.state.get().status]).toEqual(['subscribed', 'failed']);
    await Promise.all([client.refreshToken(), settle()]);
    await settle();
    expect(a.state.get()).toMatchObject({ status: 'failed', error: { code: 'forbidden', topic: 'channel:a' } });
    expect(b.state.get()).toEqual({ status: 'subscribed' });
    expect(errors.map(({ topic }) => topic)).toEqual(['channel:b', 'channel:a']);
  });

  test('that lasts for years is left alone, and one that lasts for a second is not asked for without a pause', async () => {
    const counts: number[] = [];
    for (const tokenTtlMs of [10 * 365 * 86_400_000, 1_000]) {
      const gateway = createFakeGateway({ tokenTtlMs });
      const getToken = vi.fn(() => gateway.token());
      const client = clientOf(gateway, { getToken });
      client.connect();
      await vi.advanceTimersByTimeAsync(30_000);
      expect(client.state.get().status).toBe('connected');
      counts.push(getToken.mock.calls.length);
      client.disconnect();
    }
    expect(counts[0]).toBe(1);
    expect(counts[1]).toBeLessThan(40);
  });

  test('may last longer than any timer', async () => {
    const days = 86_400_000;
    const gateway = createFakeGateway({ tokenTtlMs: 60 * days, pingMs: days });
    const getToken = vi.fn(() => gateway.token());
    clientOf(gateway, { getToken }).connect();
    await vi.advanceTimersByTimeAsync(59 * days);
    expect(getToken).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(1 * days);
    expect(getToken).toHaveBeenCalledTimes(2);
  });

  test('of before a logout is not used after it', async () => {
    const gateway = createFakeGateway();
    let user = 'ana';
    const getToken = () => {
      const token = gateway.token({ user });
      return new Promise<string>((resolve) => setTimeout(() => resolve(token), 100));
    };
    const client = clientOf(gateway, { getToken });
    client.connect();
    await vi.advanceTimersByTimeAsync(50);
    client.disconnect();
    user = 'bob';
    client.connect();
    await vi.advanceTimersByTimeAsync(200);
    expect(client.state.get()).toMatchObject({ status: 'connected', user: 'bob' });
    client.reconnect();
    const renewed = client.refreshToken().catch(() => {});
    client.disconnect();
    await vi.advanceTimersByTimeAsync(200);
    await renewed;
    user = 'eve';
    client.connect();
    await vi.advanceTimersByTimeAsync(200);
    expect(client.state.get()).toMatchObject({ status: 'connected', user: 'eve' });
    expect(gateway.connections).toMatchObject([{ user: 'eve', topics: ['tenant', 'user:eve'] }]);
  });

  test('of another user makes another connection: what was the first one’s is forgotten', async () => {
    const gateway = createFakeGateway();
    let user = 'ana';
    const client = clientOf(gateway, { getToken: () => gateway.token({ user }) });
    client.connect();
    await settle();
    user = 'bob';
    gateway.expireTokens();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(client.state.get()).toMatchObject({ status: 'connected', user: 'bob' });
    expect(client.health.get().subscriptions).toBe(2);
  });
});
