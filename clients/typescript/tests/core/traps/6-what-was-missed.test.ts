/** What other SDKs get wrong. Those traps of pages and of queries have their tests where pages and queries are. */

import { createFakeGateway, type FakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../../support/client.ts';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { gapsOf } from '../../support/watch.ts';

stopTime();

const subscribes = (gateway: FakeGateway) => gateway.received.filter(({ op }) => op === 'subscribe');
const dataOf = (messages: readonly { data: unknown }[]) => messages.map(({ data }) => data);

describe('6. what was missed meanwhile is missing for ever', () => {
  /** A client on a channel, with what it has heard. */
  async function listening(gateway: FakeGateway, options: Parameters<typeof clientOf>[1] = {}) {
    const client = clientOf(gateway, options);
    const messages: { data: number; recovered: boolean; status: string }[] = [];
    const gaps = gapsOf(client);
    const order: string[] = [];
    client.state.subscribe(({ status }) => order.push(status));
    client.channel('orders').on('*', ({ data, recovered }) => {
      messages.push({ data, recovered, status: client.state.get().status });
      order.push(`event ${data}`);
    });
    client.onGap(({ topic, reason }) => order.push(`gap ${topic} ${reason}`));
    await settle();
    return { client, messages, gaps, order };
  }

  const durable = (gateway: FakeGateway, data: number) =>
    gateway.publish('channel:orders', { type: 'order.updated', data }, { durable: true }) as string;

  const back = () => vi.advanceTimersByTimeAsync(500);

  test('durable events come with the answer on coming back, each once and in order', async () => {
    const gateway = createFakeGateway();
    const { messages, order } = await listening(gateway);
    durable(gateway, 1);
    await settle();
    gateway.drop();
    durable(gateway, 2);
    durable(gateway, 3);
    await back();
    durable(gateway, 4);
    await settle();
    expect(dataOf(messages)).toEqual([1, 2, 3, 4]);
    expect(messages.map(({ recovered }) => recovered)).toEqual([false, true, true, false]);
    // Live is live: what was missed is told before.
    expect(order.slice(order.indexOf('reconnecting'))).toEqual([
      'reconnecting',
      'gap tenant reconnect',
      'gap user:42 reconnect',
      'event 2',
      'event 3',
      'gap channel:orders reconnect',
      'connected',
      'event 4',
    ]);
  });

  test('events that are only for whoever is there are told as a gap', async () => {
    const gateway = createFakeGateway();
    const { client, gaps } = await listening(gateway);
    gateway.drop();
    gateway.publish('channel:orders', { type: 'order.touched', data: 1 });
    await back();
    expect(gaps).toContainEqual(
      expect.objectContaining({ topic: 'channel:orders', channel: 'orders', lost: 'ephemeral', reason: 'reconnect' }),
    );
    expect(client.state.get()).toMatchObject({ status: 'connected', resumed: false });
  });

  test('no gap where all events are durable, by the operator’s rule or by the app’s word', async () => {
    for (const [kept, said] of [
      [['channel:orders', 'tenant', 'user:42'], []],
      [[], ['channel:ord*', 'tenant', 'user:*']],
    ] as const) {
      const gateway = createFakeGateway({ durable: kept });
      const { client, gaps, messages } = await listening(gateway, { durable: said });
      // What was told while it was connected is no matter of coming back.
      gateway.gap('channel:orders');
      await settle();
      expect(gaps.splice(0)).toHaveLength(1);
      gateway.drop();
      durable(gateway, 1);
      await back();
      expect(gaps).toEqual([]);
      expect(dataOf(messages)).toEqual([1]);
      expect(client.state.get()).toMatchObject({ status: 'connected', resumed: true });
    }
  });

  test('a rule that is new says nothing of the time before it', async () => {
    const rules: string[] = [];
    const gateway = createFakeGateway({ durable: rules });
    const { gaps } = await listening(gateway, { durable: ['tenant', 'user:42'] });
    gateway.drop();
    rules.push('channel:orders');
    await back();
    expect(gaps).toMatchObject([{ topic: 'channel:orders', reason: 'reconnect' }]);
    gateway.drop();
    await back();
    expect(gaps).toHaveLength(1);
  });

  test.each([
    ['channel:team:*', ['channel:team:7', 'channel:team:7:chat'], ['channel:team', 'channel:orders', 'tenant']],
    ['channel:orders', ['channel:orders'], ['channel:orders:7', 'channel:order', 'tenant']],
    ['*', ['channel:orders', 'tenant', 'user:42'], []],
  ])('the app’s word may end with a star: %s', async (durable, silent, told) => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway, { durable: ['user:42', durable] });
    const gaps = gapsOf(client);
    for (const topic of [...silent, ...told].filter((name) => name.startsWith('channel:'))) {
      client.channel(topic.slice('channel:'.length)).subscribe();
    }
    await settle();
    gateway.drop();
    await back();
    expect(gaps.map(({ topic }) => topic).sort()).toEqual([...told].sort());
  });

  test('whoever mounts fetches anyway: the first connection has no gap, and what came before doesn’t come', async () => {
    const gateway = createFakeGateway();
    durable(gateway, 1);
    const { client, gaps, messages } = await listening(gateway);
    expect([gaps, messages]).toEqual([[], []]);
    expect(client.state.get()).toMatchObject({ status: 'connected', resumed: false });
  });

  test.each([
    ['expired', (gateway: FakeGateway) => gateway.trim('channel:orders', 1)],
    ['epoch', (gateway: FakeGateway) => gateway.forget('channel:orders')],
  ] as const)('a history that can’t prove it (%s) is a gap, with what there still is', async (reason, damage) => {
    const gateway = createFakeGateway();
    const { gaps, messages } = await listening(gateway);
    const since = durable(gateway, 1);
    await settle();
    gateway.drop();
    durable(gateway, 2);
    durable(gateway, 3);
    damage(gateway);
    const position = reason === 'epoch' ? durable(gateway, 4) : expect.stringMatching(/-3$/);
    await back();
    expect(gaps.filter(({ topic }) => topic === 'channel:orders')).toEqual([
      { topic: 'channel:orders', channel: 'orders', lost: 'all', reason, since, position },
    ]);
    expect(dataOf(messages)).toEqual(reason === 'epoch' ? [1, 4] : [1, 3]);
  });

  test('more than fits into an answer is asked for until all is there', async () => {
    const gateway = createFakeGateway({ answerEvents: 2, durable: ['channel:orders'] });
    const { client, messages, gaps } = await listening(gateway);
    durable(gateway, 1);
    await settle();
    gateway.drop();
    await settle();
    const missed = [2, 3, 4, 5, 6, 7, 8];
    for (const data of missed) {
      durable(gateway, data);
    }
    gateway.latencyMs = 100;
    while (messages.length < 5) {
      await vi.advanceTimersByTimeAsync(10);
    }
    // A live one comes before the rest has, and must be neither early nor doubled.
    durable(gateway, 9);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(dataOf(messages)).toEqual([1, ...missed, 9]);
    expect(gaps.filter(({ topic }) => topic === 'channel:orders')).toEqual([]);
    expect(messages.slice(1, 8).map(({ status }) => status)).toEqual(missed.map(() => 'reconnecting'));
    expect(client.state.get().status).toBe('connected');
  });

  test('more than fits, of a history that doesn’t go back far enough, is one gap and all that there still is', async () => {
    const gateway = createFakeGateway({ answerEvents: 2 });
    const { messages, gaps } = await listening(gateway);
    durable(gateway, 1);
    await settle();
    gateway.drop();
    for (const data of [2, 3, 4, 5, 6, 7]) {
      durable(gateway, data);
    }
    gateway.trim('channel:orders', 5);
    await back();
    expect(dataOf(messages)).toEqual([1, 3, 4, 5, 6, 7]);
    expect(gaps.filter(({ topic }) => topic === 'channel:orders')).toMatchObject([{ lost: 'all', reason: 'expired' }]);
  });

  test('a connection that breaks in the middle of what was missed goes on there', async () => {
    const gateway = createFakeGateway({ answerEvents: 2 });
    const { messages, gaps } = await listening(gateway);
    durable(gateway, 1);
    await settle();
    gateway.drop();
    await settle();
    gateway.latencyMs = 100;
    const missed = [2, 3, 4, 5, 6, 7, 8];
    for (const data of missed) {
      durable(gateway, data);
    }
    while (messages.length < 5) {
      await vi.advanceTimersByTimeAsync(10);
    }
    gateway.drop();
    gateway.latencyMs = 0;
    await vi.advanceTimersByTimeAsync(2_000);
    expect(dataOf(messages)).toEqual([1, ...missed]);
    expect(gaps.filter(({ topic }) => topic === 'channel:orders')).toMatchObject([{ reason: 'reconnect' }]);
  });

  test('a live event that stands in the replay as well comes once', async () => {
    const gateway = createFakeGateway();
    const { messages } = await listening(gateway);
    const position = durable(gateway, 1);
    await settle();
    const event = { type: 'order.updated', data: 1 };
    gateway.connections[0]?.send({ op: 'event', topic: 'channel:orders', position, event });
    gateway.drop();
    const second = durable(gateway, 2);
    await back();
    gateway.connections[0]?.send({
      op: 'event',
      topic: 'channel:orders',
      position: second,
      event: { type: 'order.updated', data: 2 },
    });
    await settle();
    expect(dataOf(messages)).toEqual([1, 2]);
  });

  test('an event that arrives while the same is asked for comes once', async () => {
    const gateway = createFakeGateway();
    const { client, messages } = await listening(gateway);
    durable(gateway, 1);
    await settle();
    gateway.latencyMs = 100;
    // Subscribes once more, for presence, with the position of 1; 2 is on its way to the client by then.
    client.channel('orders').presence.subscribe(() => {});
    await vi.advanceTimersByTimeAsync(50);
    durable(gateway, 2);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(subscribes(gateway).at(-1)?.topics).toMatchObject([{ since: expect.stringMatching(/-1$/), presence: true }]);
    expect(dataOf(messages)).toEqual([1, 2]);
  });

  test('a gap moves on what is asked for after it', async () => {
    const gateway = createFakeGateway();
    const { messages } = await listening(gateway);
    durable(gateway, 1);
    await settle();
    const [connection] = gateway.connections;
    const position = durable(gateway, 2).replace(/-2$/, '-7');
    connection?.send({ op: 'gap', topic: 'channel:orders', lost: 'all', reason: 'invalid', position });
    await settle();
    gateway.drop();
    await back();
    expect(subscribes(gateway).at(-1)?.topics).toEqual([{ topic: 'channel:orders', since: position }]);
    expect(dataOf(messages)).toEqual([1, 2]);
  });

  test('positions are not numbers: the tenth comes after the ninth, and so does a higher one in a new epoch', async () => {
    const gateway = createFakeGateway();
    const { messages } = await listening(gateway);
    const all = Array.from({ length: 12 }, (_, n) => n);
    for (const data of all) {
      durable(gateway, data);
    }
    await settle();
    gateway.drop();
    gateway.forget('channel:orders');
    durable(gateway, 100);
    await back();
    durable(gateway, 101);
    await settle();
    expect(dataOf(messages)).toEqual([...all, 100, 101]);
  });

  test('the own topics go on where they were left, too', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const seen: unknown[] = [];
    client.on('export.ready', ({ data, recovered, topic, channel }) => seen.push([data, recovered, topic, channel]));
    client.connect();
    await settle();
    gateway.drop();
    gateway.publish('user:42', { type: 'export.ready', data: 1 }, { durable: true });
    await back();
    expect(seen).toEqual([[1, true, 'user:42', undefined]]);
  });

  test('a gap that the gateway tells is handed on, and recovery goes on from there', async () => {
    const gateway = createFakeGateway();
    const { client, gaps, messages } = await listening(gateway);
    const channelGaps: string[] = [];
    client.channel('orders').onGap(({ reason }) => channelGaps.push(reason));
    client.channel('other').onGap(({ reason }) => channelGaps.push(`other ${reason}`));
    await settle();
    gateway.gap('channel:orders');
    gateway.gap('channel:orders', { lost: 'all', reason: 'a word of a later version' });
    await settle();
    expect(gaps).toMatchObject([
      { topic: 'channel:orders', lost: 'ephemeral', reason: 'backplane' },
      { topic: 'channel:orders', lost: 'all', reason: 'a word of a later version' },
    ]);
    expect(channelGaps).toEqual(['backplane', 'a word of a later version']);
    expect(client.health.get().gaps).toBe(2);
    durable(gateway, 1);
    await settle();
    expect(dataOf(messages)).toEqual([1]);
  });

  test('a channel that one token takes away and the next one brings back goes on with a gap', async () => {
    const gateway = createFakeGateway();
    const grants = [{}, { channels: [] }, {}];
    const { client, gaps, messages } = await listening(gateway, { getToken: () => gateway.token(grants.shift()) });
    await Promise.all([client.refreshToken(), settle()]);
    expect(client.channel('orders').state.get().status).toBe('failed');
    gateway.publish('channel:orders', { type: 'order.touched', data: 1 });
    durable(gateway, 2);
    await Promise.all([client.refreshToken(), settle()]);
    await settle();
    expect(client.channel('orders').state.get()).toEqual({ status: 'subscribed' });
    expect(dataOf(messages)).toEqual([2]);
    expect(gaps).toMatchObject([{ topic: 'channel:orders', lost: 'ephemeral' }]);
  });

  test('a channel that nobody listens to any more forgets where it was', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    const off = client.channel('orders').on('*', () => {});
    await settle();
    durable(gateway, 1);
    await settle();
    off();
    await vi.advanceTimersByTimeAsync(2_500);
    expect(gateway.received.at(-1)).toMatchObject({ op: 'unsubscribe', topic: 'channel:orders' });
    const heard: unknown[] = [];
    durable(gateway, 2);
    client.channel('orders').on('*', ({ data }) => heard.push(data));
    await settle();
    expect(subscribes(gateway).at(-1)?.topics).toEqual([{ topic: 'channel:orders' }]);
    expect(heard).toEqual([]);
  });

  test('so does a client that logs out', async () => {
    const gateway = createFakeGateway();
    const { client, messages, gaps } = await listening(gateway);
    durable(gateway, 1);
    await settle();
    client.disconnect();
    await settle();
    durable(gateway, 2);
    client.connect();
    await settle();
    expect(gateway.received.filter(({ op }) => op === 'auth').at(-1)).not.toHaveProperty('since.tenant');
    expect(dataOf(messages)).toEqual([1]);
    expect(gaps).toEqual([]);
    durable(gateway, 3);
    await settle();
    expect(dataOf(messages)).toEqual([1, 3]);
  });
});
