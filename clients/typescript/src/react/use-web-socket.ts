/** The connection as a component sees it, in the words of the hooks that people write by hand. */

import { useCallback, useEffect, useMemo, useState } from 'react';
import type { ChannelName, ChannelState, Client, ConnectionState, FanfareError, MessageOf } from '../index.ts';
import { type Listener, type ListenOptions, type TypeFor, useListening } from './listening.ts';
import { useClient } from './provider.tsx';
import { ignore, useLatest } from './use-latest.ts';
import { IDLE, useStore } from './use-store.ts';

/** Callbacks are always those of the last render, and never a reason to subscribe again. */
export interface WebSocketOptions<N extends ChannelName = ChannelName> extends ListenOptions<N> {
  /** Each event: of the channel, or whatever arrives. */
  onMessage?: ((message: MessageOf<TypeFor<N>>) => void) | undefined;
  /** The connection came about, or is back. Not called for one that was there before the component: see `isConnected`. */
  onConnect?: (() => void) | undefined;
  /** The connection was lost, or closed. At once: for a toast use `useReconnectToast`. */
  onDisconnect?: ((state: ConnectionState) => void) | undefined;
  /** What goes wrong: with the connection, with a listener, and with this channel, or any where none is named. */
  onError?: ((error: FanfareError) => void) | undefined;
  /** @deprecated Not needed: the token says who it is. */
  userId?: unknown;
  /** @deprecated Not needed: the token says which tenant it is. */
  companyId?: unknown;
}

export interface WebSocketHandle {
  /** All of this is live: the connection, and the channel if one was named. */
  isConnected: boolean;
  state: ConnectionState;
  /** Why it isn't live: the connection was lost or refused, or the channel was. */
  error: FanfareError | undefined;
  /** Opens a new connection now: after a failure, or by a button. */
  reconnect: Client['reconnect'];
  /** Closes the connection of the whole app, until `client.connect()` or `reconnect`. */
  disconnect: Client['disconnect'];
  /** As `client.on`, for effects: is told events of all topics, by type, until the function that it returns is called. */
  subscribe: Client['on'];
  /** Keeps a channel subscribed until `unsubscribeFromChannel` was called as often, or the component unmounts. */
  subscribeToChannel: (name: ChannelName) => void;
  unsubscribeFromChannel: (name: ChannelName) => void;
}

/**
 * The app's one connection: how it is, and what arrives. Renders when the state changes. Functions in the handle are the
 * same at each render. How to reconnect is an option of `createClient`.
 */
export function useWebSocket<N extends ChannelName = never>(options: WebSocketOptions<N> = {}): WebSocketHandle {
  const { channel, enabled = true, onMessage } = options;
  const client = useClient();
  const state = useStore<ConnectionState>(client.state, IDLE);
  const own = channel !== undefined && channel !== null ? client.channel(channel) : undefined;
  const channelState = useStore<ChannelState>(own?.state, IDLE);

  useListening('*', useLatest(onMessage ?? ignore) as Listener, options);
  useTransitions(client, options);
  useErrors(client, options, own?.topic);
  const channels = useChannels(client);
  const actions = useMemo(
    (): Pick<WebSocketHandle, 'reconnect' | 'disconnect' | 'subscribe'> => ({
      reconnect: () => client.reconnect(),
      disconnect: () => client.disconnect(),
      subscribe: (type: string | readonly string[], listener: Listener) => client.on(type, listener),
    }),
    [client],
  );

  const live = state.status === 'connected' && (channel === undefined || channelState.status === 'subscribed');
  const error = 'error' in state ? state.error : 'error' in channelState ? channelState.error : undefined;
  return { isConnected: enabled && live, state, error, ...actions, ...channels };
}

/** Calls `onConnect` and `onDisconnect` when the connection comes and goes. */
function useTransitions(client: Client, { enabled = true, onConnect, onDisconnect }: WebSocketOptions): void {
  const connected = useLatest(onConnect ?? ignore);
  const disconnected = useLatest(onDisconnect ?? ignore);
  useEffect(() => {
    if (!enabled) {
      return;
    }
    let wasThere = client.state.get().status === 'connected';
    return client.state.subscribe((state) => {
      const there = state.status === 'connected';
      if (there !== wasThere) {
        wasThere = there;
        if (there) {
          connected();
        } else {
          disconnected(state);
        }
      }
    });
  }, [client, enabled, connected, disconnected]);
}

/** Calls `onError`, but not for what is about other topics than this one. */
function useErrors(client: Client, { enabled = true, onError }: WebSocketOptions, topic: string | undefined): void {
  const failed = useLatest(onError ?? ignore);
  const wanted = enabled && onError !== undefined;
  useEffect(() => {
    if (!wanted) {
      return;
    }
    return client.onError((error) => {
      if (topic === undefined || error.topic === undefined || error.topic === topic) {
        failed(error);
      }
    });
  }, [client, wanted, topic, failed]);
}

/** Channels that this component asked for by name, each as often as it did. */
function useChannels(client: Client): Pick<WebSocketHandle, 'subscribeToChannel' | 'unsubscribeFromChannel'> {
  const [names, setNames] = useState<readonly ChannelName[]>([]);
  useEffect(() => {
    const offs = names.map((name) => client.channel(name).subscribe());
    return () => {
      for (const off of offs) {
        off();
      }
    };
  }, [client, names]);
  return {
    subscribeToChannel: useCallback((name) => setNames((names) => [...names, name]), []),
    unsubscribeFromChannel: useCallback(
      (name) => setNames((names) => names.filter((_, index) => index !== names.indexOf(name))),
      [],
    ),
  };
}
