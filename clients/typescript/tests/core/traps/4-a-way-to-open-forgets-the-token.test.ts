/** What other SDKs get wrong. Those traps of pages and of queries have their tests where pages and queries are. */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../../support/client.ts';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { sleeper } from '../../support/wake.ts';
import { errorsOf, statusesOf } from '../../support/watch.ts';

stopTime();

describe('4. one way to open a connection forgets the token', () => {
  test('every way goes through one refresh, asked for once at a time', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 600_000 });
    let underWay = 0;
    const reasons: string[] = [];
    const lifecycle = sleeper();
    const client = clientOf(gateway, {
      lifecycle,
      getToken: async ({ reason }) => {
        reasons.push(reason);
        underWay += 1;
        expect(underWay).toBe(1);
        await new Promise((resolve) => setTimeout(resolve, 100));
        underWay -= 1;
        return gateway.token();
      },
    });
    client.connect();
    client.reconnect();
    client.reconnect();
    await vi.advanceTimersByTimeAsync(100);
    expect(client.state.get().status).toBe('connected');
    expect(reasons).toEqual(['connect']);

    // Asleep until long after the token has expired.
    gateway.freeze();
    vi.setSystemTime(Date.now() + 3_600_000);
    gateway.thaw();
    lifecycle.wake();
    client.reconnect();
    await vi.advanceTimersByTimeAsync(100);
    expect(client.state.get().status).toBe('connected');
    expect(reasons).toEqual(['connect', 'connect']);
  });

  test('it is renewed in band, before it expires', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 600_000 });
    const getToken = vi.fn(() => gateway.token());
    const client = clientOf(gateway, { getToken });
    const statuses = statusesOf(client);
    client.connect();
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
    expect(gateway.opened).toBe(1);
    expect(getToken.mock.calls.length).toBeGreaterThanOrEqual(6);
    expect(getToken.mock.calls.length).toBeLessThan(9);
    expect(getToken).toHaveBeenLastCalledWith({ reason: 'renew' });
  });

  test('also when the page’s clock is wrong by hours', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 600_000 });
    const client = clientOf(gateway);
    const statuses = statusesOf(client);
    client.connect();
    await settle();
    const renewals = () => gateway.received.filter(({ op }) => op === 'auth').length - 1;
    const node = Date.now() + 7_200_000;
    const [connection] = gateway.connections;
    // The node's clock is two hours ahead: what it says of its own time counts, not what it says of the end alone.
    const welcome = {
      op: 'welcome',
      connection: connection?.id,
      tenant: 'acme',
      user: '42',
      ping_ms: 25_000,
      topics: [],
    };
    const limits = { message_bytes: 65_536 };
    connection?.send({ ...welcome, limits, server_time: node, expires_at: node + 600_000 });
    await vi.advanceTimersByTimeAsync(539_000);
    expect(renewals()).toBe(0);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(renewals()).toBe(1);
    expect(statuses).not.toContain('reconnecting');
  });

  test('a token that the node says has expired is not used again', async () => {
    const gateway = createFakeGateway();
    const tokens: string[] = [];
    const client = clientOf(gateway, {
      getToken: () => {
        tokens.push(gateway.token());
        return tokens.at(-1) as string;
      },
    });
    client.connect();
    await settle();
    gateway.expireTokens();
    await vi.advanceTimersByTimeAsync(30_000);
    expect(client.state.get().status).toBe('connected');
    const used = gateway.received.filter(({ op }) => op === 'auth').map(({ token }) => token);
    expect(used).toEqual(tokens);
    expect(tokens).toHaveLength(2);
  });

  test('refused twice: failed, and nothing is tried again', async () => {
    const gateway = createFakeGateway();
    gateway.refuseTokens();
    const getToken = vi.fn(() => gateway.token());
    const client = clientOf(gateway, { getToken });
    const errors = errorsOf(client);
    client.connect();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(client.state.get()).toMatchObject({ status: 'failed', reason: 'auth', error: { code: 'unauthenticated' } });
    expect(getToken.mock.calls).toEqual([[{ reason: 'connect' }], [{ reason: 'refused' }]]);
    expect(errors.map(({ code }) => code)).toEqual(['unauthenticated']);
    gateway.refuseTokens(0);
    client.reconnect();
    await settle();
    expect(client.state.get().status).toBe('connected');
  });

  test('refused once: the next one may do', async () => {
    const gateway = createFakeGateway();
    gateway.refuseTokens(1);
    const client = clientOf(gateway);
    const statuses = statusesOf(client);
    client.connect();
    await settle();
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
  });
});
