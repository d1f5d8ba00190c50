/** How the connection does, in figures. */

import type { Health } from '../index.ts';
import { useClient } from './provider.tsx';
import { useStore } from './use-store.ts';

const NOTHING_YET: Health = {
  latencyMs: undefined,
  lastMessageAt: undefined,
  received: 0,
  sent: 0,
  subscriptions: 0,
  reconnects: 0,
  gaps: 0,
};

/** Figures for a health panel. Renders once a second at most. */
export function useConnectionHealth(): Health {
  return useStore(useClient().health, NOTHING_YET);
}
