'use client';

/** Hooks for TanStack Query 5 and React. */

export type { Layer } from './react-query/layers.ts';
export type { Confirmation, RealtimeMutation } from './react-query/mutation.ts';
export type { Rules } from './react-query/rules.ts';
export { useLiveInterval } from './react-query/use-live-interval.ts';
export { type RealtimeMutationOptions, useRealtimeMutation } from './react-query/use-realtime-mutation.ts';
export { type RefreshTarget, useThrottledRefresh } from './react-query/use-throttled-refresh.ts';
