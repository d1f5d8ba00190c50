import { vi } from 'vitest';

/** With fake timers: all that is under way arrives, and code that is loaded when it is needed is there, without any time going by. */
export async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
  await vi.dynamicImportSettled();
  await vi.advanceTimersByTimeAsync(0);
}
