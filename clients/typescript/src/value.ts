/** The store that the client itself changes. */

import { callAll } from './listeners.ts';
import type { Off, Store } from './store.ts';

export interface Value<T> extends Store<T> {
  set(value: T): void;
}

/** `observed` is called when the first observer has come; what it returns, when the last one has gone. */
export function createValue<T>(value: T, failed: (thrown: unknown) => void, observed?: () => Off): Value<T> {
  let unobserve: Off | undefined;
  const observers = new Set<() => void>();
  return {
    get: () => value,
    subscribe(run) {
      // What is told is the latest, also when another observer has changed it meanwhile.
      const tell = () => run(value);
      if (observers.size === 0) {
        unobserve = observed?.();
      }
      observers.add(tell);
      callAll(new Set([tell]), undefined, failed);
      return () => {
        if (observers.delete(tell) && observers.size === 0) {
          unobserve?.();
        }
      };
    },
    set(next) {
      if (!Object.is(next, value)) {
        value = next;
        callAll(observers, undefined, failed);
      }
    },
  };
}
