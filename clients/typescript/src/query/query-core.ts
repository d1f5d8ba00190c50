/**
 * What the binding needs of TanStack Query's core, in shapes that versions 3, 4 and 5 have in common, and what is the same on
 * all of them. Deliberately without an import of any of them.
 */

/** A query key. Version 3 has plain strings, too: `'orders'` is the same as `['orders']`. */
export type QueryKey = readonly unknown[];

/** A query in the cache. */
export interface QueryLike {
  readonly queryKey: unknown;
  readonly queryHash: string;
  readonly state: {
    readonly data?: unknown;
    /** Versions 4 and 5. */
    readonly fetchStatus?: string;
    /** Version 3. */
    readonly isFetching?: boolean;
  };
  getObserversCount(): number;
  isActive(): boolean;
  invalidate(): void;
  cancel(options: { silent: boolean }): Promise<void>;
  setState(state: object): void;
}

/** What the cache tells. Version 3 says `queryUpdated` where the others say `updated`. */
export interface CacheEvent {
  readonly type: string;
  readonly query: QueryLike;
  readonly action?: { readonly type: string; readonly meta?: unknown };
}

/** A query cache. */
export interface QueryCacheLike {
  getAll(): QueryLike[];
  /** There always is an event, although version 3's types don't say so. */
  subscribe(listener: (event?: CacheEvent) => void): () => void;
}

/** A `QueryClient`. */
export interface QueryClientLike {
  getQueryCache(): QueryCacheLike;
  getDefaultOptions(): { queries?: object };
  setDefaultOptions(options: { queries?: object }): void;
  getQueryDefaults(queryKey: QueryKey): object | undefined;
  setQueryDefaults(queryKey: QueryKey, options: object): void;
  setQueryData(queryKey: QueryKey, data: unknown): unknown;
  invalidateQueries(
    filters: { predicate: (query: QueryLike) => boolean },
    options: { cancelRefetch: boolean },
  ): Promise<void>;
}

/** What a query has besides, on all versions, although some of them call it private. */
export interface QueryInside {
  readonly observers: readonly { readonly options: QueryOptionsLike; setOptions(options: object): void }[];
  /** As it was last fetched. */
  readonly options: QueryOptionsLike;
}

export interface QueryOptionsLike {
  readonly queryFn?: unknown;
  readonly staleTime?: unknown;
  readonly networkMode?: string;
}

/** A key as a list of its segments. */
export function segmentsOf(queryKey: unknown): QueryKey {
  return Array.isArray(queryKey) ? queryKey : [queryKey];
}

/**
 * Whether a query's key begins like one of these, as the library's own filters see it: objects need only have what is asked for.
 */
export function isUnder(queryKey: unknown, prefixes: readonly QueryKey[]): boolean {
  return prefixes.some((prefix) => has(segmentsOf(queryKey), prefix));
}

function has(whole: unknown, part: unknown): boolean {
  const areObjects = whole && part && typeof whole === 'object' && typeof part === 'object';
  return (
    whole === part ||
    (!!areObjects && Object.entries(part).every(([key, value]) => has((whole as Record<string, unknown>)[key], value)))
  );
}

/** Whether its query function is under way, or waits to be. */
export function isFetching({ state }: QueryLike): boolean {
  return state.isFetching ?? state.fetchStatus !== 'idle';
}

/** Whether it has left the cache. */
export function isRemoval({ type }: CacheEvent): boolean {
  return /^(queryR|r)emoved$/.test(type);
}

/**
 * Marks a query stale and, if somebody looks at it, fetches it anew: what was under way is of no interest any more. An infinite
 * query of more than so many pages is only marked, since each of them would be a request.
 */
export function refetch(queryClient: QueryClientLike, query: QueryLike, pagesMax: number): void {
  query.invalidate();
  const { pages, pageParams }: { pages?: unknown[]; pageParams?: unknown[] } = Object(query.state.data);
  if (!(pages && pageParams && pages.length > pagesMax)) {
    if (!isFetching(query) && query.isActive()) {
      // On version 3 a query into which data was put looks idle while its function is under way.
      void query.cancel({ silent: true });
    }
    void queryClient.invalidateQueries({ predicate: (one) => one === query }, { cancelRefetch: true });
  }
}
