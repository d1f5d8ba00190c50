/** When there is a connection, and how it comes back. */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../../support/client.ts';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { errorsOf, statusesOf, valuesOf } from '../../support/watch.ts';

stopTime();

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
