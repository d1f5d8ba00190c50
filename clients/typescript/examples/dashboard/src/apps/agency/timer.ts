/** What a timer shows. */

import type { Timer } from './contract.ts';

/** Time on the clock at `now` (Unix ms), in ms. */
export function elapsed({ running, elapsedMs, updatedAt }: Timer, now: number): number {
  return elapsedMs + (running ? Math.max(0, now - updatedAt) : 0);
}

/** The timer as it will be when it is switched now. */
export function switched(timer: Timer, running: boolean): Timer {
  const now = Date.now();
  return { ...timer, running, elapsedMs: elapsed(timer, now), updatedAt: now };
}
