/**
 * Keeps TanStack Query's queries live by Fanfare's events. Works with versions 3, 4 and 5, and so with React, Vue, Svelte, Solid and
 * Angular.
 */

export { type Binding, type BindOptions, bindQueryClient } from './query/binding.ts';
export type { TimeToLive } from './query/defaults.ts';
export { type LiveQuery, type LiveQueryOptions, liveQueryOptions, type Patches } from './query/live-query.ts';
export type { CacheEvent, QueryCacheLike, QueryClientLike, QueryKey, QueryLike } from './query/query-core.ts';
export type { Rule, Rules } from './query/rules.ts';
