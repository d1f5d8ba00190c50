/** The client, as apps see it. */

import type {
  ChannelEventType,
  ChannelName,
  EventData,
  EventType,
  MethodInput,
  MethodName,
  MethodOutput,
  RegisteredContract,
} from './contract.ts';
import type { FanfareError } from './error.ts';
import type { Gap, MessageOf } from './message.ts';
import type { ChannelState, ConnectionState, Health, Presence } from './states.ts';
import type { Off, Store } from './store.ts';

/** One connection for the whole app. Made by `createClient`, at module scope: that opens nothing. */
export interface Client<C = RegisteredContract> {
  readonly state: Store<ConnectionState>;
  readonly health: Store<Health>;

  /** Connects, and stays connected until `disconnect()`. After a failure: tries anew. */
  connect(): void;
  /** Closes the connection and forgets positions and tokens, as a logout does. Subscriptions are set up again by `connect()`. */
  disconnect(): void;
  /** Opens a new connection now, whatever the old one does. */
  reconnect(): void;
  /** Fetches a new token and hands it to the node, on the same connection. */
  refreshToken(): Promise<void>;
  /** Keeps a connection as long as somebody needs it. What hooks do. After `disconnect()` it waits for `connect()`. */
  retain(): Off;

  /** A channel by its name: the same object for the same name. Asking for it subscribes to nothing. */
  channel<N extends ChannelName<C>>(name: N): Channel<N, C>;

  /** Is told events of all topics, by type. Subscribes to nothing. */
  on<T extends EventType<C>>(type: T | readonly T[], listener: (message: MessageOf<T, C>) => void): Off;
  on(type: '*', listener: (message: MessageOf<EventType<C>, C>) => void): Off;
  /** Is told where events may be missing, of all topics. */
  onGap(listener: (gap: Gap) => void): Off;
  /** Is told what goes wrong outside of calls: refused subscriptions, failed tokens, lost connections, throwing listeners. */
  onError(listener: (error: FanfareError) => void): Off;

  /**
   * Asks a backend. Waits for a connection, and rejects with `offline` when none came in time, so that nothing was sent; with
   * `connection_lost` when it ended before the answer came, so that nobody knows.
   */
  request<M extends MethodName<C>>(
    method: M,
    ...args: undefined extends MethodInput<M, C>
      ? [input?: MethodInput<M, C>, options?: RequestOptions]
      : [input: MethodInput<M, C>, options?: RequestOptions]
  ): Promise<MethodOutput<M, C>>;
}

/** What is published to whoever subscribed. */
export interface Channel<N extends ChannelName<C>, C = RegisteredContract> {
  readonly name: N;
  /** `channel:<name>`. */
  readonly topic: string;
  readonly state: Store<ChannelState>;
  /** Who is there. Subscribes, with presence, while somebody looks. */
  readonly presence: Store<Presence>;

  /** Keeps the channel subscribed, and the connection open. Listeners on the client hear its events. */
  subscribe(): Off;
  /** Subscribes, and is told the channel's events. */
  on<T extends ChannelEventType<N, C>>(type: T | readonly T[], listener: (message: MessageOf<T, C>) => void): Off;
  on(type: '*', listener: (message: MessageOf<ChannelEventType<N, C>, C>) => void): Off;
  /** Subscribes, and is told where events of the channel may be missing. */
  onGap(listener: (gap: Gap) => void): Off;
  /** Resolves when Redis has it; rejects when there is no connection. */
  publish<T extends ChannelEventType<N, C>>(
    type: T,
    data: EventData<T, C>,
    options?: PublishOptions,
  ): Promise<{ position: string | undefined }>;
  /** The newest durable events, oldest first. */
  history(options?: HistoryOptions): Promise<{ messages: MessageOf<ChannelEventType<N, C>, C>[]; more: boolean }>;
}

export interface RequestOptions {
  /** From now on, waiting for a connection included. Default 10,000; the node waits 60,000 at most. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface PublishOptions {
  /** Kept for those who are away. */
  durable?: boolean;
  /** Conflation key: to a slow client a newer event of the same key replaces one that waits. */
  key?: string;
  /** Your id of the event. Default: a random one. */
  id?: string;
  /** `false`: this connection doesn't get it. Default true. Not over SSE. */
  echo?: boolean;
}

export interface HistoryOptions {
  /** 1 to 1,000. Default 100. */
  limit?: number;
  /** Only events before this position. */
  before?: string;
}
