/** Every client library that the user may hand in, in every major version that is supported. */

import * as ioredis6 from 'ioredis';
import * as ioredis5 from 'ioredis5';
import * as redis6 from 'redis';
import * as redis4 from 'redis4';
import * as redis5 from 'redis5';
import type { RedisLike } from '../../src/index.ts';

/** A client that a test made. */
export interface Made {
  redis: RedisLike;
  close(): Promise<void>;
}

export interface Flavour {
  name: string;
  single(port: number, acl?: { username: string; password: string }): Promise<Made>;
  cluster(ports: number[]): Promise<Made>;
}

interface Closable {
  // biome-ignore lint/suspicious/noExplicitAny: the listener's arguments depend on the event
  on(event: string, listener: (...args: any[]) => void): unknown;
}

/** Errors are told by the commands; a client without a listener prints them, or ends the process. */
function quiet<C extends Closable>(client: C): C {
  client.on('error', () => {});
  return client;
}

function ioredis(name: string, library: { Redis: unknown; Cluster: unknown }): Flavour {
  // The versions differ in types that are of no interest here.
  const { Redis, Cluster } = library as typeof ioredis6;
  const made = (client: RedisLike & { disconnect(): void }): Made => ({
    redis: client,
    close: async () => client.disconnect(),
  });
  return {
    name,
    single: async (port, acl) => made(quiet(new Redis({ host: '127.0.0.1', port, ...acl }))),
    cluster: async (ports) => made(quiet(new Cluster(ports.map((port) => ({ host: '127.0.0.1', port }))))),
  };
}

async function closing(client: { destroy?: () => void; disconnect?: () => Promise<void> }): Promise<void> {
  try {
    await (client.destroy ? client.destroy() : client.disconnect?.());
  } catch {
    // It was closed already.
  }
}

/** Redis comes and goes in the tests, so the clients come back quickly. */
const reconnectStrategy = () => 50;

function nodeRedis(name: string, library: typeof redis4 | typeof redis5 | typeof redis6): Flavour {
  // The versions differ in types that are of no interest here.
  const { createClient, createCluster } = library as typeof redis6;
  return {
    name,
    single: async (port, acl) => {
      const redis = quiet(createClient({ url: `redis://127.0.0.1:${port}`, socket: { reconnectStrategy }, ...acl }));
      await redis.connect();
      return { redis, close: () => closing(redis) };
    },
    cluster: async (ports) => {
      const redis = quiet(createCluster({ rootNodes: ports.map((port) => ({ url: `redis://127.0.0.1:${port}` })) }));
      await redis.connect();
      return { redis, close: () => closing(redis) };
    },
  };
}

/** The newest of both. */
export const flavours: Flavour[] = [ioredis('ioredis 6', ioredis6), nodeRedis('redis 6', redis6)];

/** All. */
export const allFlavours: Flavour[] = [
  ...flavours,
  ioredis('ioredis 5', ioredis5),
  nodeRedis('redis 5', redis5),
  nodeRedis('redis 4', redis4),
];
