/** Mutations that are shown at once, and asked for over the socket. */

import { type UseMutationOptions, type UseMutationResult, useMutation, useQueryClient } from '@tanstack/react-query';
import type { EventType, FanfareError, MethodInput, MethodName, MethodOutput, RegisteredContract } from '../index.ts';
import { useClient } from '../react/provider.tsx';
import { type RealtimeMutation, realtimeMutation } from './mutation.ts';

/** What `useRealtimeMutation` takes: beside its own options those of `useMutation`. */
export type RealtimeMutationOptions<
  M extends MethodName,
  V = MethodInput<M>,
  T extends EventType = EventType,
> = RealtimeMutation<M, RegisteredContract, V, T> &
  Omit<UseMutationOptions<MethodOutput<M>, FanfareError, V>, 'mutationFn'>;

/** `useMutation`, with a change that is shown at once, asked for over the socket, and confirmed or taken back. */
export function useRealtimeMutation<M extends MethodName, V = MethodInput<M>, T extends EventType = EventType>(
  options: RealtimeMutationOptions<M, V, T>,
): UseMutationResult<MethodOutput<M>, FanfareError, V> {
  const client = useClient();
  const queryClient = useQueryClient();
  // Whether the browser is online is not for the library to say: the request waits, or goes over HTTP.
  return useMutation({ networkMode: 'always', ...options, mutationFn: realtimeMutation(client, queryClient, options) });
}
