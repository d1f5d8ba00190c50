/** What the HTTP API answers, read with care: a proxy in between may answer anything. Deliberately without requests. */

import { type FanfareErrorCode, FanfareHttpError } from './errors.ts';
import type { Position } from './publishing.ts';

const RETRYABLE = [408, 429, 502, 503, 504];
/** For answers that are no problem document of a node. */
const CODES: Record<number, FanfareErrorCode> = {
  400: 'bad_frame',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not_found',
  408: 'timeout',
  413: 'too_large',
  429: 'rate_limited',
  503: 'unavailable',
  504: 'timeout',
};

/** The body as JSON; undefined when it is none. */
export async function readBody(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A refusal as an error: a problem document (RFC 9457) tells its own code and words. */
export function refusalOf(response: Response, body: unknown): FanfareHttpError {
  const { status } = response;
  const problem = isObject(body) ? body : {};
  const code = typeof problem.code === 'string' ? codeOf(problem.code) : (CODES[status] ?? 'internal');
  const words = [problem.message, problem.detail, problem.title].find((text) => typeof text === 'string');
  const what =
    status >= 300 && status < 400 ? 'the address answers with a redirect, which is not followed' : 'no reason given';
  return new FanfareHttpError(code, `${words ?? what} (HTTP ${status})`, status, {
    reason: typeof problem.reason === 'string' ? problem.reason : undefined,
    retryAfterMs: retryAfterMs(response.headers.get('retry-after')),
    // A node says 502 when Redis itself refused, which trying again doesn't change.
    retryable: RETRYABLE.includes(status) && !(status === 502 && code === 'internal'),
  });
}

/** The position in the answer to a durable event. */
export function positionOf(answer: unknown): Position {
  if (isObject(answer) && typeof answer.position === 'string') {
    return answer.position;
  }
  throw new FanfareHttpError('internal', 'the answer has no position: is this the API of a Fanfare node?', 200);
}

export function codeOf(code: unknown): FanfareErrorCode {
  return typeof code === 'string' ? code : 'internal';
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Seconds or a date (RFC 9110 §10.2.3). */
function retryAfterMs(value: string | null): number | undefined {
  if (value === null) {
    return undefined;
  }
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
