/** Defaults of the query client that depend on whether queries are live. Off puts back what was there. */

import type { Off } from '../index.ts';
import { isUnder, type QueryClientLike, type QueryInside, type QueryKey, type QueryLike } from './query-core.ts';

/** How long what was fetched counts as fresh, by kind of data. A query's own `staleTime` has precedence. */
export interface TimeToLive {
  /** Of all queries whose keys begin like this. */
  queryKey: QueryKey;
  /** While events may be missed, in ms. */
  staleTime: number;
  /** While none is: until one comes, unless this says otherwise. In ms. */
  whileLive?: number;
}

interface Defaults {
  readonly refetchOnReconnect?: unknown;
  readonly staleTime?: unknown;
}

function queriesOf(queryClient: QueryClientLike): Defaults {
  return queryClient.getDefaultOptions().queries ?? {};
}

/**
 * To fetch when the browser is online again is the library's default. A query that is covered doesn't need that: what it has missed
 * is told.
 */
export function replaceRefetchOnReconnect(queryClient: QueryClientLike, isCovered: (query: QueryLike) => boolean): Off {
  const original = queriesOf(queryClient).refetchOnReconnect;
  const replacement = (query: QueryLike): unknown =>
    !isCovered(query) &&
    (typeof original === 'function'
      ? original(query)
      : (original ?? (query as unknown as QueryInside).options.networkMode !== 'always'));
  const put = (refetchOnReconnect: unknown) =>
    queryClient.setDefaultOptions({
      ...queryClient.getDefaultOptions(),
      queries: { ...queriesOf(queryClient), refetchOnReconnect },
    });
  put(replacement);
  return () => {
    if (queriesOf(queryClient).refetchOnReconnect === replacement) {
      put(original);
    }
  };
}

/**
 * Keeps `staleTime` right, as a query default (`setQueryDefaults`). Versions 3 and 4 want a number, so that is what all versions
 * get, and again when it changes. Called with what tells whether a query is live; without it, puts back what was there.
 */
export function keepStaleTimes(
  queryClient: QueryClientLike,
  ttl: readonly TimeToLive[],
): (isLive?: (query: QueryLike) => boolean) => void {
  const updates = ttl.map(({ queryKey, staleTime, whileLive = Infinity }) => {
    const original: Defaults = queryClient.getQueryDefaults(queryKey) ?? {};
    const effective = (defaults: Defaults) => ({ ...queriesOf(queryClient), ...defaults }).staleTime;
    let current = effective(original);
    return (isLive?: (query: QueryLike) => boolean) => {
      const queries = queryClient
        .getQueryCache()
        .getAll()
        .filter((query) => query.getObserversCount() > 0 && isUnder(query.queryKey, [queryKey]));
      // Live is a kind of data when something observes it, and all that is observed is.
      const given = isLive && { staleTime: queries.length > 0 && queries.every(isLive) ? whileLive : staleTime };
      const defaults: Defaults = { ...original, ...given };
      const wanted = effective(defaults);
      if (wanted !== current) {
        queryClient.setQueryDefaults(queryKey, defaults);
        for (const query of queries) {
          for (const observer of (query as unknown as QueryInside).observers) {
            if (observer.options.staleTime === current) {
              observer.setOptions({ ...observer.options, staleTime: wanted });
            }
          }
        }
        current = wanted;
      }
    };
  });
  return (isLive) => {
    for (const update of updates) {
      update(isLive);
    }
  };
}
