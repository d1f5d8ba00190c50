/** Where no WebSocket gets through: the event stream, and back. */

import { createClient } from '@fanfare/client';
import { createFakeGateway, type FakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../support/client.ts';
import { stopTime } from '../support/clock.ts';
import { settle } from '../support/settle.ts';
import { errorsOf, gapsOf, statusesOf } from '../support/watch.ts';

stopTime();

/** Lets time go by step by step: answers over HTTP are read in more turns than one. */
async function over(ms: number): Promise<void> {
  for (let n = 0; n < 20; n++) {
    await vi.advanceTimersByTimeAsync(ms / 20);
    await settle();
  }
}

/** A client that can't have a WebSocket, connected. */
async function streaming(gateway: FakeGateway, options: Parameters<typeof clientOf>[1] = {}) {
  gateway.blocksWebSockets = true;
  const client = clientOf(gateway, options);
  client.connect();
  await settle();
  return client;
}

const streams = (gateway: FakeGateway) => gateway.connections.filter(({ transport }) => transport === 'sse');

describe('a client without WebSockets', () => {
  test('has the stream at once, and all that a WebSocket would bring', async () => {
    const gateway = createFakeGateway();
    gateway.blocksWebSockets = true;
    gateway.onRequest('echo', (input) => input);
    const client = clientOf(gateway);
    const statuses = statusesOf(client);
    const errors = errorsOf(client);
    const heard: unknown[] = [];
    client.channel('orders').on('*', ({ data, own }) => heard.push([data, own]));
    await settle();
    expect(client.state.get()).toMatchObject({ status: 'connected', transport: 'sse', user: '42', tenant: 'acme' });
    gateway.publish('channel:orders', { type: 'order.updated', data: 1 });
    const { publish, history } = client.channel('orders');
    const [published, answer, past] = await Promise.all([
      publish('order.updated', 2, { durable: true }),
      client.request('echo', 3),
      history(),
      over(0),
    ]);
    expect(published).toEqual({ position: expect.stringMatching(/-1$/) });
    expect(answer).toBe(3);
    expect(past.messages).toMatchObject([{ data: 2 }]);
    expect(heard).toEqual([
      [1, false],
      [2, true],
    ]);
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
    expect(errors).toEqual([]);
    await expect(Promise.all([client.request('none'), over(0)])).rejects.toMatchObject({ code: 'no_backend' });
  });

  test.each([
    [
      'can’t be made',
      () => {
        throw new DOMException('an insecure address', 'SecurityError');
      },
    ],
    ['doesn’t exist', undefined],
  ])('has the stream where a WebSocket %s', async (_, make) => {
    vi.stubGlobal('WebSocket', make);
    const gateway = createFakeGateway();
    const client = createClient({ url: gateway.url, fetch: gateway.fetch, getToken: () => 'x' });
    client.connect();
    await settle();
    expect(client.state.get()).toMatchObject({ status: 'connected', transport: 'sse' });
  });

  test('may have channels with any name', async () => {
    const gateway = createFakeGateway();
    const client = await streaming(gateway);
    const names = ['a,b', 'docs/7.comments', 'größe', '50%+1&more=#'];
    const heard: unknown[] = [];
    for (const name of names) {
      client.channel(name).on('*', ({ channel }) => heard.push(channel));
    }
    await over(1_000);
    for (const name of names) {
      gateway.publish(`channel:${name}`, { type: 'x' }, { durable: true });
    }
    await settle();
    gateway.drop();
    await over(1_000);
    gateway.publish('channel:a,b', { type: 'x' });
    await settle();
    expect(heard).toEqual([...names, 'a,b']);
  });

  test('publishes without an echo as well, as far as that can be had', async () => {
    const gateway = createFakeGateway();
    const client = await streaming(gateway);
    const published = client.channel('orders').publish('x', 1, { echo: false });
    expect(await Promise.all([published, over(0)])).toEqual([{ position: undefined }, undefined]);
  });

  test('sees who is there, though nobody tells it who comes and goes', async () => {
    const gateway = createFakeGateway();
    gateway.join('channel:team', 'ana');
    const client = await streaming(gateway);
    client.channel('team').subscribe();
    await over(200);
    const presence = client.channel('team').presence;
    presence.subscribe(() => {});
    await over(100);
    expect(presence.get()).toMatchObject({ status: 'ready', users: [{ user: 'ana' }] });
    gateway.drop();
    gateway.join('channel:team', 'bob');
    await over(1_000);
    expect(presence.get()).toMatchObject({ status: 'ready', users: [{ user: 'ana' }, { user: 'bob' }] });
    expect(client.state.get().status).toBe('connected');
  });

  test('may be told to use nothing else, and nothing but WebSockets', async () => {
    const gateway = createFakeGateway();
    const stream = clientOf(gateway, { transports: ['sse'] });
    stream.connect();
    await settle();
    expect(stream.state.get()).toMatchObject({ status: 'connected', transport: 'sse' });
    gateway.blocksWebSockets = true;
    const socket = clientOf(gateway, { transports: ['websocket'] });
    socket.connect();
    await over(60_000);
    expect(socket.state.get().status).toBe('reconnecting');
    expect(streams(gateway)).toHaveLength(1);
  });

  test('opens one new stream for many new channels, and misses nothing meanwhile', async () => {
    const gateway = createFakeGateway({ durable: ['tenant', 'user:42', 'channel:a', 'channel:b', 'channel:c'] });
    const client = await streaming(gateway);
    const gaps = gapsOf(client);
    const heard: unknown[] = [];
    client.on('*', ({ data }) => heard.push(data));
    client.channel('a').subscribe();
    await over(100);
    const opened = gateway.opened;
    client.channel('b').subscribe();
    await over(20);
    client.channel('c').subscribe();
    await over(29);
    gateway.publish('channel:a', { type: 'x', data: 1 });
    gateway.latencyMs = 10;
    await over(3);
    gateway.publish('channel:a', { type: 'x', data: 2 });
    await over(200);
    gateway.publish('channel:b', { type: 'x', data: 3 });
    await over(200);
    expect(heard).toEqual([1, 2, 3]);
    expect(gaps).toEqual([]);
    expect(gateway.opened).toBe(opened + 1);
    expect(streams(gateway)).toHaveLength(1);
    expect(streams(gateway)[0]?.topics).toEqual(expect.arrayContaining(['channel:a', 'channel:b', 'channel:c']));
    expect(client.state.get().status).toBe('connected');
  });

  test('has its answers though the stream is another one by then', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('slow', () => new Promise((resolve) => setTimeout(() => resolve('done'), 500)));
    const client = await streaming(gateway);
    const answer = client.request('slow');
    answer.catch(() => {});
    await over(100);
    client.channel('orders').subscribe();
    await over(1_000);
    expect(await answer).toBe('done');
    expect(gateway.received.filter(({ op }) => op === 'request')).toHaveLength(1);
    expect(client.state.get()).toMatchObject({ status: 'connected', connection: streams(gateway)[0]?.id });
  });

  test('has 32 channels at most, and says which one was too many', async () => {
    const gateway = createFakeGateway();
    gateway.blocksWebSockets = true;
    const client = clientOf(gateway);
    const errors = errorsOf(client);
    for (let n = 0; n < 33; n++) {
      client.channel(`c${n}`).subscribe();
    }
    await settle();
    await over(1_000);
    expect(client.state.get().status).toBe('connected');
    expect(client.channel('c31').state.get()).toEqual({ status: 'subscribed' });
    expect(client.channel('c32').state.get()).toMatchObject({
      status: 'failed',
      error: { code: 'too_many_subscriptions', topic: 'channel:c32' },
    });
    expect(errors.map(({ code }) => code)).toEqual(['too_many_subscriptions']);
  });

  test('goes on where it was when the stream breaks', async () => {
    const gateway = createFakeGateway();
    const client = await streaming(gateway);
    const heard: unknown[] = [];
    client.channel('orders').on('*', ({ data, recovered }) => heard.push([data, recovered]));
    await over(100);
    gateway.publish('channel:orders', { type: 'x', data: 1 }, { durable: true });
    await settle();
    gateway.drop();
    gateway.publish('channel:orders', { type: 'x', data: 2 }, { durable: true });
    await over(1_000);
    expect(client.state.get()).toMatchObject({ status: 'connected', transport: 'sse' });
    expect(heard).toEqual([
      [1, false],
      [2, true],
    ]);
  });

  test('begins anew, with a gap, where its place can’t be read', async () => {
    const gateway = createFakeGateway();
    let isOdd = false;
    const fetch: typeof globalThis.fetch = (url, init) => {
      const headers = new Headers(init?.headers);
      if (isOdd && headers.has('Last-Event-ID')) {
        headers.set('Last-Event-ID', 'of another version');
      }
      return gateway.fetch(url, { ...init, headers });
    };
    const client = await streaming(gateway, { fetch });
    const gaps = gapsOf(client);
    const heard: unknown[] = [];
    client.channel('orders').on('*', ({ data }) => heard.push(data));
    await over(100);
    isOdd = true;
    gateway.drop();
    gateway.publish('channel:orders', { type: 'x', data: 1 }, { durable: true });
    await over(10_000);
    expect(client.state.get()).toMatchObject({ status: 'connected', resumed: false });
    gateway.publish('channel:orders', { type: 'x', data: 2 }, { durable: true });
    await over(0);
    expect(heard).toEqual([2]);
    expect(gaps.filter(({ topic }) => topic === 'channel:orders')).toMatchObject([
      { lost: 'all', reason: 'reconnect' },
    ]);
  });

  test('hands over a renewed token with a new stream', async () => {
    const gateway = createFakeGateway();
    const client = await streaming(gateway);
    const statuses = statusesOf(client);
    const renewed = client.refreshToken();
    await over(100);
    await renewed;
    expect(streams(gateway)).toHaveLength(1);
    expect(statuses).not.toContain('failed');
    expect(client.state.get().status).toBe('connected');
  });

  test('fetches a new token when the stream says that it has expired, and gives up on two that are refused', async () => {
    const gateway = createFakeGateway();
    const client = await streaming(gateway);
    gateway.expireTokens();
    await over(1_000);
    expect(client.state.get()).toMatchObject({ status: 'connected', transport: 'sse' });
    gateway.refuseTokens();
    gateway.expireTokens();
    await over(5_000);
    expect(client.state.get()).toMatchObject({ status: 'failed', reason: 'auth' });
  });

  test('notices a dead stream', async () => {
    const gateway = createFakeGateway({ pingMs: 10_000 });
    const client = await streaming(gateway);
    await over(120_000);
    expect(client.state.get().status).toBe('connected');
    const opened = gateway.opened;
    gateway.freeze();
    await over(12_000);
    gateway.thaw();
    await over(40_000);
    expect(client.state.get().status).toBe('connected');
    expect(gateway.opened).toBeGreaterThan(opened);
    gateway.publish('tenant', { type: 'x' });
    const heard = vi.fn();
    client.on('*', heard);
    gateway.publish('tenant', { type: 'x' });
    await settle();
    expect(heard).toHaveBeenCalled();
  });

  test('leaves nothing behind', async () => {
    const gateway = createFakeGateway();
    const client = await streaming(gateway);
    client.channel('orders').subscribe();
    client.disconnect();
    await settle();
    expect(gateway.connections).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('the way back', () => {
  test('is looked for, seldom, and taken when a WebSocket gets through again, without a word being lost', async () => {
    const gateway = createFakeGateway({ durable: ['tenant', 'user:42', 'channel:orders'], tokenTtlMs: 86_400_000 });
    const client = await streaming(gateway);
    const heard: unknown[] = [];
    const gaps = gapsOf(client);
    client.channel('orders').on('*', ({ data }) => heard.push(data));
    await over(100);
    const { opened } = gateway;
    await over(30 * 60_000);
    expect(client.state.get()).toMatchObject({ transport: 'sse' });
    expect(gateway.opened - opened).toBeGreaterThan(2);
    expect(gateway.opened - opened).toBeLessThan(6);
    gateway.publish('channel:orders', { type: 'x', data: 1 });
    gateway.blocksWebSockets = false;
    await vi.advanceTimersByTimeAsync(61 * 60_000);
    expect(client.state.get()).toMatchObject({ status: 'connected', transport: 'websocket' });
    gateway.publish('channel:orders', { type: 'x', data: 2 });
    await settle();
    expect(heard).toEqual([1, 2]);
    expect(gaps).toEqual([]);
    expect(gateway.connections).toHaveLength(1);
  });

  test('is not taken by a client that was disconnected while it was looked for', async () => {
    const gateway = createFakeGateway();
    const client = await streaming(gateway);
    gateway.blocksWebSockets = false;
    gateway.latencyMs = 1_000;
    const { opened } = gateway;
    while (gateway.opened === opened) {
      await over(1_000);
    }
    client.disconnect();
    await over(60_000);
    expect(client.state.get()).toEqual({ status: 'closed' });
    expect(gateway.connections).toEqual([]);
  });

  test('a WebSocket that has worked is tried some more before the stream takes its place', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    await settle();
    gateway.blocksWebSockets = true;
    gateway.drop();
    // Tried again after 250 ms, in vain, and after 500 more.
    await over(400);
    expect(client.state.get()).toMatchObject({ status: 'reconnecting', attempt: 2 });
    gateway.blocksWebSockets = false;
    await over(500);
    expect(client.state.get()).toMatchObject({ status: 'connected', transport: 'websocket' });
    gateway.blocksWebSockets = true;
    gateway.drop();
    await over(30_000);
    expect(client.state.get()).toMatchObject({ status: 'connected', transport: 'sse' });
  });

  test('while nothing gets through, both are tried in turn', async () => {
    const gateway = createFakeGateway();
    gateway.stop();
    const asked = vi.fn(gateway.fetch);
    const client = clientOf(gateway, { fetch: asked });
    client.connect();
    await settle();
    await over(120_000);
    expect(asked.mock.calls.length).toBeGreaterThan(3);
    expect(gateway.opened).toBeGreaterThan(3);
    expect(client.state.get().status).toBe('reconnecting');
    gateway.start();
    await over(31_000);
    expect(client.state.get().status).toBe('connected');
  });
});
