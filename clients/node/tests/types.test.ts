import { type Cluster as IoCluster, Redis as IoRedis } from 'ioredis';
import type { Cluster as IoCluster5, Redis as IoRedis5 } from 'ioredis5';
import type * as redis6 from 'redis';
import type * as redis4 from 'redis4';
import type * as redis5 from 'redis5';
import { describe, expectTypeOf, test } from 'vitest';
import { createPublisher, createWorker, type Position, type RedisLike } from '../src/index.ts';

interface MyEvents {
  'order.updated': { id: number };
  'cache.cleared': undefined;
}

interface MyMethods {
  'orders.get': { input: { id: number }; output: { total: string } };
}

/** Nothing is sent here. */
const unused = new IoRedis({ lazyConnect: true });

describe('types', () => {
  test('every supported client can be handed in', () => {
    expectTypeOf<IoRedis>().toExtend<RedisLike>();
    expectTypeOf<IoCluster>().toExtend<RedisLike>();
    expectTypeOf<IoRedis5>().toExtend<RedisLike>();
    expectTypeOf<IoCluster5>().toExtend<RedisLike>();
    expectTypeOf<ReturnType<typeof redis6.createClient>>().toExtend<RedisLike>();
    expectTypeOf<ReturnType<typeof redis6.createCluster>>().toExtend<RedisLike>();
    expectTypeOf<ReturnType<typeof redis5.createClient>>().toExtend<RedisLike>();
    expectTypeOf<ReturnType<typeof redis5.createCluster>>().toExtend<RedisLike>();
    expectTypeOf<ReturnType<typeof redis4.createClient>>().toExtend<RedisLike>();
    expectTypeOf<ReturnType<typeof redis4.createCluster>>().toExtend<RedisLike>();
  });

  test('type and data of an event are checked together', () => {
    const { publish } = createPublisher<MyEvents>({ redis: unused });
    const check = () => {
      void publish('acme', 'tenant', { type: 'order.updated', data: { id: 7 } });
      void publish('acme', 'channel:orders', { type: 'cache.cleared' });
      // @ts-expect-error there is no such event
      void publish('acme', 'tenant', { type: 'order.gone', data: { id: 7 } });
      // @ts-expect-error the data of another type
      void publish('acme', 'tenant', { type: 'order.updated', data: { id: '7' } });
      // @ts-expect-error no data
      void publish('acme', 'tenant', { type: 'order.updated' });
      // @ts-expect-error no topic
      void publish('acme', 'orders', { type: 'cache.cleared' });
      // @ts-expect-error an ephemeral event has no id
      void publish('acme', 'tenant', { type: 'cache.cleared' }, { id: 'x' });
    };
    expectTypeOf(check).toBeFunction();
    expectTypeOf(() =>
      publish('acme', 'tenant', { type: 'cache.cleared' }, { durable: true }),
    ).returns.resolves.toEqualTypeOf<Position>();
    expectTypeOf(() =>
      publish('acme', 'tenant', { type: 'cache.cleared' }),
    ).returns.resolves.toEqualTypeOf<undefined>();
  });

  test('a handler knows its input and must give its output', () => {
    const worker = createWorker<MyMethods>({ redis: unused, tenants: ['acme'], group: 'backend' });
    worker.method('orders.get', ({ data }) => {
      expectTypeOf(data).toEqualTypeOf<{ id: number }>();
      return { total: '1' };
    });
    const check = () => {
      // @ts-expect-error the output has a total
      worker.method('orders.get', () => ({}));
      // @ts-expect-error there is no such method
      worker.method('orders.list', () => []);
    };
    expectTypeOf(check).toBeFunction();
  });
});
