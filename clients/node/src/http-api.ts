/**
 * Requests to the HTTP API, with their bounds, and retries only where they can't publish an event twice. Deliberately without
 * events: a body is a text.
 */

import { FanfareError, FanfareHttpError, InvalidArgumentError, wordsOf } from './errors.ts';
import type { HttpPublisherOptions } from './http.ts';
import { readBody, refusalOf } from './http-answer.ts';
import { checkWhole } from './publishing.ts';
import { backoffMs, pause, within } from './timing.ts';
import type { TraceContext } from './tracing/open-telemetry.ts';

const RETRY_MIN_MS = 100;

/** How a request is sent. */
export interface Call {
  /** In which trace it is sent. */
  trace: TraceContext | undefined;
  id?: string | undefined;
  /** Whether it is harmless to send it again after anything. */
  isIdempotent: boolean;
  signal: AbortSignal | undefined;
}

/** The API of one node, or of a balancer before several. */
export class Api {
  readonly #base: string;
  readonly #timeoutMs: number;
  readonly #retriesMax: number;
  readonly #retryDelayMaxMs: number;

  constructor(private readonly options: HttpPublisherOptions) {
    this.#base = baseOf(options.url);
    this.#timeoutMs = options.timeoutMs ?? 5000;
    this.#retriesMax = options.retriesMax ?? 2;
    this.#retryDelayMaxMs = options.retryDelayMaxMs ?? 2000;
    checkWhole(this.#timeoutMs, 1, 'timeoutMs', 'ms');
    checkWhole(this.#retriesMax, 0, 'retriesMax', 'times');
    checkWhole(this.#retryDelayMaxMs, 0, 'retryDelayMaxMs', 'ms');
    if (typeof options.apiKey !== 'function' && !options.apiKey) {
      throw new InvalidArgumentError('apiKey', "is missing: give one of the keys in the node's FANFARE_API_KEYS");
    }
  }

  /** Posts JSON. */
  async post(path: string, body: string, call: Call): Promise<unknown> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#once(path, body, call);
      } catch (error) {
        const delayMs = attempt < this.#retriesMax ? this.#delayMs(error, attempt, call.isIdempotent) : undefined;
        if (delayMs === undefined) {
          throw error;
        }
        await pause(delayMs, call.signal);
        if (call.signal?.aborted) {
          throw aborted(call.signal);
        }
      }
    }
  }

  async #once(path: string, body: string, { id, signal, trace }: Call): Promise<unknown> {
    const { apiKey, fetch = globalThis.fetch } = this.options;
    const key = typeof apiKey === 'function' ? await this.#ask(apiKey) : apiKey;
    if (typeof key !== 'string' || !/^[!-~]+$/.test(key)) {
      // `fetch` would refuse it too, and print it.
      throw new InvalidArgumentError('apiKey', 'must be a text of visible ASCII characters');
    }
    const headers: Record<string, string> = {
      ...trace,
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
    };
    if (id !== undefined) {
      headers['idempotency-key'] = id;
    }
    const ending = new AbortController();
    const timer = setTimeout(() => ending.abort(), this.#timeoutMs);
    const end = () => ending.abort();
    signal?.addEventListener('abort', end, { once: true });
    try {
      if (signal?.aborted) {
        throw aborted(signal);
      }
      const response = await fetch(this.#base + path, {
        method: 'POST',
        headers,
        body,
        redirect: 'manual',
        signal: ending.signal,
      });
      const answer = await readBody(response);
      if (!response.ok) {
        throw refusalOf(response, answer);
      }
      return answer;
    } catch (error) {
      throw this.#failure(error, signal, ending.signal.aborted);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
    }
  }

  #ask(apiKey: () => string | Promise<string>): Promise<string> {
    const late = () => new FanfareError('timeout', `apiKey gave no key within ${this.#timeoutMs} ms (timeoutMs)`);
    return within(this.#timeoutMs, Promise.resolve(apiKey()), late);
  }

  #failure(error: unknown, signal: AbortSignal | undefined, isLate: boolean): FanfareError {
    if (error instanceof FanfareError) {
      return error;
    }
    if (signal?.aborted) {
      return aborted(signal);
    }
    const options = { cause: error, retryable: true };
    return isLate
      ? new FanfareError(
          'timeout',
          `no answer within ${this.#timeoutMs} ms (timeoutMs): the event may have been published`,
          options,
        )
      : new FanfareError('unavailable', `the API at ${this.#base} can't be reached: ${wordsOf(error)}`, options);
  }

  /** How long to wait before the same request may be sent again; undefined when it may not. */
  #delayMs(error: unknown, attempt: number, isIdempotent: boolean): number | undefined {
    if (!(error instanceof FanfareError) || !error.retryable) {
      return undefined;
    }
    const { status, retryAfterMs } = error instanceof FanfareHttpError ? error : {};
    // With these two nothing was published, and the node says when it may be.
    const isRefused = retryAfterMs !== undefined && (status === 429 || status === 503);
    if (!isRefused && !isIdempotent) {
      return undefined;
    }
    if (retryAfterMs === undefined) {
      return backoffMs(attempt, 2 * RETRY_MIN_MS, this.#retryDelayMaxMs);
    }
    return retryAfterMs > this.#retryDelayMaxMs
      ? undefined
      : retryAfterMs + Math.random() * RETRY_MIN_MS * 2 ** attempt;
  }
}

function baseOf(url: string | URL): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch (cause) {
    throw new InvalidArgumentError('url', "must be the address of a node's API: http://127.0.0.1:9090", { cause });
  }
  if (!/^https?:$/.test(parsed.protocol) || parsed.username || parsed.password || parsed.search || parsed.hash) {
    throw new InvalidArgumentError(
      'url',
      'must be http:// or https://, a host, and at most a path: http://127.0.0.1:9090',
    );
  }
  return (parsed.origin + parsed.pathname).replace(/\/+$/, '');
}

function aborted(signal: AbortSignal): FanfareError {
  return new FanfareError('aborted', 'the call was aborted; if it was under way, the event may have been published', {
    cause: signal.reason,
  });
}
