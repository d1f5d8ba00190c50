/** A channel, subscribed while a component needs it. */

import type { ChannelEventType, ChannelName, ChannelState, MessageOf } from '../index.ts';
import { type Listener, useListening } from './listening.ts';
import { useClient } from './provider.tsx';
import { ignore, useLatest } from './use-latest.ts';
import { IDLE, useStore } from './use-store.ts';

/**
 * Keeps a channel subscribed while mounted, and calls back for each of its events. `null`: none, as long as its name isn't
 * known. Any number of components may use the same channel: it is subscribed once.
 */
export function useChannel<N extends ChannelName>(
  name: N | null,
  callback?: (message: MessageOf<ChannelEventType<N>>) => void,
): ChannelState {
  const client = useClient();
  useListening('*', useLatest(callback ?? ignore) as Listener, { channel: name });
  return useStore(name === null ? undefined : client.channel(name).state, IDLE);
}
