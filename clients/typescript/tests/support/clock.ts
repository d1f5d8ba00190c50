/** Time that stands still until a test moves it. */

import { afterEach, beforeEach, vi } from 'vitest';

/** Each test of the file begins at the same moment, and leaves nothing that it has put in the place of something else. */
export function stopTime(): void {
  beforeEach(() => {
    vi.useFakeTimers({ now: 1_767_225_600_000 });
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });
}
