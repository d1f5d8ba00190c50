/** Callbacks that are always the latest, and never a reason to subscribe again. */

import { useCallback, useInsertionEffect, useRef } from 'react';

/** One function for the component's whole life, which calls what the last commit gave. Not to be called while rendering. */
export function useLatest<Args extends unknown[], Result>(
  callback: (...args: Args) => Result,
): (...args: Args) => Result {
  const latest = useRef(callback);
  useInsertionEffect(() => {
    latest.current = callback;
  });
  return useCallback((...args) => latest.current(...args), []);
}

/** For a callback that was left out. */
export const ignore = () => {};
