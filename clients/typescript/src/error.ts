/** What can go wrong, as one kind of error. */

/**
 * The node's codes (`forbidden`, `rate_limited`, `timeout`, `no_backend`, …: docs/protocol.md has the list), and the client's own:
 * `token` (getToken failed), `offline` (there is no connection), `connection_lost` (it ended before the answer came), `aborted`,
 * `invalid_data` (an event doesn't match its schema), `listener` (a listener threw), `unexpected_frame`.
 */
export type ErrorCode =
  | 'bad_frame'
  | 'unauthenticated'
  | 'forbidden'
  | 'invalid_topic'
  | 'too_many_subscriptions'
  | 'rate_limited'
  | 'too_large'
  | 'timeout'
  | 'no_backend'
  | 'unavailable'
  | 'internal'
  | 'token'
  | 'offline'
  | 'connection_lost'
  | 'aborted'
  | 'invalid_data'
  | 'listener'
  | 'unexpected_frame'
  | (string & {});

/** Codes after which the same may succeed later. */
const RETRYABLE = /^(rate_limited|timeout|no_backend|unavailable|internal|token|offline|connection_lost)$/;

/** What a refused or failed call rejects with, and what `client.onError` is told. */
export class FanfareError extends Error {
  override readonly name = 'FanfareError';

  constructor(
    /** For programs. */
    readonly code: ErrorCode,
    /** For people: what happened, and where. */
    message: string,
    options: ErrorOptions & { topic?: string } = {},
  ) {
    super(message, options);
    this.topic = options.topic;
  }

  /** The topic that it is about. */
  readonly topic: string | undefined;

  /** Whether the same may succeed later. Whether twice does no harm, the caller has to know. */
  get retryable(): boolean {
    return RETRYABLE.test(this.code);
  }
}
