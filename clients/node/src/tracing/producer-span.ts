/**
 * The spans of publishing, whose context travels in the envelope, so that what nodes and pages do with an event belongs to
 * whoever published it. By OpenTelemetry's conventions for messaging: a single event is sent in a span of its own; of a batch
 * each event has a span in which it is made, and what goes out together is one more, with links to them. Deliberately not
 * left to the instrumentation of the Redis client or of `fetch`: its spans are the event's neighbours, and nothing that
 * travels with the event names them.
 */

import type { FanfareError } from '../errors.ts';
import type { BatchResult } from '../publishing.ts';
import { bytesOf } from '../topic.ts';
import {
  type Attributes,
  during,
  fail,
  KIND_CLIENT,
  KIND_PRODUCER,
  type Link,
  type OpenTelemetry,
  openTelemetry,
  remoteOf,
  SAMPLED,
  type Span,
  startSpan,
  type TraceContext,
  traceOf,
} from './open-telemetry.ts';

/** What is published, as far as spans tell of it. */
export interface Message {
  tenant: string;
  topic: string;
  /** As the caller gave it, unchecked. */
  event: unknown;
  durable: boolean;
}

/** A span in which an envelope is made. */
export interface EnvelopeSpan {
  /** Its own, for what carries the envelope. */
  readonly context: TraceContext | undefined;
  /** Makes the envelope; `trace` is what it carries, unless the event brings its own. */
  make(encode: (trace?: TraceContext) => string): string;
}

/** An event of a batch. */
export interface Creation extends EnvelopeSpan {
  /** For the span that sends it; undefined when nothing is traced. */
  readonly link: Link | undefined;
  /** To be called when it is known what became of an event that could be made. */
  end(error?: unknown): void;
}

const UNTRACED: Creation = {
  context: undefined,
  make: (encode) => encode(),
  link: undefined,
  end: () => {},
};

/** Sends one event within a span. An event that brings a `traceparent` keeps it, and the span has a link to it. */
export async function withSendSpan<R>(
  message: Message,
  isTraced: boolean,
  send: (span: EnvelopeSpan) => Promise<R>,
): Promise<R> {
  const { traceparent } = fieldsOf(message.event);
  const api = isTraced && traceparent !== null ? openTelemetry() : undefined;
  if (!api) {
    return send(UNTRACED);
  }
  const isOwn = traceparent === undefined;
  const options = {
    kind: isOwn ? KIND_PRODUCER : KIND_CLIENT,
    attributes: attributesOf(message, 'send'),
    links: isOwn ? [] : linksTo(traceparent, {}),
  };
  const span = startSpan(api, `send ${kindOf(message.topic)}`, options, api.context.active());
  const context = traceOf(span);
  return during(api, span, () => send({ context, make: (encode) => sized(span, encode(isOwn ? context : undefined)) }));
}

/** Begins to publish one event of a batch. An event that brings a `traceparent` keeps it, and has no span here. */
export function startCreation(message: Message, isTraced: boolean): Creation {
  const { traceparent } = fieldsOf(message.event);
  const api = isTraced && traceparent !== null ? openTelemetry() : undefined;
  if (!api) {
    return UNTRACED;
  }
  const attributes = attributesOf(message);
  if (traceparent !== undefined) {
    return { ...UNTRACED, link: linksTo(traceparent, attributes)[0] };
  }
  const options = { kind: KIND_PRODUCER, attributes: attributesOf(message, 'create') };
  const span = startSpan(api, `create ${kindOf(message.topic)}`, options, api.context.active());
  const end = (error?: unknown) => {
    if (error !== undefined) {
      fail(span, error);
    }
    span.end();
  };
  const context = traceOf(span);
  const make = (encode: (trace?: TraceContext) => string) => {
    try {
      return sized(span, encode(context));
    } catch (error) {
      end(error);
      throw error;
    }
  };
  return { context, make, link: { context: span.spanContext(), attributes }, end };
}

/**
 * Sends events of a batch together, within a span with links to them, unless none of them is sampled. `send` is told the span's
 * context, and tells of each event what became of it, in order.
 */
export async function withBatchSpan(
  events: readonly Creation[],
  send: (trace?: TraceContext) => Promise<BatchResult[]>,
): Promise<BatchResult[]> {
  const links = events.flatMap(({ link }) => link ?? []);
  const api = links.some(({ context }) => context.traceFlags & SAMPLED) ? openTelemetry() : undefined;
  try {
    const results = api ? await sendTogether(api, events.length, links, send) : await send();
    for (const [at, event] of events.entries()) {
      event.end(errorOf(results[at]));
    }
    return results;
  } catch (error) {
    for (const event of events) {
      event.end(error);
    }
    throw error;
  }
}

function sendTogether(
  api: OpenTelemetry,
  count: number,
  links: Link[],
  send: (trace?: TraceContext) => Promise<BatchResult[]>,
): Promise<BatchResult[]> {
  const shared = sharedBy(links.map(({ attributes }) => attributes));
  const kind = shared[KIND];
  const attributes = { ...operationOf('send'), ...shared, 'messaging.batch.message_count': count };
  const options = { kind: KIND_CLIENT, attributes, links };
  const span = startSpan(api, kind === undefined ? 'send' : `send ${kind}`, options, api.context.active());
  return during(api, span, async () => {
    const results = await send(traceOf(span));
    const error = results.map(errorOf).find((one) => one !== undefined);
    if (error) {
      fail(span, error);
    }
    return results;
  });
}

const KIND = 'messaging.destination.template';

/** Of an operation on one event, or of the event alone. Written field by field, since every publish comes here. */
function attributesOf({ tenant, topic, event, durable }: Message, operation?: 'create' | 'send'): Attributes {
  const { id, type } = fieldsOf(event);
  const attributes: Attributes = operation ? operationOf(operation) : {};
  attributes['messaging.destination.name'] = topic;
  attributes[KIND] = kindOf(topic);
  attributes['fanfare.tenant'] = tenant;
  attributes['fanfare.durable'] = durable;
  if (typeof type === 'string') {
    attributes['fanfare.event.type'] = type;
  }
  if (typeof id === 'string') {
    attributes['messaging.message.id'] = id;
  }
  return attributes;
}

function operationOf(name: 'create' | 'send'): Attributes {
  return { 'messaging.system': 'fanfare', 'messaging.operation.name': name, 'messaging.operation.type': name };
}

/** What all of them say. */
function sharedBy([first, ...others]: Attributes[]): Attributes {
  const all = Object.entries(first ?? {});
  return Object.fromEntries(all.filter(([name, value]) => others.every((one) => one[name] === value)));
}

function errorOf(result: BatchResult | undefined): FanfareError | undefined {
  return result?.ok === false ? result.error : undefined;
}

function kindOf(topic: string): string {
  const end = topic.indexOf(':');
  return end < 0 ? topic : topic.slice(0, end);
}

function linksTo(traceparent: unknown, attributes: Attributes): Link[] {
  const context = typeof traceparent === 'string' ? remoteOf(traceparent) : undefined;
  return context ? [{ context, attributes }] : [];
}

function sized(span: Span, envelope: string): string {
  if (span.isRecording()) {
    span.setAttribute('messaging.message.body.size', bytesOf(envelope));
  }
  return envelope;
}

function fieldsOf(event: unknown): Record<string, unknown> {
  return (event ?? {}) as Record<string, unknown>;
}
