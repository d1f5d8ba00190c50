/** Events, for what they cause. */

import type { ChannelName, MessageOf } from '../index.ts';
import { type Listener, type ListenOptions, type TypeFor, useListening } from './listening.ts';
import { useLatest } from './use-latest.ts';

/**
 * Calls back for each event of a type, of several, or of any (`*`). Never renders the component again: what is to be shown
 * is for `useEventState`, or for queries. The callback sees the props and state of the last render.
 */
export function useEvent<N extends ChannelName = never>(
  type: '*',
  callback: (message: MessageOf<TypeFor<N>>) => void,
  options?: ListenOptions<N>,
): void;
export function useEvent<T extends TypeFor<N>, N extends ChannelName = never>(
  type: T | readonly T[],
  callback: (message: MessageOf<T>) => void,
  options?: ListenOptions<N>,
): void;
export function useEvent(type: string | readonly string[], callback: Listener, options: ListenOptions = {}): void {
  useListening(type, useLatest(callback), options);
}
