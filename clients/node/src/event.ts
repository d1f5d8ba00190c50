/**
 * Events: their types, and the check that a node would make, made before anything is sent, since Redis carries whatever it
 * is given and nobody would tell. Deliberately JSON only.
 */

import { InvalidArgumentError, wordsOf } from './errors.ts';
import { bytesOf, isWellFormed } from './topic.ts';
import type { TraceContext } from './tracing/open-telemetry.ts';

/** What an application's events carry, by their type: `interface MyEvents { 'order.updated': { id: number } }`. */
export type AnyEvents = Record<string, unknown>;

/** What every event may have beside `type` and `data`. */
export interface EventFields {
  /** Your id for the event, for its readers. To make a retry harmless, use the option `id` of a durable publish. */
  id?: string | null;
  /** When it happened, Unix ms. */
  at?: number | null;
  /** To a client that can't keep up, a newer event of the same topic and key replaces one that still waits. */
  key?: string | null;
  /** A connection that doesn't get it: its `welcome.connection`. */
  except?: string | null;
  /** W3C Trace Context. That of the span in which OpenTelemetry sees the event published, when left out; null for none. */
  traceparent?: string | null;
  tracestate?: string | null;
}

/** An event of one type. `data` may be left out when it may be undefined. */
export type EventOfType<E extends object, T extends keyof E & string> = EventFields & {
  type: T;
} & (undefined extends E[T] ? { data?: E[T] } : { data: E[T] });

/** Any event of an application. */
export type EventOf<E extends object> = { [T in keyof E & string]: EventOfType<E, T> }[keyof E & string];

/** What a node takes, unless it is configured otherwise (`FANFARE_EVENT_BYTES_MAX`). */
export const EVENT_BYTES_MAX = 65_536;

const TYPE_BYTES_MAX = 200;
/** How deep an event and an answer may be nested. */
export const LEVELS_MAX = 64;
const TEXTS = ['id', 'key', 'except', 'traceparent', 'tracestate'];

/**
 * The envelope, as it is sent, of at most `bytesMax`. `trace` is for an event that has none. Throws `InvalidArgumentError`,
 * which names the field and the rule.
 */
export function encodeEvent(event: unknown, bytesMax: number, trace?: TraceContext): string {
  if (typeof event !== 'object' || event === null || Array.isArray(event)) {
    throw new InvalidArgumentError('event', 'must be an object with a `type`: { type: "order.updated", data: … }');
  }
  const fields = event as Record<string, unknown>;
  checkFields(fields);
  const text = stringify({ ...fields, ...trace });
  if (text.length > 2 * LEVELS_MAX && levelsOf(text) > LEVELS_MAX) {
    throw new InvalidArgumentError('event.data', `is nested too deep; an event has at most ${LEVELS_MAX} levels`);
  }
  const bytes = bytesOf(text);
  if (bytes > bytesMax) {
    throw new InvalidArgumentError(
      'event',
      `has ${bytes} bytes; at most ${bytesMax} are allowed: keep the data elsewhere and publish a reference`,
    );
  }
  return text;
}

function checkFields(event: Record<string, unknown>): void {
  const { type, at, data } = event;
  if (typeof type !== 'string') {
    throw new InvalidArgumentError('event.type', 'must be a string, such as "order.updated"');
  }
  const bytes = bytesOf(type);
  if (bytes < 1 || bytes > TYPE_BYTES_MAX) {
    throw new InvalidArgumentError('event.type', `has ${bytes} bytes; 1 to ${TYPE_BYTES_MAX} are allowed`);
  }
  if (at !== undefined && at !== null && !Number.isSafeInteger(at)) {
    throw new InvalidArgumentError('event.at', 'must be an integer, in Unix ms: Date.now()');
  }
  if (typeof data === 'function' || typeof data === 'symbol') {
    throw new InvalidArgumentError('event.data', `must be something that JSON has, and is a ${typeof data}`);
  }
  for (const name of TEXTS) {
    const value = event[name];
    if (value !== undefined && value !== null && typeof value !== 'string') {
      throw new InvalidArgumentError(`event.${name}`, 'must be a string');
    }
  }
  for (const name of ['type', ...TEXTS]) {
    const value = event[name];
    if (typeof value === 'string' && !isWellFormed(value)) {
      throw new InvalidArgumentError(`event.${name}`, 'has half a surrogate pair, which is no UTF-8');
    }
  }
  if (!Object.keys(event).every(isWellFormed)) {
    throw new InvalidArgumentError('event', 'has a field whose name has half a surrogate pair, which is no UTF-8');
  }
}

function stringify(event: Record<string, unknown>): string {
  try {
    return JSON.stringify(event);
  } catch (cause) {
    throw new InvalidArgumentError('event.data', `can't be written as JSON: ${wordsOf(cause)}`, { cause });
  }
}

/** How deep objects and arrays are nested, of a JSON text. */
export function levelsOf(text: string): number {
  let level = 0;
  let deepest = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at);
    if (character === 0x22) {
      at = endOfString(text, at + 1);
    } else if (character === 0x7b || character === 0x5b) {
      level += 1;
      deepest = Math.max(deepest, level);
    } else if (character === 0x7d || character === 0x5d) {
      level -= 1;
    }
  }
  return deepest;
}

function endOfString(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const character = text.charCodeAt(at);
    if (character === 0x5c) {
      at += 1;
    } else if (character === 0x22) {
      return at;
    }
  }
  return text.length;
}
