/** Telling people that the connection was lost, and that it is back. */

import { useEffect } from 'react';
import type { ConnectionState } from '../index.ts';
import { useClient } from './provider.tsx';
import { ignore, useLatest } from './use-latest.ts';

export interface ReconnectToastOptions {
  /** A connection that was there has been gone for `graceMs`. */
  onLost?: ((state: ConnectionState) => void) | undefined;
  /** After `onLost`: it is back, and live. `resumed`: nothing was missed. `downMs`: how long it was away. */
  onRestored?: ((restored: { resumed: boolean; downMs: number }) => void) | undefined;
  /** A shorter loss isn't told at all. Default 1,000. */
  graceMs?: number | undefined;
}

/** For a toast when the connection is lost and when it is back. A `disconnect()` is no loss. Never renders the component again. */
export function useReconnectToast({ onLost, onRestored, graceMs = 1000 }: ReconnectToastOptions): void {
  const client = useClient();
  const lost = useLatest(onLost ?? ignore);
  const restored = useLatest(onRestored ?? ignore);
  const grace = useLatest(() => graceMs);
  useEffect(() => {
    let wasThere = false;
    let lostAt: number | undefined;
    let told = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const off = client.state.subscribe((state) => {
      const there = state.status === 'connected';
      // By a logout, or as nobody is logged in any more. What was told as lost is told as restored even so.
      const isOver = state.status === 'closed' || (state.status === 'idle' && !told);
      if (there || isOver) {
        clearTimeout(timer);
        if (there && told && lostAt !== undefined) {
          restored({ resumed: state.resumed, downMs: Date.now() - lostAt });
        }
        wasThere = there;
        lostAt = undefined;
        told = false;
      } else if (wasThere && lostAt === undefined) {
        lostAt = Date.now();
        timer = setTimeout(() => {
          told = true;
          lost(client.state.get());
        }, grace());
      }
    });
    return () => {
      off();
      clearTimeout(timer);
    };
  }, [client, lost, restored, grace]);
}
