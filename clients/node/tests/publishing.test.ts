import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { channel, createPublisher, type Publisher, TENANT, user } from '../src/index.ts';
import { allFlavours, type Made } from './support/flavours.ts';
import { Listener } from './support/listener.ts';
import { FanfareNode } from './support/node.ts';
import { RedisServer } from './support/redis.ts';

let server: RedisServer;
let node: FanfareNode;

beforeAll(async () => {
  server = await RedisServer.start();
  node = await FanfareNode.start(server.url);
});

afterAll(async () => {
  await node?.stop();
  await server?.stop();
});

describe.each(allFlavours)('publishing with $name', ({ name, single }) => {
  let made: Made;
  let publisher: Publisher;
  const of = (topic: string) => channel(`${topic}-${name.replaceAll(' ', '-')}`);

  beforeAll(async () => {
    made = await single(server.port);
    publisher = createPublisher({ redis: made.redis });
  });

  afterAll(() => made?.close());

  test('an ephemeral event reaches whoever is subscribed', async () => {
    const listener = await Listener.connect(node);
    const topic = of('ephemeral');
    await listener.subscribe(topic);
    const event = { type: 'order.updated', data: { id: 7, total: '19.90', note: 'ünï 🎉' }, at: 1, key: 'order:7' };
    await expect(publisher.publish('acme', topic, event)).resolves.toBeUndefined();
    const frame = await listener.event('order.updated');
    expect(frame).toEqual({ op: 'event', topic, event });
    listener.close();
  });

  test('a user and a whole tenant are topics too', async () => {
    const grant = { tenant: `t-${name.replaceAll(' ', '-')}` };
    const listener = await Listener.connect(node, grant);
    await publisher.publish(grant.tenant, user(42), { type: 'export.ready' });
    await publisher.publish(grant.tenant, TENANT, { type: 'maintenance.announced', data: null });
    expect((await listener.event('export.ready')).topic).toBe('user:42');
    expect((await listener.event('maintenance.announced')).topic).toBe('tenant');
    listener.close();
  });

  test('events are delivered in the order of the calls, without waiting for each', async () => {
    const listener = await Listener.connect(node);
    const topic = of('order');
    await listener.subscribe(topic);
    const types = Array.from({ length: 50 }, (_, at) => `event.${at}`);
    await Promise.all(
      types.map((type, at) => {
        const event = { type, data: at };
        return at % 2
          ? publisher.publish('acme', topic, event)
          : publisher.publish('acme', topic, event, { durable: true });
      }),
    );
    await listener.event('event.49');
    expect(listener.typesOf(topic)).toEqual(types);
    listener.close();
  });

  test('a durable event has a position and is there for those who come later', async () => {
    const topic = of('durable');
    const early = await Listener.connect(node);
    const { position: before } = await early.subscribe(topic);
    early.close();
    const first = await publisher.publish('acme', topic, { type: 'first' }, { durable: true });
    const second = await publisher.publish(
      'acme',
      topic,
      { type: 'second' },
      { durable: true, maxlen: 50, ttlMs: 60_000 },
    );
    expect(second).toMatch(/^\d+-2$/);
    const late = await Listener.connect(node);
    late.send({ op: 'subscribe', id: 1, topic, since: before });
    const subscribed = await late.frame('subscribed', ({ op }) => op === 'subscribed');
    expect(subscribed).toMatchObject({ recovered: true, position: second });
    expect(subscribed.events.map(({ position }: { position: string }) => position)).toEqual([first, second]);
    late.close();
  });

  test('an id makes a repeated publish harmless', async () => {
    const topic = of('idempotent');
    const options = { durable: true, id: 'order-7 päid' } as const;
    const first = await publisher.publish('acme', topic, { type: 'paid' }, options);
    const second = await publisher.publish('acme', topic, { type: 'paid' }, options);
    const other = await publisher.publish('acme', topic, { type: 'paid' }, { durable: true, id: 'order-8' });
    expect(second).toBe(first);
    expect(other).not.toBe(first);
    expect(await server.cli('XLEN', `fanfare:acme:${topic}`)).toBe('2');
  });

  test('in a batch each item has its own result, and a bad one holds up nobody', async () => {
    const listener = await Listener.connect(node);
    const topic = of('batch');
    await listener.subscribe(topic);
    const small = createPublisher({ redis: made.redis, batchChunk: 2 });
    const results = await small.publishBatch('acme', [
      { topic, event: { type: 'one' } },
      { topic, event: { type: '' } },
      { topic, event: { type: 'three' }, durable: true, id: 'three' },
      { topic: 'channel:not allowed', event: { type: 'four' } },
      { topic, event: { type: 'five' }, durable: true },
      null as never,
    ]);
    expect(results.map(({ ok }) => ok)).toEqual([true, false, true, false, true, false]);
    expect(results[1]).toMatchObject({ topic, error: { code: 'invalid_argument', field: 'event.type' } });
    expect(results[2]).toMatchObject({ topic, position: expect.stringMatching(/^\d+-1$/) });
    expect(results[3]).toMatchObject({ error: { code: 'invalid_argument', field: 'topic' } });
    await listener.event('five');
    expect(listener.typesOf(topic)).toEqual(['one', 'three', 'five']);
    listener.close();
  });

  test('a missing right is told in the words of Redis', async () => {
    await server.cli(
      'ACL',
      'SETUSER',
      'reporter',
      'on',
      '>secret',
      'resetchannels',
      '-@all',
      '+publish',
      '+hello',
      '+client',
      '&fanfare:*',
    );
    const reporter = await single(server.port, { username: 'reporter', password: 'secret' });
    const limited = createPublisher({ redis: reporter.redis });
    await expect(limited.publish('acme', 'channel:a', { type: 'a' })).resolves.toBeUndefined();
    const durable = limited.publish('acme', 'channel:a', { type: 'a' }, { durable: true });
    await expect(durable).rejects.toMatchObject({
      code: 'refused',
      retryable: false,
      message: expect.stringContaining('NOPERM'),
    });
    const batch = await limited.publishBatch('acme', [
      { topic: 'channel:a', event: { type: 'a' } },
      { topic: 'channel:a', event: { type: 'b' }, durable: true },
    ]);
    expect(batch.map(({ ok }) => ok)).toEqual([true, false]);
    await reporter.close();
  });

  test('a Redis without the function library says what to do', async () => {
    const bare = await RedisServer.start();
    const client = await single(bare.port);
    const publishing = createPublisher({ redis: client.redis }).publish(
      'acme',
      TENANT,
      { type: 'a' },
      { durable: true },
    );
    await expect(publishing).rejects.toMatchObject({
      code: 'functions_missing',
      message: expect.stringMatching(/start a node, or run `fanfare functions load`/),
    });
    await client.close();
    await bare.stop();
  });

  test('without Redis a publish ends in time, and what waits is bounded', async () => {
    const gone = await RedisServer.start();
    const client = await single(gone.port);
    const bounded = createPublisher({ redis: client.redis, timeoutMs: 200, pendingMax: 3 });
    await bounded.publish('acme', TENANT, { type: 'a' });
    await gone.process.kill();
    const event = { type: 'a' };
    const outcomes = await Promise.allSettled([1, 2, 3, 4].map(() => bounded.publish('acme', TENANT, event)));
    const codes = outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason.code);
    expect(['timeout', 'unavailable']).toContain(codes[0]);
    expect(codes[3]).toBe('overloaded');
    await client.close();
    await gone.stop();
  });

  test('a publisher goes on when Redis is back', async () => {
    const flaky = await RedisServer.start();
    const client = await single(flaky.port);
    const patient = createPublisher({ redis: client.redis, timeoutMs: 30_000 });
    await patient.publish('acme', TENANT, { type: 'before' });
    await flaky.process.kill();
    flaky.process.restart();
    await flaky.answers();
    // What was on its way when the connection broke is told as `unavailable`; the next one gets through.
    const publish = () => patient.publish('acme', TENANT, { type: 'after' });
    await publish().catch(publish).catch(publish);
    await client.close();
    await flaky.stop();
  });
});
