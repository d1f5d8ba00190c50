/** Waits for a condition, never for a time. */

const DEADLINE_MS = 20_000;

/** Resolves to the first value that is neither undefined nor false; fails when none comes. */
export async function until<T>(what: string, look: () => T | Promise<T>): Promise<Exclude<T, undefined | false>> {
  const deadline = Date.now() + DEADLINE_MS;
  while (Date.now() < deadline) {
    const value = await look();
    if (value !== undefined && value !== false) {
      return value as Exclude<T, undefined | false>;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`waited for ${DEADLINE_MS} ms in vain: ${what}`);
}
