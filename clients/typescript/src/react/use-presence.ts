/** Who is there. */

import type { ChannelName, Presence } from '../index.ts';
import { useClient } from './provider.tsx';
import { useStore } from './use-store.ts';

const NOBODY: Presence = { status: 'idle', users: [], count: 0, error: undefined };

/** Who is in a channel. Subscribes to it, and is there for others, while mounted. `null`: none, as long as its name isn't known. */
export function usePresence(name: ChannelName | null): Presence {
  const client = useClient();
  return useStore(name === null ? undefined : client.channel(name).presence, NOBODY);
}
