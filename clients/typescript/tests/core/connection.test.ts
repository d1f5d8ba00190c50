/** When there is a connection, and how it comes back. */

import { createFakeGateway } from '@fanfare/client/testing';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { clientOf } from '../support/client.ts';
import { settle } from '../support/settle.ts';
import { sleeper } from '../support/wake.ts';
import { errorsOf, statusesOf, valuesOf } from '../support/watch.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_767_225_600_000 });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

describe('a connection', () => {
  test('is connected when it is welcomed and all that is wanted is live', async () => {
    const gateway = createFakeGateway({ tenant: 'acme', user: 'ana' });
    gateway.latencyMs = 100;
    const client = clientOf(gateway);
    const states = valuesOf(client.state);
    client.channel('orders').subscribe();
    await vi.advanceTimersByTimeAsync(100);
    expect(gateway.connections).toHaveLength(1);
    // auth, welcome, subscribe: the answer to the last one is still under way.
    await vi.advanceTimersByTimeAsync(399);
    expect(client.state.get().status).toBe('connecting');
    await vi.advanceTimersByTimeAsync(1);
    expect(states).toEqual([
      { status: 'idle' },
      { status: 'connecting' },
      {
        status: 'connected',
        resumed: false,
        transport: 'websocket',
        connection: gateway.connections[0]?.id,
        user: 'ana',
        tenant: 'acme',
      },
    ]);
  });

  test('is kept by connect() until disconnect(), whoever else comes and goes', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    client.retain()();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(client.state.get().status).toBe('connected');
    client.retain();
    client.disconnect();
    expect(client.state.get()).toEqual({ status: 'closed' });
    client.retain();
    client.channel('orders').subscribe();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(client.state.get()).toEqual({ status: 'closed' });
    expect([gateway.opened, gateway.connections]).toEqual([1, []]);
    client.connect();
    await settle();
    expect(client.state.get().status).toBe('connected');
    expect(gateway.connections[0]?.topics).toContain('channel:orders');
  });

  test('waits for its address, which may be another one each time', async () => {
    const gateway = createFakeGateway();
    const urls: string[] = [];
    const WebSocket = class extends gateway.WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        urls.push(url);
      }
    };
    const client = clientOf(gateway, { WebSocket, url: async () => `wss://node-${urls.length}.test/ws` });
    client.connect();
    await settle();
    client.reconnect();
    await settle();
    expect(urls).toEqual(['wss://node-0.test/ws', 'wss://node-1.test/ws']);
  });

  test('may be given the address as a page sees it', async () => {
    vi.stubGlobal('location', new URL('https://shop.test/orders?page=2'));
    const gateway = createFakeGateway();
    const urls: string[] = [];
    const WebSocket = class extends gateway.WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        urls.push(url);
      }
    };
    clientOf(gateway, { WebSocket, url: '/ws' }).connect();
    clientOf(gateway, { WebSocket, url: 'http://10.0.0.7:8080/ws' }).connect();
    await settle();
    expect(urls).toEqual(['wss://shop.test/ws', 'ws://10.0.0.7:8080/ws']);
  });

  test('is tried again when the address can’t be had, or is none', async () => {
    const gateway = createFakeGateway();
    const url = vi
      .fn(async () => gateway.url)
      .mockRejectedValueOnce(new Error('no config'))
      .mockResolvedValueOnce(':');
    const client = clientOf(gateway, { url });
    const errors = errorsOf(client);
    client.connect();
    await vi.advanceTimersByTimeAsync(10_000);
    // It is no reason to do without WebSockets.
    expect(client.state.get()).toMatchObject({ status: 'connected', transport: 'websocket' });
    expect(errors[0]?.message).toContain('no config');
    expect(url).toHaveBeenCalledTimes(3);
  });

  test('is idle without a token, until connect()', async () => {
    const gateway = createFakeGateway();
    let token: string | null = null;
    const getToken = vi.fn(() => token);
    const client = clientOf(gateway, { getToken });
    client.channel('orders').subscribe();
    await vi.advanceTimersByTimeAsync(600_000);
    client.retain();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(client.state.get()).toEqual({ status: 'idle' });
    expect([gateway.opened, getToken.mock.calls.length]).toEqual([0, 1]);
    token = 'x';
    client.connect();
    await settle();
    expect(client.state.get().status).toBe('connected');
    expect(gateway.connections[0]?.topics).toContain('channel:orders');
  });

  test('is idle again when there is no token any more', async () => {
    const gateway = createFakeGateway();
    const tokens = ['x', null];
    const client = clientOf(gateway, { getToken: () => tokens.shift() ?? null });
    client.connect();
    await settle();
    gateway.expireTokens();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(client.state.get()).toEqual({ status: 'idle' });
  });

  test('asks again with backoff when the token can’t be fetched', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const gateway = createFakeGateway();
    const getToken = vi
      .fn(async () => gateway.token())
      .mockRejectedValueOnce(new Error('503'))
      .mockRejectedValueOnce(1);
    const client = clientOf(gateway, { getToken });
    const errors = errorsOf(client);
    client.connect();
    await settle();
    expect(client.state.get()).toMatchObject({ status: 'reconnecting', error: { code: 'token', retryable: true } });
    await vi.advanceTimersByTimeAsync(250 + 500);
    expect(client.state.get().status).toBe('connected');
    expect(errors).toMatchObject([{ code: 'token', message: expect.stringContaining('503') }]);
  });

  test('is given up and tried again when the token, or the node, doesn’t answer', async () => {
    const gateway = createFakeGateway();
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const getToken = vi.fn<() => string | Promise<string>>(() => 'x').mockReturnValueOnce(new Promise(() => {}));
    const client = clientOf(gateway, { getToken, transports: ['websocket'], reconnect: { timeoutMs: 3_000 } });
    client.connect();
    await vi.advanceTimersByTimeAsync(2_999);
    expect(client.state.get().status).toBe('connecting');
    gateway.freeze();
    await vi.advanceTimersByTimeAsync(1);
    expect(client.state.get()).toMatchObject({ status: 'reconnecting', attempt: 1 });
    await vi.advanceTimersByTimeAsync(4_000);
    expect(client.state.get()).toMatchObject({ status: 'reconnecting', attempt: 2 });
    gateway.thaw();
    await vi.advanceTimersByTimeAsync(3_000 + 1_000);
    expect(client.state.get().status).toBe('connected');
  });

  test('is not given up for another transport because getToken is slow', async () => {
    const gateway = createFakeGateway();
    const getToken = vi.fn<() => string | Promise<string>>(() => 'x').mockReturnValueOnce(new Promise(() => {}));
    const client = clientOf(gateway, { getToken });
    const errors = errorsOf(client);
    client.connect();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(errors).toMatchObject([{ code: 'token' }]);
    await vi.advanceTimersByTimeAsync(500);
    expect(client.state.get()).toMatchObject({ status: 'connected', transport: 'websocket' });
  });

  test('goes on when it is asked for anew, and the old one is closed', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const statuses = statusesOf(client);
    client.connect();
    await settle();
    const [old] = gateway.connections;
    client.reconnect();
    await settle();
    expect(statuses).toEqual(['idle', 'connecting', 'connected', 'reconnecting', 'connected']);
    expect(gateway.connections).toHaveLength(1);
    expect(gateway.connections[0]?.id).not.toBe(old?.id);
  });

  test('is not opened by reconnect() when nobody needs one', async () => {
    const gateway = createFakeGateway();
    clientOf(gateway).reconnect();
    await settle();
    expect(gateway.opened).toBe(0);
  });

  test('is opened by reconnect() after disconnect(), as by connect()', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.disconnect();
    client.reconnect();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(client.state.get().status).toBe('connected');
  });

  test('is one however it is called: what belongs to an older try is of no interest', async () => {
    const gateway = createFakeGateway();
    gateway.latencyMs = 50;
    const client = clientOf(gateway);
    for (let n = 0; n < 5; n++) {
      client.connect();
      client.reconnect();
      client.disconnect();
      client.connect();
      await vi.advanceTimersByTimeAsync(30);
    }
    await vi.advanceTimersByTimeAsync(10_000);
    expect(client.state.get().status).toBe('connected');
    expect(gateway.connections).toHaveLength(1);
  });

  test('can be ended by whoever is told of it', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.state.subscribe(({ status }) => {
      if (status === 'connected') {
        client.disconnect();
      }
    });
    const statuses = statusesOf(client);
    client.channel('orders').subscribe();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(client.state.get()).toEqual({ status: 'closed' });
    expect(statuses.at(-1)).toBe('closed');
    expect(gateway.connections).toEqual([]);
  });
});

describe('when it ends', () => {
  const returning = [1001, 1005, 1006, 1011, 1012, 1013, 3999, 4408, 4409, 4413, 4429, 4999];
  const final = [
    [1000, 'ended'],
    [1002, 'protocol'],
    [1003, 'protocol'],
    [1007, 'protocol'],
    [1009, 'protocol'],
    [4400, 'protocol'],
    [4403, 'forbidden'],
  ] as const;

  test.each(returning)('with %i, it comes back', async (code) => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const errors = errorsOf(client);
    const statuses = statusesOf(client);
    client.connect();
    await vi.advanceTimersByTimeAsync(6_000);
    gateway.drop(code, 'why');
    await vi.advanceTimersByTimeAsync(500);
    expect(statuses).toEqual(['idle', 'connecting', 'connected', 'reconnecting', 'connected']);
    expect(errors).toMatchObject([{ message: expect.stringContaining(`${code}`) }]);
  });

  test.each(final)('with %i, it does not (%s), until somebody wants it', async (code, reason) => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const errors = errorsOf(client);
    client.connect();
    await settle();
    gateway.drop(code, 'why');
    await vi.advanceTimersByTimeAsync(600_000);
    expect(client.state.get()).toMatchObject({ status: 'failed', reason, error: { message: expect.any(String) } });
    expect(gateway.opened).toBe(1);
    expect(errors).toHaveLength(1);
    client.retain();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(gateway.opened).toBe(1);
    client.connect();
    await settle();
    expect(client.state.get().status).toBe('connected');
  });

  test('with 4401, it comes back with a new token', async () => {
    const gateway = createFakeGateway();
    const getToken = vi.fn(() => gateway.token());
    const client = clientOf(gateway, { getToken });
    client.connect();
    await settle();
    gateway.drop(4401, 'revoked key');
    await settle();
    expect(client.state.get().status).toBe('connected');
    expect(getToken.mock.calls).toEqual([[{ reason: 'connect' }], [{ reason: 'refused' }]]);
  });

  test('what the farewell says counts more than the code', async () => {
    const gateway = createFakeGateway();
    const [leaving, staying] = [clientOf(gateway), clientOf(gateway)];
    leaving.connect();
    staying.connect();
    await settle();
    const [one, other] = gateway.connections;
    one?.disconnect({ code: 1012, reconnect: false });
    other?.disconnect({ code: 4403, reconnect: true, after_ms: 700 });
    await vi.advanceTimersByTimeAsync(600_000);
    expect(leaving.state.get()).toMatchObject({ status: 'failed', reason: 'ended' });
    expect(staying.state.get().status).toBe('connected');
  });

  test('the state says when the next try is, and why', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    await settle();
    gateway.drop(1011, 'broken');
    await settle();
    expect(client.state.get()).toEqual({
      status: 'reconnecting',
      attempt: 1,
      retryAt: Date.now() + 250,
      error: expect.objectContaining({ code: 'connection_lost', message: expect.stringContaining('1011: broken') }),
    });
  });

  test('reconnect() doesn’t wait', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    await settle();
    gateway.disconnect({ code: 1013, after_ms: 8_000 });
    await settle();
    client.reconnect();
    await settle();
    expect(client.state.get().status).toBe('connected');
  });
});

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

describe('the node', () => {
  test('is answered when it pings', async () => {
    const gateway = createFakeGateway({ pingMs: 10_000 });
    const client = clientOf(gateway);
    client.connect();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(gateway.received.at(-1)).toEqual({ op: 'pong' });
  });

  test('may say what this client doesn’t know: it is ignored', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const errors = errorsOf(client);
    const statuses = statusesOf(client);
    const heard: unknown[] = [];
    client.channel('orders').on('*', ({ data }) => heard.push(data));
    await settle();
    const [connection] = gateway.connections;
    connection?.send({ op: 'confetti', topic: 'channel:orders', colours: 7 });
    connection?.send({ op: 'toString' });
    connection?.send({ op: '__proto__' });
    connection?.send({ op: 'subscribed', topic: 'channel:never-asked-for', position: '1-1' });
    connection?.send({ op: 'published', id: 999 });
    connection?.send({ op: 'reply', id: 999, data: null });
    connection?.send({ op: 'joined', topic: 'channel:orders', user: 'eve' });
    connection?.send({ op: 'event', topic: 'channel:orders', event: { type: 'order.updated', data: 1, hue: 3 }, x: 1 });
    await settle();
    expect(heard).toEqual([1]);
    expect(errors).toEqual([]);
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
  });

  test('may say what is no frame: it is told, and the connection goes on', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const errors = errorsOf(client);
    client.connect();
    await settle();
    for (const odd of [{}, { op: 7 }, null, 'hello']) {
      gateway.connections[0]?.send(odd as { op: string });
    }
    await settle();
    expect(errors.map(({ code }) => code)).toEqual(Array(4).fill('unexpected_frame'));
    expect(client.state.get().status).toBe('connected');
  });

  test('may refuse a frame that nobody waits for: it is told', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const errors = errorsOf(client);
    client.connect();
    await settle();
    gateway.connections[0]?.send({ op: 'error', code: 'rate_limited', message: '600 frames a minute' });
    await settle();
    expect(errors).toMatchObject([{ code: 'rate_limited', message: '600 frames a minute', retryable: true }]);
  });
});

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
