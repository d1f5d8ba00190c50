/** What publishers have in common, however events travel. Deliberately without Redis and without HTTP. */

import { type FanfareError, InvalidArgumentError } from './errors.ts';
import type { EventOf } from './event.ts';
import { bytesOf, type Topic } from './topic.ts';

/** Where a durable event stands in its topic. Keep it, give it back, and read nothing into it. */
export type Position = string;

/** An event that is for whoever is connected now. */
export interface EphemeralOptions {
  durable?: false;
}

/** An event that is kept, for those who come back later. */
export interface DurableOptions {
  durable: true;
  /** 1 to 128 bytes. Within 5 minutes the same id is not published to the topic again: what makes a retry harmless. */
  id?: string;
}

/** What happened to one item of a batch. */
export type BatchResult =
  | {
      ok: true;
      topic: Topic;
      /** Of a durable event. */
      position?: Position;
    }
  | { ok: false; topic: Topic; error: FanfareError };

/** An item of a batch. */
export type BatchItem<E extends object, Options> = { topic: Topic; event: EventOf<E> } & Options;

/** The most bytes of an idempotency id. */
const ID_BYTES_MAX = 128;

/** Throws unless it can be an item of a batch. */
export function checkItem(item: unknown): asserts item is object {
  if (typeof item !== 'object' || item === null) {
    throw new InvalidArgumentError('item', 'must be an object with a `topic` and an `event`');
  }
}

/** Throws unless the options fit together. */
export function checkOptions(options: object, known: readonly string[], field = 'options'): void {
  const given = options as Record<string, unknown>;
  if (given.durable !== undefined && typeof given.durable !== 'boolean') {
    throw new InvalidArgumentError(`${field}.durable`, 'must be true or false');
  }
  for (const name of ['id', 'maxlen', 'ttlMs']) {
    if (given[name] === undefined) {
      continue;
    }
    if (!known.includes(name)) {
      throw new InvalidArgumentError(`${field}.${name}`, 'is no option here');
    }
    if (given.durable !== true) {
      throw new InvalidArgumentError(`${field}.${name}`, 'is for durable events: give durable: true as well');
    }
  }
  checkId(given.id, `${field}.id`);
  checkWhole(given.maxlen, 1, `${field}.maxlen`, 'events');
  checkWhole(given.ttlMs, 60_000, `${field}.ttlMs`, 'ms');
}

/** Throws unless it is left out or a whole number that is not too small. */
export function checkWhole(value: unknown, min: number, field: string, unit: string): void {
  // What Redis's Lua can count exactly ends before 10^15.
  if (value !== undefined && !(Number.isSafeInteger(value) && (value as number) >= min && (value as number) < 1e15)) {
    throw new InvalidArgumentError(field, `must be a whole number (${unit}), at least ${min}`);
  }
}

function checkId(id: unknown, field: string): void {
  if (id === undefined) {
    return;
  }
  if (typeof id !== 'string' || id === '' || bytesOf(id) > ID_BYTES_MAX) {
    throw new InvalidArgumentError(field, `must be a string of 1 to ${ID_BYTES_MAX} bytes`);
  }
}

/** Cuts a list into pieces of at most `size`. */
export function* chunksOf<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += size) {
    yield items.slice(at, at + size);
  }
}
