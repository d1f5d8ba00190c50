/** How time goes by in a world. Needs fake timers. */

import { vi } from 'vitest';

/** When each world begins, Unix ms. */
export const NOW = 1_767_225_600_000;

const later = setImmediate;

/** All that is under way in microtasks. */
export async function arrive(): Promise<void> {
  for (let n = 0; n < 3; n++) {
    await new Promise((resolve) => later(resolve));
  }
}

/** Time goes by: as `vi.advanceTimersByTimeAsync`, which takes a real millisecond for each timer. */
export async function pass(ms: number): Promise<void> {
  let isOver = false;
  setTimeout(() => {
    isOver = true;
  }, ms);
  await arrive();
  while (!isOver) {
    vi.advanceTimersToNextTimer();
    await arrive();
  }
}
