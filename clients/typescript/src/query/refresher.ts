/** Fetches queries anew: soon, not too often, and never forgets one. */

import { isFetching, type QueryClientLike, type QueryLike, refetch } from './query-core.ts';

export interface Refresher {
  /** When each query was fetched anew, Unix ms, by the hash of its key. */
  times(): Record<string, number>;
  /**
   * Something has happened that its data doesn't show. While it is being fetched, the answer may be older than that, so it is
   * fetched once more when that is over. While nobody looks at it, it is only marked stale.
   */
  refresh(query: QueryLike, delayMs: number, everyMs?: number): void;
  /** Goes on with what could not be fetched when it was due. */
  goOn(): void;
  /** A fetch begins: it sees all that has happened so far. */
  began(query: QueryLike): void;
  /** The query has left the cache. */
  forget(query: QueryLike): void;
  stop(): void;
}

/** Makes one. It knows a query as long as that is in the cache. */
export function makeRefresher(queryClient: QueryClientLike, pagesMax: number, defaultMs: number): Refresher {
  /** Queries that don't show all that has happened, with how often they may be fetched, in ms. */
  const owed = new Map<QueryLike, number>();
  const lastTimes = new Map<QueryLike, number>();
  const waiting = new Map<QueryLike, { readonly due: number; readonly timer: ReturnType<typeof setTimeout> }>();

  const run = (query: QueryLike) => {
    if (owed.has(query) && query.isActive() && !isFetching(query)) {
      owed.delete(query);
      lastTimes.set(query, Date.now());
      refetch(queryClient, query, pagesMax);
    }
  };
  const stopWaiting = (query: QueryLike) => {
    clearTimeout(waiting.get(query)?.timer);
    waiting.delete(query);
  };
  const schedule = (query: QueryLike, everyMs: number, delayMs: number) => {
    const now = Date.now();
    // A clock that was put back is no reason to wait longer.
    const due = now + Math.max(delayMs, Math.min(everyMs, (lastTimes.get(query) ?? 0) + everyMs - now));
    const earlier = waiting.get(query);
    if (earlier && earlier.due <= due) {
      return;
    }
    stopWaiting(query);
    if (due > now) {
      const ring = () => {
        waiting.delete(query);
        run(query);
      };
      waiting.set(query, { due, timer: setTimeout(ring, due - now) });
    } else {
      run(query);
    }
  };

  return {
    times: () => Object.fromEntries([...lastTimes].map(([{ queryHash }, at]) => [queryHash, at])),
    refresh(query, delayMs, everyMs = defaultMs) {
      owed.set(query, everyMs);
      query.invalidate();
      schedule(query, everyMs, delayMs);
    },
    goOn() {
      for (const [query, everyMs] of owed) {
        if (!waiting.has(query)) {
          schedule(query, everyMs, 0);
        }
      }
    },
    began: (query) => owed.delete(query),
    forget(query) {
      stopWaiting(query);
      owed.delete(query);
      lastTimes.delete(query);
    },
    stop() {
      owed.clear();
      for (const query of waiting.keys()) {
        stopWaiting(query);
      }
    },
  };
}
