/** What a node says and allows unless its operator says otherwise (docs/protocol.md, docs/limits.md). Times are in ms. */

export const FINAL = [1000, 1002, 1003, 1007, 1009, 4400, 4401, 4403];
export const REASONS: Readonly<Record<number, string>> = {
  1000: 'normal',
  1002: 'protocol_error',
  1003: 'wrong_frame_kind',
  1007: 'invalid_utf8',
  1009: 'too_large',
  1011: 'internal',
  1012: 'draining',
  1013: 'overloaded',
  4400: 'bad_frame',
  4401: 'unauthenticated',
  4403: 'forbidden',
  4408: 'heartbeat_missed',
  4409: 'token_expired',
  4413: 'slow',
  4429: 'rate_limited',
};
/** What a backend may answer; any other becomes `internal`. */
export const CODES = [
  'bad_frame',
  'unauthenticated',
  'forbidden',
  'invalid_topic',
  'too_many_subscriptions',
  'rate_limited',
  'too_large',
  'timeout',
  'no_backend',
  'unavailable',
  'internal',
];
export const FEATURES = ['durable', 'history', 'presence', 'publish', 'requests'];
export const LIMITS = {
  message_bytes: 65_536,
  subscriptions: 10_000,
  frames_per_minute: 600,
  publishes_per_minute: 600,
  outbox_bytes: 1_048_576,
};

export const AUTH_WITHIN_MS = 5_000;
export const EXPIRY_GRACE_MS = 10_000;
export const REQUEST_MS = 10_000;
export const REQUEST_MS_MAX = 60_000;
export const PRESENT = 100;
export const PRESENT_MAX = 1_000;
export const UNANSWERED_PINGS_MAX = 2;
/** Timers take no more. */
export const TIMER_MS_MAX = 2 ** 31 - 1;
