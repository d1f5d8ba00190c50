/** How a worker is made, with its bounds. Deliberately without what it does. */

import { hostname } from 'node:os';
import { InvalidArgumentError } from '../errors.ts';
import { EVENT_BYTES_MAX } from '../event.ts';
import { checkWhole } from '../publishing.ts';
import type { RedisLike } from '../redis/client.ts';
import { checkPrefix } from '../redis/prefix.ts';
import { checkTenant } from '../topic.ts';

/** What an error was met at. */
export interface WorkerErrorContext {
  /** In a handler, at an entry that no node has written, while answering, or in speaking to Redis. */
  during: 'handler' | 'entry' | 'answer' | 'redis';
  tenant?: string;
  method?: string;
  /** The request's id. */
  request?: string;
}

/** How a worker is made. */
export interface WorkerOptions {
  /** A client of `ioredis` or `redis`. It stays yours; the worker opens connections of its own beside it for reading. */
  redis: RedisLike;
  /** Whose requests are answered. */
  tenants: readonly string[];
  /** The consumer group. Workers of one group share the requests; each group gets all of them. */
  group: string;
  /** This worker's name in the group: host name, process id and chance. Two that run must not share one. */
  consumer?: string;
  /** What nodes call `redis_prefix`: `fanfare`. */
  prefix?: string;
  /** How many requests are worked on at once: 10. */
  concurrency?: number;
  /** After how long without a sign of life from its worker a request is taken over, in ms: 5,000. */
  claimIdleMs?: number;
  /** How often it is looked for such requests, in ms: 1,000. */
  claimIntervalMs?: number;
  /** How long one read waits for requests, in ms, and `stop` for the last one: 1,000. */
  blockMs?: number;
  /** How long Redis may take to answer, in ms: 5,000. */
  timeoutMs?: number;
  /** The pause before Redis is tried again, in ms, doubling from one to the other, with jitter: 50 and 5,000. */
  retryMinMs?: number;
  retryMaxMs?: number;
  /** The largest data of an answer, in bytes, as nodes are configured (`event_bytes_max`): 65,536. */
  answerBytesMax?: number;
  /** Told of every error that no client is told of in full: `console.error`. */
  onError?: (error: unknown, context: WorkerErrorContext) => void;
}

/** Options with all that was left out. */
export type Settings = Required<WorkerOptions>;

/** Throws unless they fit. */
export function checked(options: WorkerOptions): Settings {
  const settings: Settings = {
    consumer: consumerName(),
    prefix: 'fanfare',
    concurrency: 10,
    claimIdleMs: 5000,
    claimIntervalMs: 1000,
    blockMs: 1000,
    timeoutMs: 5000,
    retryMinMs: 50,
    retryMaxMs: 5000,
    answerBytesMax: EVENT_BYTES_MAX,
    onError: (error, context) => console.error('fanfare worker:', context, error),
    ...options,
  };
  checkPrefix(settings.prefix);
  checkTenants(settings.tenants);
  for (const name of ['group', 'consumer'] as const) {
    if (typeof settings[name] !== 'string' || settings[name] === '') {
      throw new InvalidArgumentError(name, 'must be a string and not empty');
    }
  }
  for (const name of [
    'concurrency',
    'claimIdleMs',
    'claimIntervalMs',
    'blockMs',
    'timeoutMs',
    'retryMinMs',
    'retryMaxMs',
    'answerBytesMax',
  ] as const) {
    checkWhole(settings[name], 1, name, name.endsWith('Ms') ? 'ms' : name.endsWith('BytesMax') ? 'bytes' : 'requests');
  }
  if (settings.claimIdleMs < 2 * settings.claimIntervalMs) {
    throw new InvalidArgumentError(
      'claimIdleMs',
      'must be at least twice claimIntervalMs, at which workers give signs of life',
    );
  }
  return settings;
}

/** Throws unless it is a list of tenants. */
export function checkTenants(tenants: unknown): asserts tenants is readonly string[] {
  if (!Array.isArray(tenants)) {
    throw new InvalidArgumentError('tenants', 'must be an array of tenants: ["acme"]');
  }
  for (const [at, tenant] of tenants.entries()) {
    checkTenant(tenant, `tenants[${at}]`);
  }
}

function consumerName(): string {
  const random = Math.random().toString(36).slice(2, 10);
  return `${hostname()}-${process.pid}-${random}`;
}
