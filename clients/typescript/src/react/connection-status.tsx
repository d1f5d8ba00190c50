/** How the connection is, for people. */

import { type ReactNode, useCallback, useSyncExternalStore } from 'react';
import type { ConnectionState } from '../index.ts';
import { useClient } from './provider.tsx';
import { ignore } from './use-latest.ts';
import { IDLE, useStore } from './use-store.ts';

type Status = ConnectionState['status'];

export interface ConnectionStatusView {
  /** For people: `Live`. */
  label: string;
  /** Seconds until the next try, 0 while it is under way. Only while reconnecting. */
  retryInSec: number | undefined;
  state: ConnectionState;
}

export interface ConnectionStatusProps {
  /** Renders it your way. Left out: a dot, the label, and the seconds until the next try. */
  children?: (view: ConnectionStatusView) => ReactNode;
  /** Other words, or another language. */
  labels?: Partial<Record<Status, string>> | undefined;
  /** Of the default rendering, which also has the status as `data-status`. */
  className?: string | undefined;
}

const LABELS: Record<Status, string> = {
  idle: 'Offline',
  connecting: 'Connecting',
  connected: 'Live',
  reconnecting: 'Reconnecting',
  failed: 'Disconnected',
  closed: 'Offline',
};

/** Shows how the connection is. Renders once a second while it counts down to the next try, and else only when the state changes. */
export function ConnectionStatus({ children, labels, className }: ConnectionStatusProps): ReactNode {
  const state = useStore<ConnectionState>(useClient().state, IDLE);
  const retryInSec = useSecondsUntil(state.status === 'reconnecting' ? state.retryAt : undefined);
  const label = labels?.[state.status] ?? LABELS[state.status];
  if (children) {
    return children({ label, retryInSec, state });
  }
  return (
    <span role="status" className={className} data-status={state.status}>
      <span aria-hidden="true" style={{ color: colourOf(state.status) }}>
        ●
      </span>{' '}
      {label}
      {/* Not for screen readers, which would read out every second. */}
      {retryInSec ? <span aria-hidden="true"> ({retryInSec} s)</span> : null}
    </span>
  );
}

function colourOf(status: Status): string {
  switch (status) {
    case 'connected':
      return '#16a34a';
    case 'connecting':
    case 'reconnecting':
      return '#d97706';
    case 'failed':
      return '#dc2626';
    default:
      return '#6b7280';
  }
}

/** Seconds until a time in Unix ms, rounded up, down to 0. Ticks on the second until then. */
function useSecondsUntil(time: number | undefined): number | undefined {
  const subscribe = useCallback(
    (changed: () => void) => {
      if (time === undefined) {
        return ignore;
      }
      let timer: ReturnType<typeof setTimeout> | undefined;
      const tick = () => {
        const left = time - Date.now();
        timer = left > 0 ? setTimeout(tick, left % 1000 || 1000) : undefined;
        changed();
      };
      tick();
      return () => clearTimeout(timer);
    },
    [time],
  );
  // While a page is hydrated the connection is idle, so there is no other value on a server.
  const seconds = () => (time === undefined ? undefined : Math.max(0, Math.ceil((time - Date.now()) / 1000)));
  return useSyncExternalStore(subscribe, seconds, seconds);
}
