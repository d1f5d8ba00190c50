/** A client's request, as a node wrote it into the stream and as a handler gets it. Deliberately without Redis. */

import { FanfareError } from '../errors.ts';

/** What an application's requests take and give, by method: `interface MyMethods { 'orders.get': { input: …; output: … } }`. */
export type AnyMethods = Record<string, { input: unknown; output: unknown }>;

/** What a method takes. */
export type InputOf<M extends object, K extends keyof M> = M[K] extends { input: infer Input } ? Input : unknown;
/** What a method gives. */
export type OutputOf<M extends object, K extends keyof M> = M[K] extends { output: infer Output } ? Output : unknown;

/** A request that a client has made. Who made it is vouched for by the node; `data` is whatever the client sent. */
export interface WorkerRequest<Input = unknown> {
  /** The same when the request comes again: what makes a repeated handling harmless. */
  readonly id: string;
  readonly method: string;
  /** As the client sent it: check it before you trust it. */
  readonly data: Input;
  readonly tenant: string;
  readonly user: string;
  /** The client's connection, which `except` of an event leaves out; empty when it has none. */
  readonly connection: string;
  /** Until when an answer is of use, Unix ms. */
  readonly deadline: number;
  /** Whether another worker, or this one, may have begun with it before. */
  readonly redelivered: boolean;
  /** Aborted at the deadline, and when the worker stops before the handler is done. */
  readonly signal: AbortSignal;
}

/** Answers a request. What it returns becomes the reply; undefined becomes null. */
export type Handler<Input = unknown, Output = unknown> = (request: WorkerRequest<Input>) => Output | Promise<Output>;

/**
 * What a handler throws to answer with an error that the client is told. Nodes pass on the codes of the protocol
 * (`forbidden`, `too_large`, …) and tell every other as `internal`; the message is passed on in any case, up to 1,024 bytes.
 */
export class RequestError extends FanfareError {
  constructor(code: string, message: string, options: { cause?: unknown } = {}) {
    super(code, message, options);
    this.name = 'RequestError';
  }
}

/** An entry of the stream. */
export interface Entry {
  tenant: string;
  /** Its id in the stream. */
  id: string;
  /** Null when it was trimmed meanwhile. */
  fields: Map<string, string> | null;
  redelivered: boolean;
}

/** An entry that has been checked. */
export interface ParsedEntry {
  request: string;
  method: string;
  data: unknown;
  user: string;
  connection: string;
  replyTo: string;
  deadline: number;
  traceparent: string | undefined;
}

/** Takes an entry apart. A text says why it is none that a node has written. */
export function parseEntry(entry: Entry, repliesPrefix: string): ParsedEntry | string {
  const field = (name: string) => entry.fields?.get(name) ?? '';
  for (const name of ['request', 'method', 'user', 'reply_to', 'deadline_ms']) {
    if (field(name) === '') {
      return `has no ${name}`;
    }
  }
  const replyTo = field('reply_to');
  if (!replyTo.startsWith(repliesPrefix)) {
    return `wants its answer elsewhere than at ${repliesPrefix}…`;
  }
  const deadline = Number(field('deadline_ms'));
  if (!Number.isSafeInteger(deadline)) {
    return 'has a deadline_ms that is no integer';
  }
  let data: unknown;
  try {
    data = JSON.parse(field('data') || 'null');
  } catch {
    return 'has data that is no JSON';
  }
  return {
    request: field('request'),
    method: field('method'),
    data,
    user: field('user'),
    connection: field('connection'),
    replyTo,
    deadline,
    traceparent: field('traceparent') || undefined,
  };
}
