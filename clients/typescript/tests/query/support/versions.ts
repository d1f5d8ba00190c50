/** The versions of TanStack Query's core, behind what they have in common. */

import type { QueryClientLike, QueryKey } from '@fanfare/client/query';
import * as v5 from '@tanstack/query-core';
import * as v4 from 'query-core4';
import * as v3 from 'react-query3/core';

/** What tests need of a query client of any version. */
export interface AnyQueryClient extends QueryClientLike {
  mount(): void;
  unmount(): void;
  clear(): void;
  getQueryData(queryKey: QueryKey): unknown;
  getQueryState(queryKey: QueryKey): { isInvalidated: boolean; dataUpdatedAt: number } | undefined;
  removeQueries(filters: { queryKey: QueryKey }): void;
}

/** Somebody who looks at a query, as a mounted component does. */
export interface Look {
  readonly data: unknown;
  readonly isStale: boolean;
  readonly staleTime: unknown;
  /** All that was shown, one after the other. */
  readonly shown: unknown[];
  fetchNextPage(): Promise<unknown>;
  set(options: object): void;
  off(): void;
}

export interface Version {
  readonly name: string;
  makeQueryClient(defaults?: object): AnyQueryClient;
  look(queryClient: AnyQueryClient, options: { queryKey: QueryKey; [option: string]: unknown }): Look;
  lookAtPages(queryClient: AnyQueryClient, options: { queryKey: QueryKey; [option: string]: unknown }): Look;
  /** The browser goes offline, and comes back. */
  setOnline(isOnline: boolean): void;
}

// biome-ignore lint/suspicious/noExplicitAny: what differs between the versions is hidden here
type Any = any;

function version(name: string, core: Any): Version {
  const watch = (observer: Any): Look => {
    const shown: unknown[] = [];
    const off = observer.subscribe(({ data }: Any) => {
      if (data !== undefined && data !== shown.at(-1)) {
        shown.push(data);
      }
    });
    return {
      shown,
      off,
      get data() {
        return observer.getCurrentResult().data;
      },
      get isStale() {
        return observer.getCurrentResult().isStale;
      },
      get staleTime() {
        return observer.options.staleTime;
      },
      fetchNextPage: () => observer.fetchNextPage(),
      set: (options) => observer.setOptions(options),
    };
  };
  return {
    name,
    setOnline: (isOnline) => core.onlineManager.setOnline(isOnline),
    makeQueryClient: (defaults = {}) =>
      new core.QueryClient({ defaultOptions: { queries: { retry: false, ...defaults } } }),
    look: (queryClient, options) => watch(new core.QueryObserver(queryClient, options)),
    lookAtPages: (queryClient, options) => watch(new core.InfiniteQueryObserver(queryClient, options)),
  };
}

export const versions: readonly Version[] = [
  version('TanStack Query 5', v5),
  version('TanStack Query 4', v4),
  version('React Query 3', v3),
];
