/**
 * Publishing through Redis: ephemeral events by PUBLISH, durable ones by the function library that nodes load. Deliberately
 * without retries beyond a cluster's TRYAGAIN: after a broken connection nobody knows whether an event was published, and
 * only the caller knows whether twice is worse than never.
 */

import { FanfareError } from './errors.ts';
import { type AnyEvents, EVENT_BYTES_MAX, type EventOf, encodeEvent } from './event.ts';
import {
  type BatchItem,
  type BatchResult,
  checkItem,
  checkOptions,
  checkWhole,
  chunksOf,
  type DurableOptions,
  type EphemeralOptions,
  type Position,
} from './publishing.ts';
import { adapt, type Command, type RedisClient, type RedisLike } from './redis/client.ts';
import { failureOf, refusalOf } from './redis/failure.ts';
import { checkPrefix } from './redis/prefix.ts';
import { pause, within } from './timing.ts';
import { checkTenant, checkTopic, type Topic } from './topic.ts';
import {
  type EnvelopeSpan,
  type Message,
  startCreation,
  withBatchSpan,
  withSendSpan,
} from './tracing/producer-span.ts';

/** How a publisher is made. */
export interface PublisherOptions {
  /** A client of `ioredis` or `redis`, for a single server or a Cluster. It stays yours: closing it is up to you. */
  redis: RedisLike;
  /** What nodes call `redis_prefix`: `fanfare`. */
  prefix?: string;
  /** Whether publishing is a span, where OpenTelemetry is set up, that goes into events that have none: true. */
  trace?: boolean;
  /** The largest envelope, in bytes, as nodes are configured: 65,536. */
  eventBytesMax?: number;
  /** How long Redis may take to answer, in ms: 5,000. After that the event may have been published, or be published later. */
  timeoutMs?: number;
  /** How many events may wait for Redis's answer: 10,000. One more is refused (`overloaded`). */
  pendingMax?: number;
  /** How many events of a batch are sent at once: 500. */
  batchChunk?: number;
}

/** A durable event in Redis. */
export interface RedisDurableOptions extends DurableOptions {
  /** How many events the topic keeps, at least: 1,000. */
  maxlen?: number;
  /** How long the topic's history outlives this event, in ms, at least 60,000: a day. */
  ttlMs?: number;
}

/** Publishes events of the types `E`. */
export interface Publisher<E extends object = AnyEvents> {
  /** Publishes an event and keeps it. Resolves to its position. */
  publish(tenant: string, topic: Topic, event: EventOf<E>, options: RedisDurableOptions): Promise<Position>;
  /** Publishes an event to whoever is connected now. Resolves when Redis has it. */
  publish(tenant: string, topic: Topic, event: EventOf<E>, options?: EphemeralOptions): Promise<undefined>;
  /** Publishes many, in order; one that fails doesn't hold up the others. Resolves to a result for each. */
  publishBatch(
    tenant: string,
    items: readonly BatchItem<E, EphemeralOptions | RedisDurableOptions>[],
  ): Promise<BatchResult[]>;
}

const OPTIONS = ['id', 'maxlen', 'ttlMs'];
const TRYAGAIN_MS = 20;

/** Makes a publisher over a Redis client. */
export function createPublisher<E extends object = AnyEvents>(options: PublisherOptions): Publisher<E> {
  const {
    prefix = 'fanfare',
    eventBytesMax = EVENT_BYTES_MAX,
    timeoutMs = 5000,
    pendingMax = 10_000,
    batchChunk = 500,
  } = options;
  checkPrefix(prefix);
  for (const [name, value] of Object.entries({ eventBytesMax, timeoutMs, pendingMax, batchChunk })) {
    checkWhole(value, 1, name, name.endsWith('Ms') ? 'ms' : name.includes('Bytes') ? 'bytes' : 'events');
  }
  const channel = new Channel(adapt(options.redis), timeoutMs, pendingMax);
  const isTraced = options.trace ?? true;

  const write = (tenant: string, item: BatchItem<E, object>, span: EnvelopeSpan): Outgoing => ({
    key: `${prefix}:${tenant}:${item.topic}`,
    envelope: span.make((trace) => encodeEvent(item.event, eventBytesMax, trace)),
    ...optionsOf(item),
  });

  const publish = async (tenant: string, topic: Topic, event: EventOf<E>, given: object = {}) => {
    checkTenant(tenant);
    const item = { ...given, topic, event };
    check(item);
    return withSendSpan(messageOf(tenant, item), isTraced, async (span) => {
      const [settled] = await channel.send([write(tenant, item, span)]);
      if (settled?.status !== 'fulfilled') {
        throw failureOf(settled?.reason);
      }
      return positionOf(given, settled.value);
    });
  };

  const prepare = (tenant: string, item: BatchItem<E, object>) => {
    checkItem(item);
    check(item, 'item');
    const span = startCreation(messageOf(tenant, item), isTraced);
    return { item, span, outgoing: write(tenant, item, span) };
  };

  const publishBatch = async (tenant: string, items: readonly BatchItem<E, object>[]) => {
    checkTenant(tenant);
    const results: BatchResult[] = [];
    for (const chunk of chunksOf(items, Math.min(batchChunk, pendingMax))) {
      const prepared = chunk.map((item) => attempt(() => prepare(tenant, item)));
      const ready = prepared.flatMap((one) => (one instanceof FanfareError ? [] : [one]));
      const answers = await withBatchSpan(
        ready.map(({ span }) => span),
        async () => {
          const settled = await channel.send(ready.map(({ outgoing }) => outgoing));
          return ready.map(({ item }, at) => resultOf(item, settled[at]));
        },
      );
      for (const [at, item] of chunk.entries()) {
        const one = prepared[at];
        const failed = one instanceof FanfareError && resultOf(item, { status: 'rejected', reason: one });
        results.push(failed || (answers.shift() as BatchResult));
      }
    }
    return results;
  };

  return { publish: publish as Publisher<E>['publish'], publishBatch };
}

/** What is to be sent. */
interface Outgoing {
  key: string;
  envelope: string;
  keep?: { id?: string; maxlen?: number; ttlMs?: number };
}

/** The way to Redis, with its bounds. */
class Channel {
  #pending = 0;
  #usesSend: Promise<boolean> | undefined;

  constructor(
    private readonly redis: RedisClient,
    private readonly timeoutMs: number,
    private readonly pendingMax: number,
  ) {}

  /** Sends all at once. Tells of each what became of it, in order. */
  async send(events: Outgoing[]): Promise<PromiseSettledResult<unknown>[]> {
    if (this.#pending + events.length > this.pendingMax) {
      const words = `${this.#pending} events wait for Redis's answer, and at most ${this.pendingMax} may (pendingMax)`;
      const reason = new FanfareError('overloaded', words, { retryable: true });
      return events.map(() => ({ status: 'rejected', reason }));
    }
    this.#pending += events.length;
    const sent = this.#send(events);
    // What is late still waits in the client, so it still counts.
    const done = () => {
      this.#pending -= events.length;
    };
    sent.then(done, done);
    try {
      return await within(this.timeoutMs, sent, () => this.#late());
    } catch (reason) {
      return events.map(() => ({ status: 'rejected', reason }));
    }
  }

  async #send(events: Outgoing[]): Promise<PromiseSettledResult<unknown>[]> {
    const deadline = Date.now() + this.timeoutMs;
    const usesSend = await this.#ephemeralBySend();
    const commands = events.map((event) => commandOf(event, usesSend));
    const answers = await (commands.length === 1
      ? Promise.allSettled(commands.map((command) => this.redis.send(command)))
      : this.redis.sendAll(commands));
    return Promise.all(answers.map((answer, at) => this.#again(answer, commands[at], deadline)));
  }

  /** While a slot moves, a command of several keys is refused before anything happened; it is repeated until its time is up. */
  async #again(
    answer: PromiseSettledResult<unknown>,
    command: Command | undefined,
    deadline: number,
  ): Promise<PromiseSettledResult<unknown>> {
    let last = answer;
    while (command && last.status === 'rejected' && refusalOf(last.reason) === 'TRYAGAIN' && Date.now() < deadline) {
      await pause(TRYAGAIN_MS * (1 + Math.random()));
      [last = answer] = await Promise.allSettled([this.redis.send(command)]);
    }
    return last;
  }

  /**
   * Whether ephemeral events take `fanfare_send`, as they must on a cluster, where a PUBLISH reaches nobody and says
   * nothing. A client for a single server may be connected to a cluster by mistake, so it is asked once; a user who may
   * not ask gets the benefit of the doubt.
   */
  #ephemeralBySend(): Promise<boolean> {
    if (!this.#usesSend) {
      const asked = this.redis.isCluster
        ? Promise.resolve(true)
        : this.redis
            .send({ key: undefined, args: ['INFO', 'cluster'] })
            .then((info) => /cluster_enabled:1/.test(String(info)));
      this.#usesSend = asked.catch((error: unknown) => {
        if (!refusalOf(error)) {
          this.#usesSend = undefined;
        }
        return false;
      });
    }
    return this.#usesSend;
  }

  #late(): FanfareError {
    const words = `Redis did not answer within ${this.timeoutMs} ms (timeoutMs): the event may have been published, or be published later`;
    return new FanfareError('timeout', words, { retryable: true });
  }
}

function commandOf({ key, envelope, keep }: Outgoing, usesSend: boolean): Command {
  if (!keep) {
    return { key, args: usesSend ? ['FCALL', 'fanfare_send', '1', key, envelope] : ['PUBLISH', key, envelope] };
  }
  // All keys are declared, so that a slot on its way answers TRYAGAIN instead of half a publish.
  const keys = [key, `{${key}}:head`];
  const options: string[] = [];
  if (keep.maxlen !== undefined) {
    options.push('maxlen', String(keep.maxlen));
  }
  if (keep.ttlMs !== undefined) {
    options.push('ttl_ms', String(keep.ttlMs));
  }
  if (keep.id !== undefined) {
    keys.push(`{${key}}:id:${keep.id}`);
    options.push('id', keep.id);
  }
  return { key, args: ['FCALL', 'fanfare_publish', String(keys.length), ...keys, envelope, ...options] };
}

/** What every item has, of whatever types. */
interface Addressed {
  topic: Topic;
  event: unknown;
  durable?: boolean;
}

function check(item: Addressed, field?: string): void {
  checkTopic(item.topic);
  checkOptions(item, OPTIONS, field);
}

function messageOf(tenant: string, { topic, event, durable = false }: Addressed): Message {
  return { tenant, topic, event, durable };
}

function optionsOf(item: object): Pick<Outgoing, 'keep'> {
  const { durable, id, maxlen, ttlMs } = item as Partial<RedisDurableOptions>;
  if (!durable) {
    return {};
  }
  return {
    keep: {
      ...(id !== undefined && { id }),
      ...(maxlen !== undefined && { maxlen }),
      ...(ttlMs !== undefined && { ttlMs }),
    },
  };
}

function positionOf(options: object, answer: unknown): Position | undefined {
  return 'durable' in options && options.durable ? String(answer) : undefined;
}

function resultOf<E extends object>(
  item: BatchItem<E, object>,
  settled: PromiseSettledResult<unknown> | undefined,
): BatchResult {
  const topic = item?.topic;
  if (settled?.status !== 'fulfilled') {
    return { ok: false, topic, error: failureOf(settled?.reason) };
  }
  const position = positionOf(item, settled.value);
  return { ok: true, topic, ...(position !== undefined && { position }) };
}

function attempt<T>(run: () => T): T | FanfareError {
  try {
    return run();
  } catch (error) {
    if (error instanceof FanfareError) {
      return error;
    }
    throw error;
  }
}
