import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BatchResult, channel, createPublisher, createWorker, type Publisher } from '../src/index.ts';
import { allFlavours, flavours, type Made } from './support/flavours.ts';
import { Listener } from './support/listener.ts';
import { FanfareNode } from './support/node.ts';
import { RedisCluster } from './support/redis.ts';
import { until } from './support/until.ts';

let cluster: RedisCluster;
let node: FanfareNode;

beforeAll(async () => {
  cluster = await RedisCluster.start();
  node = await FanfareNode.start(cluster.url);
});

afterAll(async () => {
  await node?.stop();
  await cluster?.stop();
});

describe.each(allFlavours)('a Redis Cluster with $name', (flavour) => {
  let made: Made;
  let publisher: Publisher;
  const name = flavour.name.replaceAll(' ', '-');
  /** Enough names to be spread over all primaries. */
  const topics = Array.from({ length: 12 }, (_, at) => channel(`${name}:${at}`));

  beforeAll(async () => {
    made = await flavour.cluster(cluster.ports);
    publisher = createPublisher({ redis: made.redis });
  });

  afterAll(() => made?.close());

  test('ephemeral and durable events reach whoever is subscribed, wherever their topics live', async () => {
    const listener = await Listener.connect(node);
    for (const topic of topics) {
      await listener.subscribe(topic);
    }
    for (const topic of topics) {
      await publisher.publish('acme', topic, { type: `ephemeral ${topic}` });
      const position = await publisher.publish(
        'acme',
        topic,
        { type: `durable ${topic}` },
        { durable: true, id: 'once' },
      );
      const again = await publisher.publish('acme', topic, { type: `durable ${topic}` }, { durable: true, id: 'once' });
      expect(again).toBe(position);
    }
    for (const topic of topics) {
      await listener.event(`durable ${topic}`);
      expect(listener.typesOf(topic)).toEqual([`ephemeral ${topic}`, `durable ${topic}`]);
    }
    listener.close();
  });

  test('a batch spans all primaries', async () => {
    const listener = await Listener.connect(node);
    for (const topic of topics) {
      await listener.subscribe(topic);
    }
    const results: BatchResult[] = await publisher.publishBatch(
      'acme',
      topics.flatMap((topic) => [
        { topic, event: { type: 'one' } },
        { topic, event: { type: 'two' }, durable: true } as const,
        { topic, event: { type: 'three' } },
      ]),
    );
    expect(results.filter(({ ok }) => !ok)).toEqual([]);
    for (const topic of topics) {
      await until('all three', () => listener.typesOf(topic).length === 3);
      expect(listener.typesOf(topic)).toEqual(['one', 'two', 'three']);
    }
    listener.close();
  });

  test('a durable event waits for its slot while that moves', async () => {
    const topic = channel(`${name}:moving`);
    const key = `fanfare:acme:${topic}`;
    const patient = createPublisher({ redis: made.redis, timeoutMs: 30_000 });
    await patient.publish('acme', topic, { type: 'before' }, { durable: true });
    const [any] = cluster.servers;
    const slot = (await any?.cli('CLUSTER', 'KEYSLOT', key)) ?? '';
    const holders = await Promise.all(cluster.servers.map((server) => server.cli('CLUSTER', 'COUNTKEYSINSLOT', slot)));
    const source = cluster.servers.find((_, at) => holders[at] !== '0');
    const target = cluster.servers.find((_, at) => holders[at] === '0');
    if (!source || !target) {
      throw new Error('the topic has no place');
    }
    const [from, to] = [await source.cli('CLUSTER', 'MYID'), await target.cli('CLUSTER', 'MYID')];
    await target.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from);
    await source.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to);
    const move = (what: string) => source.cli('MIGRATE', '127.0.0.1', String(target.port), what, '0', '5000');
    expect(await move(`{${key}}:head`)).toBe('OK');
    // Half of its keys are there, half are here: neither server can take it.
    const refusals = async () =>
      Number(/errorstat_TRYAGAIN:count=(\d+)/.exec(await source.cli('INFO', 'errorstats'))?.[1] ?? 0);
    const before = await refusals();
    const publishing = patient.publish('acme', topic, { type: 'meanwhile' }, { durable: true });
    await until('it was refused at least twice', async () => (await refusals()) >= before + 2);
    expect(await move(key)).toBe('OK');
    for (const server of [target, source]) {
      await server.cli('CLUSTER', 'SETSLOT', slot, 'NODE', to);
    }
    expect(await publishing).toMatch(/^\d+-\d+$/);
    expect(await patient.publish('acme', topic, { type: 'after' }, { durable: true })).toMatch(/^\d+-\d+$/);
  });

  test('a client for a single server never publishes to nobody', async () => {
    const single = await flavour.single(cluster.ports[0] ?? 0);
    const mistaken = createPublisher({ redis: single.redis });
    const outcomes = await Promise.allSettled(topics.map((topic) => mistaken.publish('acme', topic, { type: 'a' })));
    const refused = outcomes.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]).toMatchObject({ reason: { code: 'unavailable', message: expect.stringContaining('MOVED') } });
    await single.close();
  });

  test('a worker answers the requests of several tenants', async () => {
    const tenants = ['one', 'two', 'three'].map((tenant) => `${tenant}-${name}`);
    const worker = createWorker({ redis: made.redis, tenants, group: 'backend', blockMs: 100 });
    const seen: string[] = [];
    worker.method('orders.get', ({ tenant }) => {
      seen.push(tenant);
    });
    await worker.start();
    const [first] = cluster.servers;
    for (const tenant of tenants) {
      const fields = ['request', tenant, 'method', 'orders.get', 'data', '{}', 'user', '42', 'connection', 'c'];
      const rest = ['reply_to', `fanfare:${tenant}:replies:n`, 'deadline_ms', String(Date.now() + 30_000)];
      await first?.cli('-c', 'XADD', `fanfare:${tenant}:requests`, '*', ...fields, ...rest);
    }
    await until('all are answered', () => worker.stats().answered === 3);
    expect(seen.sort()).toEqual([...tenants].sort());
    expect(await worker.stop()).toEqual({ unfinished: 0 });
  });
});

describe.each(flavours)('a Redis Cluster without the function library, with $name', (flavour) => {
  test('an answer waits until the library is loaded', async () => {
    const bare = await RedisCluster.start();
    const client = await flavour.cluster(bare.ports);
    const reported: unknown[] = [];
    const onError = (error: unknown) => reported.push(error);
    const worker = createWorker({ redis: client.redis, tenants: ['acme'], group: 'backend', blockMs: 100, onError });
    await worker.method('echo', ({ data }) => data).start();
    const fields = ['request', 'r', 'method', 'echo', 'data', '{}', 'user', '42', 'connection', 'c'];
    const rest = ['reply_to', 'fanfare:acme:replies:n', 'deadline_ms', String(Date.now() + 60_000)];
    await bare.servers[0]?.cli('-c', 'XADD', 'fanfare:acme:requests', '*', ...fields, ...rest);
    await until('it is reported', () => reported.length > 0);
    expect(reported).toMatchObject([{ code: 'functions_missing' }]);
    expect(worker.stats()).toMatchObject({ answered: 0, pending: 1 });
    // A node loads it when it starts.
    const node = await FanfareNode.start(bare.url);
    await until('it is answered', () => worker.stats().answered === 1);
    expect(reported.length).toBe(1);
    await worker.stop();
    await client.close();
    await node.stop();
    await bare.stop();
  });
});
