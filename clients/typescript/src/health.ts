/** Figures about the connection. */

import type { ConnectionState, Health } from './states.ts';
import type { Store } from './store.ts';
import { createValue } from './value.ts';

const REFRESH_MS = 1_000;
/** Refreshes between two measurements of the round trip. */
const REFRESHES_PER_PROBE = 10;

/** `figures`: those that are counted. `subscriptions`: the one that isn't. */
export function createHealth(
  figures: Omit<Health, 'subscriptions'>,
  subscriptions: () => number,
  { state, probe }: { state: Store<ConnectionState>; probe(): void },
  failed: (thrown: unknown) => void,
): Store<Health> {
  let isObserved = false;
  const now = (): Health => ({ ...figures, subscriptions: subscriptions() });
  const value = createValue(now(), failed, () => {
    isObserved = true;
    refresh();
    const unwatch = state.subscribe(({ status }) => status === 'connected' && probe());
    let refreshes = 0;
    const timer = setInterval(() => {
      refresh();
      refreshes += 1;
      if (refreshes % REFRESHES_PER_PROBE === 0) {
        probe();
      }
    }, REFRESH_MS);
    return () => {
      isObserved = false;
      clearInterval(timer);
      unwatch();
    };
  });

  /** The same object as long as no figure has changed. */
  function refresh(): void {
    const [old, fresh] = [value.get(), now()];
    if (JSON.stringify(fresh) !== JSON.stringify(old)) {
      value.set(fresh);
    }
  }

  return {
    // Nobody keeps the figures fresh while nobody looks.
    get: () => {
      if (!isObserved) {
        refresh();
      }
      return value.get();
    },
    subscribe: value.subscribe,
  };
}
