/**
 * What is needed of a Redis client, in shapes that `ioredis` and `redis` (node-redis) both have, and one way to use either.
 * Deliberately no import of the two: whoever has one hands it in.
 */

import { InvalidArgumentError } from '../errors.ts';
import { fromIoRedis, openIoRedis } from './ioredis.ts';
import { fromNodeRedis, openNodeRedis } from './node-redis.ts';

/** A `Redis` or `Cluster` of ioredis, 5 or later. */
export interface IoRedisLike {
  call(command: string, args: string[]): Promise<unknown>;
  pipeline(commands?: unknown[][]): { exec(): Promise<[Error | null, unknown][] | null> };
  readonly isCluster: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: options differ between a server and a cluster, and between versions
  duplicate(...overrides: any[]): IoRedisLike & { connect(): Promise<void>; disconnect(): void };
  // biome-ignore lint/suspicious/noExplicitAny: the listener's arguments depend on the event
  on(event: string, listener: (...args: any[]) => void): unknown;
}

/** A client of node-redis, 4 or later. */
export interface NodeRedisLike {
  sendCommand(args: string[]): Promise<unknown>;
  // biome-ignore lint/suspicious/noExplicitAny: the type of the options differs between versions
  duplicate(overrides?: any): NodeRedisLike;
  connect(): Promise<unknown>;
  // biome-ignore lint/suspicious/noExplicitAny: the listener's arguments depend on the event
  on(event: string, listener: (...args: any[]) => void): unknown;
}

/** A cluster of node-redis, 4 or later. */
export interface NodeRedisClusterLike {
  sendCommand(firstKey: string | undefined, isReadonly: boolean | undefined, args: string[]): Promise<unknown>;
  readonly masters: unknown;
  readonly slots: unknown;
  // biome-ignore lint/suspicious/noExplicitAny: the type of the options differs between versions
  duplicate(overrides?: any): NodeRedisClusterLike;
  connect(): Promise<unknown>;
  // biome-ignore lint/suspicious/noExplicitAny: the listener's arguments depend on the event
  on(event: string, listener: (...args: any[]) => void): unknown;
}

/** A client that the user made, and goes on owning. */
export type RedisLike = IoRedisLike | NodeRedisLike | NodeRedisClusterLike;

/** One command. On a cluster its key says where it goes. */
export interface Command {
  key: string | undefined;
  args: string[];
}

/** Either client. */
export interface RedisClient {
  /** Whether it is a client for a Redis Cluster. */
  readonly isCluster: boolean;
  send(command: Command): Promise<unknown>;
  /** Sends all at once, and tells of each what became of it, in order. */
  sendAll(commands: Command[]): Promise<PromiseSettledResult<unknown>[]>;
}

/** A connection of its own, for commands that block. It doesn't reconnect: whoever uses it opens another. */
export interface OwnConnection {
  send(command: Command): Promise<unknown>;
  close(): void;
}

/** Takes either client. */
export function adapt(redis: RedisLike): RedisClient {
  return isIoRedis(redis) ? fromIoRedis(redis) : fromNodeRedis(checkNodeRedis(redis));
}

/** Opens a connection with the settings of the given client. */
export function open(redis: RedisLike): { connection: OwnConnection; connected: Promise<unknown> } {
  return isIoRedis(redis) ? openIoRedis(redis) : openNodeRedis(checkNodeRedis(redis));
}

/** Whether it is a cluster client of node-redis. */
export function isNodeRedisCluster(redis: NodeRedisLike | NodeRedisClusterLike): redis is NodeRedisClusterLike {
  return 'masters' in redis && 'slots' in redis;
}

function isIoRedis(redis: RedisLike): redis is IoRedisLike {
  return typeof redis === 'object' && redis !== null && 'call' in redis && typeof redis.call === 'function';
}

function checkNodeRedis(redis: NodeRedisLike | NodeRedisClusterLike): NodeRedisLike | NodeRedisClusterLike {
  if (typeof redis !== 'object' || redis === null || typeof redis.sendCommand !== 'function') {
    throw new InvalidArgumentError(
      'redis',
      'must be a client of `ioredis` or `redis`: createPublisher({ redis: new Redis() })',
    );
  }
  if ('getSentinelNode' in redis) {
    throw new InvalidArgumentError(
      'redis',
      'a Sentinel client of `redis` is not supported: use `ioredis` with its option `sentinels`',
    );
  }
  return redis;
}
