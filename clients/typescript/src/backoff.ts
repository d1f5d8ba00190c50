/** How long to wait before the next try, so that thousands of clients don't come back at the same moment. */

import type { ReconnectOptions } from './options.ts';

/** Full jitter: anything up to a limit that doubles with each try (0 is the first). In ms. */
export function backoff(
  attempt: number,
  { minDelayMs = 500, maxDelayMs = 30_000, intervalMs }: ReconnectOptions,
): number {
  if (intervalMs !== undefined) {
    return intervalMs * (0.8 + 0.4 * Math.random());
  }
  return Math.random() * Math.min(maxDelayMs, minDelayMs * 2 ** attempt);
}
