/** The client's stores, as React renders them. */

import { useCallback, useSyncExternalStore } from 'react';
import type { Store } from '../index.ts';
import { ignore } from './use-latest.ts';

/** What the connection and channels are on a server, and for the first render of a page that came from one. */
export const IDLE = { status: 'idle' } as const;

/** The store's value. `idle` where there is no store, on a server, and while a page is hydrated. */
export function useStore<T>(store: Store<T> | undefined, idle: T): T {
  const subscribe = useCallback((changed: () => void) => store?.subscribe(changed) ?? ignore, [store]);
  return useSyncExternalStore(
    subscribe,
    () => (store ? store.get() : idle),
    () => idle,
  );
}
