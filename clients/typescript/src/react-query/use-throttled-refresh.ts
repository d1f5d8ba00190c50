/** Refreshing by hand, as often as somebody likes to click. */

import { useQueryClient } from '@tanstack/react-query';
import { useMemo } from 'react';
import type { MethodInput, MethodName } from '../index.ts';
import type { QueryKey } from '../query/query-core.ts';
import { throttle } from '../query/throttle.ts';
import { useClient } from '../react/provider.tsx';
import { useLatest } from '../react/use-latest.ts';

/** Queries to fetch anew, or a request that makes a backend push. */
export type RefreshTarget<M extends MethodName> = QueryKey | { method: M; input?: MethodInput<M> };

/**
 * A function that refreshes at once, or as soon as `everyMs` have passed since the last time; what is asked for meanwhile is done
 * then, once. The same function at each render. What it returns resolves when that is done, and rejects as `client.request` does.
 */
export function useThrottledRefresh<M extends MethodName>(
  target: RefreshTarget<M>,
  everyMs: number,
): () => Promise<unknown> {
  const client = useClient();
  const queryClient = useQueryClient();
  const refresh = useLatest((): Promise<unknown> => {
    if ('method' in target) {
      return client.request(...([target.method, target.input] as Parameters<typeof client.request<M>>));
    }
    return queryClient.invalidateQueries({ queryKey: target });
  });
  return useMemo(() => throttle(refresh, everyMs), [refresh, everyMs]);
}
