/** Polling for as long as nothing is live. */

import { useClient } from '../react/provider.tsx';
import { IDLE, useStore } from '../react/use-store.ts';

/** For `refetchInterval`: `false` while connected, and `pollMs` otherwise. */
export function useLiveInterval(pollMs: number): number | false {
  return useStore(useClient().state, IDLE).status === 'connected' ? false : pollMs;
}
