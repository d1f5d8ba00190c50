/** Queries that a backend answers over the socket, and into which it pushes. */

import type {
  ChannelName,
  Client,
  EventType,
  FanfareError,
  Message,
  MessageOf,
  MethodInput,
  MethodName,
  MethodOutput,
  RegisteredContract,
} from '../index.ts';
import { ask } from './ask.ts';
import { clients } from './bound.ts';
import type { QueryInside, QueryKey, QueryLike } from './query-core.ts';
import type { Concern } from './rules.ts';

/** How a query is asked for and kept up to date. */
export interface LiveQuery<M extends MethodName<C>, K extends QueryKey = QueryKey, C = RegisteredContract> {
  queryKey: K;
  method: M;
  input?: MethodInput<M, C>;
  /** Fetches the same over HTTP: while there is no connection, and when the request fails in a way that another try may not. */
  fallback?: (context: { signal?: AbortSignal | undefined }) => Promise<MethodOutput<M, C>>;
  /**
   * Events that bring the data, or a part of it: the type of one whose data is what the method answers; or for each type what
   * becomes of the data, `undefined` when the event is about something else. Needs a query client that is bound.
   */
  patchOn?: EventType<C> | Patches<MethodOutput<M, C>, C>;
  /** Channels on which these come: subscribed while something observes the query. */
  channels?: readonly ChannelName<C>[];
  /** Asks at most so often, in ms: what comes sooner waits. Default 0. */
  throttleMs?: number;
  /** As in `client.request`. */
  timeoutMs?: number;
  /** Which client to ask. Default, on version 5: the one to which the query client is bound. */
  client?: Client<C>;
}

/** What becomes of a query's data, by the type of the event. */
export type Patches<Data, C = RegisteredContract> = {
  // A method's type is compared both ways: without a contract a patch for one type is a patch for any.
  readonly [T in EventType<C>]?: {
    method(message: MessageOf<T, C>, data: Data | undefined): Data | undefined;
  }['method'];
};

/** Options of `useQuery`, `useQueries` and their like. */
export interface LiveQueryOptions<Data, K extends QueryKey = QueryKey> {
  queryKey: K;
  queryFn: (context: { client?: object; signal?: AbortSignal | undefined }) => Promise<Data>;
}

/** What the binding has to know of such a query. */
export interface Live {
  /** Something keeps it up to date if anything is pushed into it. */
  concernOf(): Concern | undefined;
  readonly patches: ReadonlyMap<string, (message: Message, data: unknown) => unknown>;
}

const LIVE = new WeakMap<object, Live>();
/** So many events that come while a query is being asked for are put on the answer. */
const EVENTS_MAX = 256;

/** Options for a query that is asked for over the socket, by whoever needs it, once at a time. */
export function liveQueryOptions<M extends MethodName<C>, const K extends QueryKey = QueryKey, C = RegisteredContract>(
  options: LiveQuery<M, K, C>,
): LiveQueryOptions<MethodOutput<M, C>, K> {
  const { queryKey, fallback, patchOn, channels } = options;
  const given = typeof patchOn === 'string' ? { [patchOn]: ({ data }: Message) => data } : patchOn;
  const patches: Live['patches'] = new Map(Object.entries(given ?? {}));

  const queryFn = async (context: { client?: object; signal?: AbortSignal | undefined }) => {
    const client = (options.client as Client | undefined) ?? clients.get(context.client as object);
    if (!client) {
      throw new Error('fanfare: no client: bind the query client, or give one');
    }
    const instead = (error?: FanfareError) => {
      if (fallback && (error?.retryable ?? true)) {
        return fallback(context);
      }
      throw error;
    };
    const isConnected = client.state.get().status === 'connected';
    const answered: Promise<unknown> = fallback && !isConnected ? instead() : ask(client, options).catch(instead);
    // The answer may be older than what is pushed while it is on its way.
    const pushed: Message[] = [];
    const off = client.on([...patches.keys()], (message) => {
      pushed.splice(0, pushed.push(message) - EVENTS_MAX);
    });
    try {
      return pushed.reduce((data, message) => patches.get(message.type)?.(message, data) ?? data, await answered);
    } finally {
      off();
    }
  };
  LIVE.set(queryFn, { patches, concernOf: () => (patches.size ? { channels, isMissed: true } : undefined) });
  return { queryKey, queryFn: queryFn as LiveQueryOptions<MethodOutput<M, C>, K>['queryFn'] };
}

/** What is known of a query that was made with `liveQueryOptions`. */
export function liveOf(query: QueryLike): Live | undefined {
  const { observers, options } = query as unknown as QueryInside;
  for (const { queryFn } of [options, ...observers.map((observer) => observer.options)]) {
    const live = LIVE.get(queryFn as object);
    if (live) {
      return live;
    }
  }
  return undefined;
}
