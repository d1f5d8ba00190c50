/** What follows from the events so far. */

import { useCallback, useState, useSyncExternalStore } from 'react';
import type { ChannelName, Message, MessageOf } from '../index.ts';
import { type ListenOptions, type TypeFor, useListening } from './listening.ts';
import { useClient } from './provider.tsx';
import { ignore, useLatest } from './use-latest.ts';

export interface EventStateOptions<N extends ChannelName = ChannelName> extends ListenOptions<N> {
  /** Renders at most once in so many ms, the last state always. No event is left out. Default: as React batches. */
  everyMs?: number | undefined;
}

/**
 * Reduces the events that arrive while the component is mounted: a count, the last ten, the present bid. Begins with
 * `initial`, and so again when the channel or the types change.
 */
export function useEventState<State, N extends ChannelName = never>(
  type: '*',
  reduce: (state: State, message: MessageOf<TypeFor<N>>) => State,
  initial: State | (() => State),
  options?: EventStateOptions<N>,
): State;
export function useEventState<State, T extends TypeFor<N>, N extends ChannelName = never>(
  type: T | readonly T[],
  reduce: (state: State, message: MessageOf<T>) => State,
  initial: State | (() => State),
  options?: EventStateOptions<N>,
): State;
export function useEventState<State>(
  type: string | readonly string[],
  reduce: (state: State, message: Message) => State,
  initial: State | (() => State),
  options: EventStateOptions = {},
): State {
  const { everyMs = 0 } = options;
  const client = useClient();
  const about = JSON.stringify([options.channel, type]);
  const begin = () => ({ client, about, ...reduced(initial instanceof Function ? initial() : initial) });
  const [state, begun] = useState(begin);
  if (state.client !== client || state.about !== about) {
    begun(begin());
  }
  const latest = useLatest(reduce);
  const listener = useCallback(
    (message: Message) => state.set(latest(state.get(), message), everyMs),
    [state, latest, everyMs],
  );
  useListening(type, listener, options);
  return useSyncExternalStore(state.subscribe, state.get, state.get);
}

/** A value that is set at once and told at most every `everyMs`: the first change without delay, the last one for certain. */
function reduced<State>(value: State) {
  let tell = ignore;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let untold = false;

  function tellNow(everyMs: number) {
    timer = undefined;
    if (untold) {
      untold = false;
      timer = everyMs > 0 ? setTimeout(tellNow, everyMs, everyMs) : undefined;
      tell();
    }
  }

  return {
    get: () => value,
    set(next: State, everyMs: number) {
      untold ||= next !== value;
      value = next;
      if (timer === undefined) {
        tellNow(everyMs);
      }
    },
    subscribe(changed: () => void) {
      tell = changed;
      return () => {
        clearTimeout(timer);
        timer = undefined;
      };
    },
  };
}
