/**
 * One request under way: its deadline, its handler and the text of its answer. Deliberately without Redis: whoever holds
 * the job sends the answer.
 */

import { FanfareError, wordsOf } from '../errors.ts';
import { LEVELS_MAX, levelsOf } from '../event.ts';
import { bytesOf } from '../topic.ts';
import { withServerSpan } from '../tracing/server-span.ts';
import { type Entry, type Handler, type ParsedEntry, RequestError, type WorkerRequest } from './request.ts';

/** What clients are told of an error that is not theirs. */
const INTERNAL = { code: 'internal', message: 'the request failed' };
const TOO_LARGE = { code: 'too_large', message: 'the answer is larger than allowed' };
const CODE = /^[a-z][a-z0-9_]{0,63}$/;
/** Node's timers take no more. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** A request that was taken. */
export class Job {
  readonly key: string;
  readonly #ending = new AbortController();
  /** A timer may ring a moment before the clock says so, and what the handler was told stands. */
  #hasExpired = false;

  constructor(
    readonly entry: Entry,
    readonly parsed: ParsedEntry,
  ) {
    this.key = keyOf(entry);
  }

  get isLate(): boolean {
    return this.#hasExpired || Date.now() >= this.parsed.deadline;
  }

  /** Tells the handler that nobody waits for it any more. */
  abort(reason: FanfareError): void {
    this.#ending.abort(reason);
  }

  /** Runs the handler. `failed` is told what is not for the client. */
  async run(handler: Handler | undefined, answerBytesMax: number, failed: (error: unknown) => void): Promise<string> {
    const { request, method, deadline, traceparent } = this.parsed;
    if (!handler) {
      return this.#refusal('no_backend', `no handler is registered for the method ${JSON.stringify(method)}`);
    }
    const expired = () => {
      this.#hasExpired = true;
      this.abort(new FanfareError('timeout', 'the deadline of the request has passed'));
    };
    const timer = setTimeout(expired, Math.min(Math.max(0, deadline - Date.now()), TIMER_MS_MAX));
    const attributes = {
      'rpc.system': 'fanfare',
      'rpc.method': method,
      'fanfare.tenant': this.entry.tenant,
      'fanfare.request': request,
    };
    let data: unknown;
    try {
      const run = async () => handler(this.#request());
      data = await withServerSpan(`fanfare ${method}`, attributes, traceparent, run);
    } catch (error) {
      if (error instanceof RequestError) {
        return this.#refusal(CODE.test(error.code) ? error.code : INTERNAL.code, error.message);
      }
      // That it ended early is what the signal was for.
      if (!(this.#ending.signal.aborted && error === this.#ending.signal.reason)) {
        failed(error);
      }
      return this.#refusal(INTERNAL.code, INTERNAL.message);
    } finally {
      clearTimeout(timer);
    }
    try {
      return `{"request":${JSON.stringify(this.parsed.request)},"data":${this.#written(data, answerBytesMax)}}`;
    } catch (error) {
      failed(error);
      const isTooLarge = error instanceof FanfareError && error.code === TOO_LARGE.code;
      const { code, message } = isTooLarge ? TOO_LARGE : INTERNAL;
      return this.#refusal(code, message);
    }
  }

  #request(): WorkerRequest {
    const { request, method, data, user, connection, deadline } = this.parsed;
    const { tenant, redelivered } = this.entry;
    return { id: request, method, data, tenant, user, connection, deadline, redelivered, signal: this.#ending.signal };
  }

  /** What the handler returned, as JSON that nodes pass on. */
  #written(data: unknown, bytesMax: number): string {
    const answer = `the answer to ${this.parsed.method}`;
    let text: string;
    try {
      text = JSON.stringify(data ?? null) ?? 'null';
    } catch (cause) {
      throw new FanfareError('internal', `${answer} can't be written as JSON: ${wordsOf(cause)}`, { cause });
    }
    if (levelsOf(text) > LEVELS_MAX) {
      throw new FanfareError('internal', `${answer} is nested too deep; at most ${LEVELS_MAX} levels are allowed`);
    }
    const bytes = bytesOf(text);
    if (bytes > bytesMax) {
      const words = `${answer} has ${bytes} bytes; at most ${bytesMax} are allowed (answerBytesMax)`;
      throw new FanfareError(TOO_LARGE.code, words);
    }
    return text;
  }

  #refusal(code: string, message: string): string {
    return JSON.stringify({ request: this.parsed.request, error: { code, message } });
  }
}

/** What tells one entry from all others. */
export function keyOf(entry: Entry): string {
  return `${entry.tenant}/${entry.id}`;
}
