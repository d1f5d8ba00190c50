/** Listening to events for as long as a component is mounted. */

import { useEffect } from 'react';
import type { ChannelEventType, ChannelName, EventType, Message } from '../index.ts';
import { useClient } from './provider.tsx';

/** The types of events that can be heard on a channel; on all topics where no channel is named. */
export type TypeFor<N extends ChannelName> = [N] extends [never] ? EventType : ChannelEventType<N>;

export interface ListenOptions<N extends ChannelName = ChannelName> {
  /**
   * Only what is published there; the channel is subscribed while the component is mounted. `null`: not known yet, so that
   * nothing is heard. Left out: whatever arrives, from the tenant, the user, and the channels that are subscribed anyway.
   */
  channel?: N | null | undefined;
  /** `false`: hears nothing, and subscribes to nothing. Default true. */
  enabled?: boolean | undefined;
}

/** As it is called, whatever the contract says of the data. */
export type Listener = (message: Message) => void;

/** Calls `listener`, which has to stay the same function: another one listens anew. */
export function useListening(
  type: string | readonly string[],
  listener: Listener,
  { channel, enabled = true }: ListenOptions,
): void {
  const client = useClient();
  // By their text, since a list that is written in the call is another one at each render.
  const types = JSON.stringify(type);
  useEffect(() => {
    if (!enabled || channel === null) {
      return;
    }
    const source = channel === undefined ? client : client.channel(channel);
    return source.on(JSON.parse(types), listener);
  }, [client, channel, enabled, types, listener]);
}
