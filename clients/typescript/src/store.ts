/** A value that changes, for whatever renders it. */

/** Ends what was begun. Calling it again does nothing. */
export type Off = () => void;

/** What does it the first time only. */
export function once(end: Off): Off {
  let isDone = false;
  return () => {
    if (!isDone) {
      isDone = true;
      end();
    }
  };
}

/**
 * `subscribe` calls back at once and after each change, as Svelte's store contract asks
 * (https://svelte.dev/docs/svelte/stores#Store-contract). `get` gives the same object until the value changes, as React's
 * `useSyncExternalStore` asks.
 */
export interface Store<T> {
  get(): T;
  subscribe(run: (value: T) => void): Off;
}
