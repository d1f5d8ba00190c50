/** Which channels are subscribed for the queries, and whether anything can have been missed on them. */

import type { Client, Off, Store } from '../index.ts';

/** Whether nothing is missed on any of these channels, or on the topics that the node subscribes by itself (`undefined`). */
export type Covers = (channels: readonly string[] | undefined) => boolean;

export interface Coverage {
  readonly covers: Covers;
  /** Keeps these subscribed, and no others. */
  want(names: ReadonlySet<string>): void;
  stop: Off;
}

/**
 * Keeps channels subscribed. `began` is told from when on nothing is missed any more on some channels, or on the node's own topics
 * (`undefined`): what was fetched before that may lack something.
 */
export function cover(
  client: Client,
  began: (channels: ReadonlySet<string | undefined>, covers: Covers) => void,
  changed: () => void,
): Coverage {
  /** Was live once, and since then everything has come or was told as a gap. `undefined`: the node's own topics. */
  const covered = new Set<string | undefined>();
  const covers: Covers = (channels = [undefined as never]) => channels.every((name) => covered.has(name));
  /** Covered, and not told yet. */
  const fresh = new Set<string | undefined>();
  const releases = new Map<string, Off>();
  // Watched for good, as the client keeps its channels: one that lingers is still covered when it is wanted again.
  const watched = new Map<string | undefined, Off>();

  const watch = (name: string | undefined, state: Store<{ status: string }>, live: string, interrupted: string) => {
    const hear = ({ status }: { status: string }) => {
      const isNew = status === live && !covered.has(name);
      if (status === 'closed') {
        covered.clear();
        fresh.clear();
      } else if (status === live) {
        covered.add(name);
      } else if (status !== interrupted) {
        covered.delete(name);
      }
      // A channel is live a moment before the client is connected, and until then nothing can be asked for over the socket.
      if (isNew) {
        fresh.add(name);
      }
      if (client.state.get().status === 'connected') {
        began(fresh, covers);
        fresh.clear();
      }
      changed();
    };
    watched.set(name, state.subscribe(hear));
  };
  watch(undefined, client.state, 'connected', 'reconnecting');

  return {
    covers,
    want(names) {
      for (const [name, release] of releases) {
        if (!names.has(name)) {
          release();
          releases.delete(name);
        }
      }
      for (const name of names) {
        const channel = client.channel(name);
        if (!releases.has(name)) {
          releases.set(name, channel.subscribe());
        }
        if (!watched.has(name)) {
          watch(name, channel.state, 'subscribed', 'subscribing');
        }
      }
    },
    stop() {
      for (const off of [...watched.values(), ...releases.values()]) {
        off();
      }
      covered.clear();
    },
  };
}
