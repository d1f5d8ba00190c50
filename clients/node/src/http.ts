/**
 * Publishing by the HTTP API of a node, on `fetch` alone: for route handlers and edge functions. Deliberately without Node
 * and without Redis.
 */

import { FanfareError, FanfareHttpError, InvalidArgumentError } from './errors.ts';
import { type AnyEvents, EVENT_BYTES_MAX, type EventOf, encodeEvent } from './event.ts';
import { codeOf, isObject, positionOf } from './http-answer.ts';
import { Api, type Call } from './http-api.ts';
import {
  type BatchItem,
  type BatchResult,
  checkItem,
  checkOptions,
  checkWhole,
  type DurableOptions,
  type EphemeralOptions,
  type Position,
} from './publishing.ts';
import { bytesOf, checkTenant, checkTopic, type Topic } from './topic.ts';
import { type Creation, startCreation, withBatchSpan, withSendSpan } from './tracing/producer-span.ts';

export type { FanfareErrorCode } from './errors.ts';
export { FanfareError, FanfareHttpError, InvalidArgumentError } from './errors.ts';
export type { AnyEvents, EventFields, EventOf, EventOfType } from './event.ts';
export type { BatchItem, BatchResult, DurableOptions, EphemeralOptions, Position } from './publishing.ts';
export { channel, TENANT, type Topic, user } from './topic.ts';

/** How an HTTP publisher is made. */
export interface HttpPublisherOptions {
  /** The address of a node's API, or of a balancer before several: `http://fanfare.internal:9090`. */
  url: string | URL;
  /** An API key, or what gets one; asked for each request, so a key can be rotated. */
  apiKey: string | (() => string | Promise<string>);
  /** What sends requests: the global `fetch`. */
  fetch?: typeof globalThis.fetch;
  /** How long one attempt may take, in ms: 5,000. */
  timeoutMs?: number;
  /** How often a request is sent again at most, where that can't publish an event twice: 2. */
  retriesMax?: number;
  /** The longest wait between two attempts, in ms: 2,000. A node that asks for more is not asked again. */
  retryDelayMaxMs?: number;
  /** Whether publishing is a span, where OpenTelemetry is set up, that goes into events that have none: true. */
  trace?: boolean;
  /** The largest envelope, in bytes, as nodes are configured: 65,536. */
  eventBytesMax?: number;
  /** How many events of a batch go into one request: 100. */
  batchChunk?: number;
  /** How many bytes of a batch go into one request, unless a single event has more: 65,536. */
  batchBytesMax?: number;
}

/** What every call may have. */
export interface HttpCallOptions {
  /** Ends the call early. */
  signal?: AbortSignal;
}

/** Publishes events of the types `E` by HTTP. */
export interface HttpPublisher<E extends object = AnyEvents> {
  /** Publishes an event and keeps it. Resolves to its position. */
  publish(
    tenant: string,
    topic: Topic,
    event: EventOf<E>,
    options: DurableOptions & HttpCallOptions,
  ): Promise<Position>;
  /** Publishes an event to whoever is connected now. Resolves when the node has handed it on. */
  publish(
    tenant: string,
    topic: Topic,
    event: EventOf<E>,
    options?: EphemeralOptions & HttpCallOptions,
  ): Promise<undefined>;
  /** Publishes many, in order; one that fails doesn't hold up the others. Resolves to a result for each. */
  publishBatch(
    tenant: string,
    items: readonly BatchItem<E, EphemeralOptions | DurableOptions>[],
    options?: HttpCallOptions,
  ): Promise<BatchResult[]>;
}

/** Makes a publisher over the HTTP API. */
export function createHttpPublisher<E extends object = AnyEvents>(options: HttpPublisherOptions): HttpPublisher<E> {
  const { eventBytesMax = EVENT_BYTES_MAX, batchChunk = 100, batchBytesMax = 65_536 } = options;
  checkWhole(eventBytesMax, 1, 'eventBytesMax', 'bytes');
  checkWhole(batchChunk, 1, 'batchChunk', 'events');
  checkWhole(batchBytesMax, 1, 'batchBytesMax', 'bytes');
  const api = new Api(options);
  const isTraced = options.trace ?? true;

  const publish = async (
    tenant: string,
    topic: Topic,
    event: EventOf<E>,
    given: { durable?: boolean; id?: string; signal?: AbortSignal } = {},
  ) => {
    checkTenant(tenant);
    checkTopic(topic);
    checkOptions(given, ['id']);
    checkHeader(given.id);
    const { id, signal, durable = false } = given;
    const path = `/v1/tenants/${tenant}/topics/${inPath(topic)}/events${durable ? '?durable=true' : ''}`;
    return withSendSpan({ tenant, topic, event, durable }, isTraced, async (span) => {
      const body = span.make((trace) => encodeEvent(event, eventBytesMax, trace));
      const answer = await api.post(path, body, { id, isIdempotent: id !== undefined, signal, trace: span.context });
      return durable ? positionOf(answer) : undefined;
    });
  };

  const write = (tenant: string, item: Item, at: number): Written => {
    checkItem(item);
    checkTopic(item.topic);
    checkOptions(item, ['id'], 'item');
    const { topic, event, durable = false, id } = item;
    const span = startCreation({ tenant, topic, event, durable }, isTraced);
    const envelope = span.make((trace) => encodeEvent(event, eventBytesMax, trace));
    return { at, topic, text: inBatch(item, envelope), span, isIdempotent: id !== undefined };
  };

  const publishBatch = async (
    tenant: string,
    items: readonly BatchItem<E, EphemeralOptions | DurableOptions>[],
    { signal }: HttpCallOptions = {},
  ) => {
    checkTenant(tenant);
    const results = new Array<BatchResult>(items.length);
    let chunk: Written[] = [];
    let bytes = 0;
    const flush = async () => {
      const spans = chunk.map(({ span }) => span);
      const sent = await withBatchSpan(spans, (trace) => send(api, tenant, chunk, { signal, trace }));
      for (const [nth, { at }] of chunk.entries()) {
        results[at] = sent[nth] as BatchResult;
      }
      chunk = [];
      bytes = 0;
    };
    for (const [at, item] of items.entries()) {
      try {
        const written = write(tenant, item, at);
        const size = bytesOf(written.text) + 1;
        if (chunk.length >= batchChunk || (chunk.length > 0 && bytes + size > batchBytesMax - WRAPPING_BYTES)) {
          await flush();
        }
        chunk.push(written);
        bytes += size;
      } catch (error) {
        results[at] = { ok: false, topic: item?.topic, error: asFanfareError(error) };
      }
    }
    await flush();
    return results;
  };

  return { publish: publish as HttpPublisher<E>['publish'], publishBatch };
}

/** What every item of a batch has, of whatever types. */
interface Item {
  topic: Topic;
  event: unknown;
  durable?: boolean;
  id?: string;
}

/** An item of a batch, ready to be sent. */
interface Written {
  at: number;
  topic: Topic;
  text: string;
  span: Creation;
  /** Whether it may be sent again after anything. */
  isIdempotent: boolean;
}

const WRAPPING_BYTES = '{"events":[]}'.length;

function inBatch({ topic, durable, id }: Item, envelope: string): string {
  const options = `${durable ? ',"durable":true' : ''}${id === undefined ? '' : `,"id":${JSON.stringify(id)}`}`;
  return `{"topic":${JSON.stringify(topic)}${options},"event":${envelope}}`;
}

async function send(
  api: Api,
  tenant: string,
  chunk: readonly Written[],
  call: Pick<Call, 'signal' | 'trace'>,
): Promise<BatchResult[]> {
  if (chunk.length === 0) {
    return [];
  }
  try {
    const body = `{"events":[${chunk.map(({ text }) => text).join(',')}]}`;
    const isIdempotent = chunk.every((item) => item.isIdempotent);
    const answer = await api.post(`/v1/tenants/${tenant}/events`, body, { ...call, isIdempotent });
    const results = isObject(answer) && Array.isArray(answer.results) ? (answer.results as unknown[]) : [];
    return chunk.map(({ topic }, nth) => resultOf(topic, results[nth]));
  } catch (error) {
    return chunk.map(({ topic }) => ({ ok: false, topic, error: asFanfareError(error) }));
  }
}

function resultOf(topic: Topic, result: unknown): BatchResult {
  if (!isObject(result)) {
    return {
      ok: false,
      topic,
      error: new FanfareHttpError('internal', 'the answer has no result for this event', 200),
    };
  }
  if (isObject(result.error)) {
    const { code, message, reason } = result.error;
    const error = new FanfareHttpError(codeOf(code), String(message ?? code), 200, {
      reason: typeof reason === 'string' ? reason : undefined,
      retryable: code === 'unavailable' || code === 'rate_limited',
    });
    return { ok: false, topic, error };
  }
  return { ok: true, topic, ...(typeof result.position === 'string' && { position: result.position }) };
}

/** Percent-encoded, but for the `:` of every topic, so that logs stay legible. */
function inPath(topic: string): string {
  return encodeURIComponent(topic).replaceAll('%3A', ':');
}

function checkHeader(id: string | undefined): void {
  if (id !== undefined && !/^[!-~]+$/.test(id)) {
    throw new InvalidArgumentError(
      'options.id',
      'travels in a header here, so it must have visible ASCII characters only',
    );
  }
}

function asFanfareError(error: unknown): FanfareError {
  if (error instanceof FanfareError) {
    return error;
  }
  throw error;
}
