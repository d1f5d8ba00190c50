/** Not too often, and never one too few. */

/** Runs now, or when `everyMs` have passed since the last run. Who calls until then gets that run. */
export function throttle<T>(run: () => Promise<T>, everyMs: number): () => Promise<T> {
  let last = 0;
  let next: Promise<T> | undefined;
  const wait = async () => {
    // A clock that was put back is no reason to wait longer.
    const waitMs = Math.min(everyMs, last + everyMs - Date.now());
    await (waitMs > 0 && new Promise((resolve) => setTimeout(resolve, waitMs)));
    last = Date.now();
    next = undefined;
    return run();
  };
  return () => {
    next ??= wait();
    return next;
  };
}
