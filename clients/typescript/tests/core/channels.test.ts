/** Channels: subscribed while somebody listens, refused and tried again, published to, read back. */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../support/client.ts';
import { stopTime } from '../support/clock.ts';
import { settle } from '../support/settle.ts';
import { errorsOf, valuesOf } from '../support/watch.ts';

stopTime();

describe('a channel', () => {
  test('is the same object for the same name', () => {
    const client = clientOf(createFakeGateway());
    expect(client.channel('orders')).toBe(client.channel('orders'));
    expect(client.channel('orders')).toMatchObject({ name: 'orders', topic: 'channel:orders' });
    expect(client.channel('Orders')).not.toBe(client.channel('orders'));
  });

  test('is subscribed while somebody listens, and says how it is', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    await settle();
    const channel = client.channel('orders');
    const states = valuesOf(channel.state);
    const offs = [channel.subscribe(), channel.on('*', () => {}), channel.onGap(() => {})];
    await settle();
    for (const off of offs) {
      expect(gateway.connections[0]?.topics).toContain('channel:orders');
      off();
      off();
      await vi.advanceTimersByTimeAsync(2_400);
    }
    expect(states).toEqual([{ status: 'idle' }, { status: 'subscribing' }, { status: 'subscribed' }]);
    await vi.advanceTimersByTimeAsync(100);
    expect(states.at(-1)).toEqual({ status: 'idle' });
    expect(gateway.received.map(({ op }) => op)).toEqual(['auth', 'subscribe', 'unsubscribe']);
    expect(client.state.get().status).toBe('connected');
  });

  test('is set up again on each new connection', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const states = valuesOf(client.channel('orders').state);
    client.channel('orders').subscribe();
    await settle();
    gateway.drop();
    await vi.advanceTimersByTimeAsync(500);
    expect(states.map(({ status }) => status)).toEqual([
      'idle',
      'subscribing',
      'subscribed',
      'subscribing',
      'subscribed',
    ]);
    expect(gateway.connections[0]?.topics).toContain('channel:orders');
  });

  test('brings messages with all that the publisher said', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const messages: object[] = [];
    client.channel('orders').on('order.updated', (message) => messages.push(message));
    await settle();
    const envelope = { type: 'order.updated', data: { id: 7 }, id: 'evt_81', at: 1_767_225_600_000, hue: 'own field' };
    const position = gateway.publish('channel:orders', envelope, { durable: true });
    gateway.publish('channel:orders', { type: 'order.updated' });
    gateway.publish('channel:orders', { type: 'order.deleted' });
    await settle();
    const common = { type: 'order.updated', topic: 'channel:orders', channel: 'orders', recovered: false, own: false };
    expect(messages).toEqual([
      {
        ...common,
        data: { id: 7 },
        position,
        id: 'evt_81',
        at: 1_767_225_600_000,
        traceparent: undefined,
        envelope,
      },
      {
        ...common,
        data: null,
        position: undefined,
        id: undefined,
        at: undefined,
        traceparent: undefined,
        envelope: { type: 'order.updated' },
      },
    ]);
  });

  test('tells a listener of several types of each of them once', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const heard: string[] = [];
    client.channel('orders').on(['a', 'b', 'a'], ({ type }) => heard.push(`channel ${type}`));
    const off = client.on(['a', 'b'], ({ type }) => heard.push(`client ${type}`));
    await settle();
    for (const type of ['a', 'b', 'c']) {
      gateway.publish('channel:orders', { type });
    }
    await settle();
    expect(heard).toEqual(['channel a', 'client a', 'channel b', 'client b']);
    off();
    gateway.publish('channel:orders', { type: 'a' });
    await settle();
    expect(heard.slice(4)).toEqual(['channel a']);
  });

  test('calls one function that listens twice twice, and each of them can go', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const listener = vi.fn();
    const off = client.channel('orders').on('*', listener);
    client.channel('orders').on('*', listener);
    await settle();
    gateway.publish('channel:orders', { type: 'a' });
    await settle();
    expect(listener).toHaveBeenCalledTimes(2);
    off();
    off();
    gateway.publish('channel:orders', { type: 'a' });
    await settle();
    expect(listener).toHaveBeenCalledTimes(3);
  });

  test('is asked for in frames that the node takes, however many there are', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const names = Array.from({ length: 2_000 }, (_, n) => `a-channel-with-a-rather-long-name-${n}`);
    for (const name of names) {
      client.channel(name).subscribe();
    }
    await settle();
    expect(client.state.get().status).toBe('connected');
    expect(gateway.connections[0]?.topics).toHaveLength(2 + names.length);
    expect(gateway.received.length).toBeLessThan(40);
  });
});

describe('a channel in a slow network', () => {
  test('that is left and wanted again, again and again, is subscribed in the end, or not, as it is wanted', async () => {
    const gateway = createFakeGateway();
    gateway.latencyMs = 300;
    const client = clientOf(gateway, { lingerMs: 50 });
    client.connect();
    await vi.advanceTimersByTimeAsync(2_000);
    const channel = client.channel('orders');
    const heard: unknown[] = [];
    for (const pauseMs of [20, 70, 130, 340, 20, 70]) {
      const off = channel.subscribe();
      await vi.advanceTimersByTimeAsync(pauseMs);
      off();
      await vi.advanceTimersByTimeAsync(pauseMs);
    }
    const off = channel.on('*', ({ data }) => heard.push(data));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(channel.state.get()).toEqual({ status: 'subscribed' });
    gateway.publish('channel:orders', { type: 'x', data: 1 });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(heard).toEqual([1]);
    off();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(channel.state.get()).toEqual({ status: 'idle' });
    expect(gateway.connections[0]?.topics).toEqual(['tenant', 'user:42']);
  });
});

describe('a refused channel', () => {
  test('says so, and the others are live', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway, { getToken: () => gateway.token({ channels: ['orders'] }) });
    const errors = errorsOf(client);
    client.channel('secret').subscribe();
    client.channel('orders').subscribe();
    await settle();
    expect(client.channel('secret').state.get()).toMatchObject({
      status: 'failed',
      error: { code: 'forbidden', topic: 'channel:secret', retryable: false },
    });
    expect(client.channel('orders').state.get()).toEqual({ status: 'subscribed' });
    expect(client.state.get().status).toBe('connected');
    expect(errors).toMatchObject([{ code: 'forbidden', topic: 'channel:secret' }]);
    // Until another token may allow it.
    await vi.advanceTimersByTimeAsync(500_000);
    expect(gateway.received.filter(({ op }) => op === 'subscribe')).toHaveLength(1);
  });

  test('is tried again by itself when that may help', async () => {
    const gateway = createFakeGateway();
    const lift = gateway.refuse('channel:orders', 'unavailable', 'Redis is away');
    const client = clientOf(gateway);
    client.channel('orders').subscribe();
    await vi.advanceTimersByTimeAsync(60_000);
    const tries = gateway.received.filter(({ op }) => op === 'subscribe').length;
    expect(tries).toBeGreaterThan(2);
    expect(tries).toBeLessThan(20);
    expect(client.state.get().status).toBe('connected');
    lift();
    await vi.advanceTimersByTimeAsync(31_000);
    expect(client.channel('orders').state.get()).toEqual({ status: 'subscribed' });
  });

  test('is tried again on the next connection', async () => {
    const gateway = createFakeGateway();
    const lift = gateway.refuse('channel:orders', 'forbidden');
    const client = clientOf(gateway);
    client.channel('orders').subscribe();
    await settle();
    lift();
    client.reconnect();
    await settle();
    expect(client.channel('orders').state.get()).toEqual({ status: 'subscribed' });
  });

  test('is no news to those who come later: they see the same', async () => {
    const gateway = createFakeGateway();
    gateway.refuse('channel:orders', 'forbidden');
    const client = clientOf(gateway);
    client.channel('orders').subscribe();
    await settle();
    client.channel('orders').on('*', () => {});
    await settle();
    expect(client.channel('orders').state.get().status).toBe('failed');
  });

  test('refused for the number of frames, without a word about topics, is tried again, all of them', async () => {
    const gateway = createFakeGateway();
    let refusals = 1;
    const WebSocket = class extends gateway.WebSocket {
      override send(message: string | Uint8Array<ArrayBuffer>) {
        const { op, id } = JSON.parse(message as string);
        if (op === 'subscribe' && refusals-- > 0) {
          gateway.connections[0]?.send({ op: 'error', id, code: 'rate_limited', message: '600 frames a minute' });
        } else {
          super.send(message);
        }
      }
    };
    const client = clientOf(gateway, { WebSocket });
    client.channel('a').subscribe();
    client.channel('b').subscribe();
    await settle();
    expect(client.channel('b').state.get()).toMatchObject({ status: 'failed', error: { code: 'rate_limited' } });
    await vi.advanceTimersByTimeAsync(5_000);
    expect([client.channel('a').state.get(), client.channel('b').state.get()]).toEqual([
      { status: 'subscribed' },
      { status: 'subscribed' },
    ]);
  });
});

describe('publishing', () => {
  test('resolves when the event is out, to its position if it is kept', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    await settle();
    const channel = client.channel('board');
    const results = [
      channel.publish('card.moved', { card: 3 }),
      channel.publish('card.moved', { card: 3 }, { durable: true }),
    ];
    await settle();
    expect(await Promise.all(results)).toEqual([
      { position: undefined },
      { position: expect.stringMatching(/^\d+-1$/) },
    ]);
  });

  test('knows its own events when they come back, and only those', async () => {
    const gateway = createFakeGateway();
    const [client, other] = [clientOf(gateway), clientOf(gateway)];
    const heard: [string, boolean][] = [];
    client.channel('board').on('*', ({ type, own }) => heard.push([type, own]));
    other.connect();
    await settle();
    client.channel('board').publish('mine', 1, { id: 'my-id' });
    client.channel('board').publish('kept', 1, { durable: true });
    other.channel('board').publish('theirs', 1);
    gateway.publish('channel:board', { type: 'backend', id: 'evt_1' });
    await settle();
    expect(heard).toEqual(
      expect.arrayContaining([
        ['mine', true],
        ['kept', true],
        ['theirs', false],
        ['backend', false],
      ]),
    );
    expect(gateway.received.find(({ op }) => op === 'publish')).toMatchObject({ event: { id: 'my-id' } });
  });

  test('leaves the connection out when it wants no echo', async () => {
    const gateway = createFakeGateway();
    const [client, other] = [clientOf(gateway), clientOf(gateway)];
    const heard: string[] = [];
    client.channel('board').on('*', () => heard.push('own'));
    other.channel('board').on('*', ({ data }) => heard.push(`other ${data}`));
    await settle();
    client.channel('board').publish('card.moved', 3, { echo: false, key: 'card:3' });
    await settle();
    expect(heard).toEqual(['other 3']);
    expect(gateway.received.at(-1)).toMatchObject({ event: { key: 'card:3', data: 3 } });
  });

  test('rejects at once when there is no connection', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    await expect(client.channel('board').publish('card.moved', 1)).rejects.toMatchObject({
      name: 'FanfareError',
      code: 'offline',
      retryable: true,
    });
    client.connect();
    await settle();
    gateway.stop();
    await settle();
    await expect(client.channel('board').publish('card.moved', 1)).rejects.toMatchObject({ code: 'offline' });
    expect(gateway.received.filter(({ op }) => op === 'publish')).toEqual([]);
  });

  test('rejects when the connection ends before the answer', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    await settle();
    gateway.freeze();
    const published = client.channel('board').publish('card.moved', 1);
    client.reconnect();
    await expect(published).rejects.toMatchObject({ code: 'connection_lost' });
  });

  test('rejects with what the node says', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway, { getToken: () => gateway.token({ publish: [] }) });
    client.connect();
    await settle();
    const published = client.channel('board').publish('card.moved', 1);
    await Promise.all([expect(published).rejects.toMatchObject({ code: 'forbidden', retryable: false }), settle()]);
  });
});

describe('history', () => {
  test('reads back what was published, page by page', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    for (const data of [1, 2, 3]) {
      gateway.publish('channel:orders', { type: 'order.updated', data, id: `evt_${data}` }, { durable: true });
    }
    client.connect();
    await settle();
    const read = async (options?: Parameters<ReturnType<typeof client.channel>['history']>[0]) => {
      const [page] = await Promise.all([client.channel('orders').history(options), settle()]);
      return page;
    };
    const all = await read();
    expect(all.more).toBe(false);
    expect(all.messages).toMatchObject([
      { data: 1, id: 'evt_1', topic: 'channel:orders', channel: 'orders', recovered: true },
      { data: 2 },
      { data: 3 },
    ]);
    expect(gateway.received.at(-1)).toMatchObject({ op: 'history', limit: 100 });
    const newest = await read({ limit: 2 });
    expect(newest).toMatchObject({ more: true, messages: [{ data: 2 }, { data: 3 }] });
    const before = newest.messages[0]?.position;
    expect(await read({ limit: 2, ...(before && { before }) })).toMatchObject({ more: false, messages: [{ data: 1 }] });
  });

  test('tells nobody: it is for whoever asked', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    gateway.publish('channel:orders', { type: 'order.updated' }, { durable: true });
    const heard = vi.fn();
    client.channel('orders').on('*', heard);
    await settle();
    await Promise.all([client.channel('orders').history(), settle()]);
    expect(heard).not.toHaveBeenCalled();
  });

  test('opens a connection for it, if there is none', async () => {
    const gateway = createFakeGateway();
    gateway.publish('channel:orders', { type: 'order.updated', data: 1 }, { durable: true });
    const client = clientOf(gateway);
    const [page] = await Promise.all([client.channel('orders').history(), vi.advanceTimersByTimeAsync(10_000)]);
    expect(page.messages).toMatchObject([{ data: 1 }]);
    expect(client.state.get()).toEqual({ status: 'idle' });
  });
});
