/**
 * What can go wrong, as types. An error says what happened, where, and what to do; it never has a secret or an event's
 * data in it. Deliberately without the errors that a worker's handler answers with: those are `RequestError`.
 */

/** What went wrong, for programs. Refusals of the HTTP API add codes of their own. */
export type FanfareErrorCode =
  | 'invalid_argument'
  | 'functions_missing'
  | 'unavailable'
  | 'timeout'
  | 'overloaded'
  | 'refused'
  | 'aborted'
  | 'unauthenticated'
  | 'forbidden'
  | 'invalid_topic'
  | 'bad_frame'
  | 'too_large'
  | 'rate_limited'
  | 'not_found'
  | 'internal'
  | (string & {});

/** What every error of this library is. */
export class FanfareError extends Error {
  /** What went wrong, for programs. */
  readonly code: FanfareErrorCode;
  /** Whether the same call may succeed later. It says nothing about whether this one had an effect: see `code`. */
  readonly retryable: boolean;

  constructor(code: FanfareErrorCode, message: string, options: { cause?: unknown; retryable?: boolean } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'FanfareError';
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

/** An argument breaks a rule. Nothing was sent. */
export class InvalidArgumentError extends FanfareError {
  /** Which argument: `tenant`, `topic`, `event.type`, `options.ttlMs`. */
  readonly field: string;
  /** The rule that it breaks. */
  readonly rule: string;

  constructor(field: string, rule: string, options: { cause?: unknown } = {}) {
    super('invalid_argument', `${field}: ${rule}`, options);
    this.name = 'InvalidArgumentError';
    this.field = field;
    this.rule = rule;
  }
}

/** The HTTP API refused a request. */
export class FanfareHttpError extends FanfareError {
  /** The HTTP status; of one item of a batch, the batch's. */
  readonly status: number;
  /** Why an event is not valid, in the protocol's words: `too_deep`, `missing_type`. */
  readonly reason: string | undefined;
  /** How long the node asks to wait before another try. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: FanfareErrorCode,
    message: string,
    status: number,
    details: { reason?: string | undefined; retryAfterMs?: number | undefined; retryable?: boolean } = {},
  ) {
    super(code, message, { retryable: details.retryable ?? false });
    this.name = 'FanfareHttpError';
    this.status = status;
    this.reason = details.reason;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** The words of anything that was thrown. */
export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}
