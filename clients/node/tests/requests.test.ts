import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPublisher, createWorker, RequestError, user, type Worker } from '../src/index.ts';
import { flavours, type Made } from './support/flavours.ts';
import { Listener } from './support/listener.ts';
import { FanfareNode } from './support/node.ts';
import { RedisCluster, RedisServer } from './support/redis.ts';

describe.each(flavours)('a client asks a backend with $name', ({ single }) => {
  let server: RedisServer;
  let node: FanfareNode;
  let made: Made;
  let worker: Worker;

  beforeAll(async () => {
    server = await RedisServer.start();
    node = await FanfareNode.start(server.url);
    made = await single(server.port);
    const publisher = createPublisher({ redis: made.redis });
    worker = createWorker({ redis: made.redis, tenants: ['acme'], group: 'backend', blockMs: 100 });
    worker.method('dashboard.refresh', async ({ data, tenant, user: id, connection }) => {
      await publisher.publish(tenant, user(id), { type: 'dashboard.refreshed', except: connection });
      return { asked: data, for: id };
    });
    worker.method('orders.delete', () => {
      throw new RequestError('forbidden', 'orders are never deleted');
    });
    await worker.start();
  });

  afterAll(async () => {
    await worker?.stop();
    await made?.close();
    await node?.stop();
    await server?.stop();
  });

  test('and gets the answer over its own connection, while its other tabs get an event', async () => {
    const asking = await Listener.connect(node, { methods: ['dashboard.*'] });
    const other = await Listener.connect(node);
    asking.send({ op: 'request', id: 4, method: 'dashboard.refresh', data: { range: 'day', exact: 1.5 } });
    const reply = await asking.frame('the reply', ({ id }) => id === 4);
    expect(reply).toEqual({ op: 'reply', id: 4, data: { asked: { range: 'day', exact: 1.5 }, for: '42' } });
    await other.event('dashboard.refreshed');
    expect(asking.typesOf('user:42')).toEqual([]);
    asking.close();
    other.close();
  });

  test('and is told why there is no answer', async () => {
    const asking = await Listener.connect(node, { methods: ['orders.*', 'unknown'] });
    asking.send({ op: 'request', id: 1, method: 'orders.delete' });
    asking.send({ op: 'request', id: 2, method: 'unknown' });
    asking.send({ op: 'request', id: 3, method: 'dashboard.refresh' });
    const codeOf = async (of: number) => (await asking.frame(`answer ${of}`, ({ id }) => id === of)).code;
    expect(await asking.frame('the refusal', ({ id }) => id === 1)).toMatchObject({
      op: 'error',
      code: 'forbidden',
      message: 'orders are never deleted',
    });
    expect(await codeOf(2)).toBe('no_backend');
    expect(await codeOf(3)).toBe('forbidden');
    asking.close();
  });
});

describe.each(flavours)('on a Redis Cluster, a client asks a backend with $name', ({ cluster }) => {
  test('and gets the answer', async () => {
    const servers = await RedisCluster.start();
    const node = await FanfareNode.start(servers.url);
    const made = await cluster(servers.ports);
    const worker = createWorker({ redis: made.redis, tenants: ['acme', 'globex'], group: 'backend', blockMs: 100 });
    await worker.method('echo', ({ data }) => data).start();
    for (const tenant of ['acme', 'globex']) {
      const asking = await Listener.connect(node, { tenant, methods: ['**'] });
      asking.send({ op: 'request', id: 1, method: 'echo', data: tenant });
      expect(await asking.frame('the reply', ({ id }) => id === 1)).toEqual({ op: 'reply', id: 1, data: tenant });
      asking.close();
    }
    await worker.stop();
    await made.close();
    await node.stop();
    await servers.stop();
  });
});
