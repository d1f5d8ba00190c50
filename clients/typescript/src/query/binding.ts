/** Keeps the queries of a query client up to date by the events that come. */

import type { Client, Message, Off, RegisteredContract } from '../index.ts';
import { beneath, clients } from './bound.ts';
import { cover } from './coverage.ts';
import { keepStaleTimes, replaceRefetchOnReconnect, type TimeToLive } from './defaults.ts';
import { liveOf } from './live-query.ts';
import {
  type CacheEvent,
  isFetching,
  isRemoval,
  isUnder,
  type QueryClientLike,
  type QueryLike,
  segmentsOf,
} from './query-core.ts';
import { makeRefresher } from './refresher.ts';
import { type Concern, follow, type Rule, type Rules } from './rules.ts';

/** How queries are kept up to date. */
export interface BindOptions<C = RegisteredContract, Q = unknown> {
  /** What each type of event concerns. */
  rules?: Rules<C, Q>;
  /** How often events let one query be fetched anew, at most, in ms. The last one is never left out. Default 1,000. */
  everyMs?: number;
  /** After a gap the queries are fetched at random times within so many ms, so that not all browsers ask at once. Default 5,000. */
  spreadMs?: number;
  /** Events that this client has published itself concern nothing. Default false. */
  skipSelf?: boolean;
  /** How long data counts as fresh, by kind. */
  ttl?: readonly TimeToLive[];
  /** Fetches anew what may have been missed. Otherwise it is only marked stale. Default true. */
  refetchAfterGap?: boolean;
  /** An infinite query that has more pages than this is only marked stale, since each page would be a request. Default 1. */
  infinitePages?: number;
}

/** Undoes the binding when it is called. */
export type Binding = Off & {
  /** How many queries the rules concern are in the cache. */
  readonly cacheSize: number;
  /** When the binding fetched a query last, Unix ms, by the hash of its key. Only of queries in the cache. */
  readonly lastRefresh: Readonly<Record<string, number>>;
};

/** Within so many ms queries are fetched after a reconnect, and for events that it brought, at most. */
const RECONNECT_SPREAD_MS = 1_000;

/**
 * Fetches queries anew when events say that they have changed: those that something observes at once, the others when they are looked
 * at again. A query that was fetched before its events could come is fetched once more when they can.
 */
export function bindQueryClient<Q extends QueryClientLike, C = RegisteredContract>(
  client: Client<C>,
  queryClient: Q,
  options: BindOptions<C, Q>,
): Binding {
  // The contract exists for the compiler alone: inside, a type is a string and data is anything.
  return bind(client as unknown as Client, queryClient, options as unknown as BindOptions);
}

function bind(client: Client, queryClient: QueryClientLike, options: BindOptions): Binding {
  const { everyMs = 1_000, spreadMs = 5_000, skipSelf, ttl = [], refetchAfterGap = true, infinitePages = 1 } = options;
  const written = Object.entries(options.rules ?? {}) as [string, Rule<string>][];
  const rules = new Map(written.map(([type, rule]) => [type, follow(rule)]));
  const cache = queryClient.getQueryCache();
  const refresher = makeRefresher(queryClient, infinitePages, everyMs);
  const updateStaleTimes = keepStaleTimes(queryClient, ttl);
  let isListening = false;
  let isReconciling = false;
  let isOff = false;

  const concernsOf = (query: QueryLike): Concern[] =>
    [...rules.values(), liveOf(query)].map((one) => one?.concernOf(query)).filter((concern) => !!concern);
  const randomWithin = (ms: number) => Math.random() * Math.min(ms, spreadMs);

  /** Something may have been missed on such channels. */
  const catchUp = (areSuch: (channels: readonly string[] | undefined) => boolean, withinMs: number) => {
    for (const query of cache.getAll()) {
      const concern = concernsOf(query).find(({ channels, isMissed }) => isMissed && areSuch(channels));
      if (concern && refetchAfterGap) {
        refresher.refresh(query, randomWithin(withinMs), concern.everyMs);
      } else if (concern) {
        query.invalidate();
      }
    }
  };

  /** Puts data below what is shown instead of it for now. */
  const change = (put: () => void) => (beneath.get(queryClient) ?? ((run) => run()))(put);

  /** An event that may bring the data of live queries. */
  const push = (message: Message) => {
    for (const query of cache.getAll()) {
      const patch = liveOf(query)?.patches.get(message.type);
      if (patch) {
        change(() => {
          const data = patch(message, query.state.data);
          if (data !== undefined) {
            queryClient.setQueryData(segmentsOf(query.queryKey), data);
          }
        });
      }
    }
  };

  /** An event for which there is a rule. */
  const obey = (message: Message) => {
    const rule = rules.get(message.type);
    if (!rule) {
      return;
    }
    const keys = rule.keysOf(message);
    let concerned = cache.getAll().filter(({ queryKey }) => isUnder(queryKey, keys));
    if (rule.patch) {
      // What is on its way may be older than the event.
      const fetching = concerned.filter(isFetching);
      change(() => {
        concerned = rule.patch?.(queryClient, message) === false ? concerned : fetching;
      });
    }
    const delayMs = message.recovered ? randomWithin(RECONNECT_SPREAD_MS) : 0;
    for (const query of concerned) {
      refresher.refresh(query, delayMs, rule.everyMs);
    }
  };

  const reconcile = () => {
    isReconciling = false;
    if (isOff) {
      return;
    }
    const { status } = client.state.get();
    // Not before there is something to hear: the client would warn of listeners that hear nothing.
    if (!isListening && status !== 'idle') {
      isListening = true;
      offs.push(
        ...[push, obey].map((hear) => client.on('*', (message) => (skipSelf && message.own) || hear(message))),
        client.onGap(({ channel, reason }) =>
          catchUp(
            (channels) => channels?.includes(channel as string) ?? true,
            reason === 'reconnect' ? RECONNECT_SPREAD_MS : spreadMs,
          ),
        ),
      );
    }
    const concerns = cache.getAll().flatMap((query) => (query.getObserversCount() ? concernsOf(query) : []));
    coverage.want(new Set(concerns.flatMap(({ channels }) => channels ?? [])));
    updateStaleTimes((query) => status === 'connected' && isCovered(query));
    refresher.goOn();
  };
  /** Once for all that is mounted or changes together. */
  const reconcileSoon = () => {
    if (!isReconciling) {
      isReconciling = true;
      queueMicrotask(reconcile);
    }
  };

  const coverage = cover(
    client,
    (began, covers) =>
      catchUp((channels = [undefined as never]) => channels.some((one) => began.has(one)) && covers(channels), 0),
    reconcileSoon,
  );
  /** Whether what a query shows stays right until an event or a gap says otherwise. */
  const isCovered = (query: QueryLike) => {
    const concerns = concernsOf(query);
    return concerns.length > 0 && concerns.every(({ channels }) => coverage.covers(channels));
  };

  const offs: Off[] = [
    coverage.stop,
    refresher.stop,
    replaceRefetchOnReconnect(queryClient, (query) => {
      const isCared = isCovered(query);
      if (isCared) {
        // Unless the connection doesn't come back as the browser's network did.
        setTimeout(() => {
          if (client.state.get().status !== 'connected') {
            refresher.refresh(query, 0);
          }
        }, spreadMs);
      }
      return isCared;
    }),
    cache.subscribe((event) => {
      const { query, action } = event as CacheEvent;
      if (isRemoval(event as CacheEvent)) {
        refresher.forget(query);
      }
      // One more page of an infinite query says nothing of the others.
      if (action?.type === 'fetch' && !(action.meta as { fetchMore?: unknown } | undefined)?.fetchMore) {
        refresher.began(query);
      }
      reconcileSoon();
    }),
  ];
  clients.set(queryClient, client);

  const off = () => {
    if (!isOff) {
      isOff = true;
      for (const one of offs) {
        one();
      }
      updateStaleTimes();
      clients.delete(queryClient);
    }
  };
  return Object.defineProperties(off, {
    cacheSize: { get: () => cache.getAll().filter((query) => concernsOf(query).length).length },
    lastRefresh: { get: refresher.times },
  }) as Binding;
}
