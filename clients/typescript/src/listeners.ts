/** Those who want to be told. */

import type { Off } from './store.ts';

/**
 * Calls each of them, but those that another one has taken off meanwhile; what one throws is told, and doesn't keep the others
 * from being called.
 */
export function callAll<T>(
  listeners: ReadonlySet<(value: T) => void> | undefined,
  value: T,
  failed: (thrown: unknown) => void,
): void {
  for (const listener of [...(listeners ?? [])]) {
    try {
      if (listeners?.has(listener)) {
        listener(value);
      }
    } catch (thrown) {
      failed(thrown);
    }
  }
}

export type Listeners<T> = ReturnType<typeof createListeners<T>>;

/** Listeners by the type of what they hear, `*` for all of it. The same function may be added twice, and is then called twice. */
export function createListeners<T>(failed: (thrown: unknown) => void) {
  const byType: Record<string, Set<(value: T) => void>> = Object.create(null);
  return {
    add(listener: (value: T) => void, types: string | readonly string[] = '*'): Off {
      const own = (value: T) => listener(value);
      const all = [types].flat();
      for (const type of all) {
        byType[type] ??= new Set();
        byType[type].add(own);
      }
      return () => {
        for (const type of all) {
          byType[type]?.delete(own);
        }
      };
    },
    tell(value: T, type?: string): void {
      if (type !== undefined) {
        callAll(byType[type], value, failed);
      }
      callAll(byType['*'], value, failed);
    },
  };
}
