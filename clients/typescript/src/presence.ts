/** Who is in a channel, while somebody looks: a list, kept up to date by who comes and goes. */

import type { Calls } from './calls.ts';
import type { FanfareError } from './error.ts';
import type { PresenceFrame } from './frames.ts';
import type { Presence, Present } from './states.ts';
import type { Value } from './value.ts';

/** Users on a page; the node has no more on one. */
const PAGE = 1_000;

export type PresenceList = ReturnType<typeof createPresenceList>;

export function createPresenceList(topic: string, calls: Calls, store: Value<Presence>) {
  let users = new Map<string, Present>();
  /** Who left while the list was being read: a page may still name them. */
  const gone = new Set<string>();
  /** Which reading counts: an older one is out of date. */
  let reading = 0;

  function show(): void {
    store.set({ status: 'ready', users: [...users.values()], count: users.size, error: undefined });
  }

  /** Reads the list: the topic is subscribed now, or something may have been missed. */
  async function read(): Promise<void> {
    reading += 1;
    const mine = reading;
    // Those who come meanwhile.
    users = new Map();
    gone.clear();
    if (store.get().status !== 'loading') {
      store.set({ ...store.get(), status: 'loading', error: undefined });
    }
    try {
      const list = new Map<string, Present>();
      let cursor: string | undefined;
      do {
        const page: PresenceFrame = await calls.make<'presence'>(
          { op: 'presence', topic, limit: PAGE, ...(cursor && { cursor }) },
          { isOnlineOnly: true },
        );
        if (mine !== reading) {
          return;
        }
        for (const { user, info } of page.users ?? []) {
          if (!gone.has(user)) {
            list.set(user, { user, info });
          }
        }
        cursor = page.cursor;
      } while (cursor !== undefined);
      users = new Map([...list, ...users]);
      show();
    } catch (error) {
      if (mine === reading) {
        fail(error as FanfareError);
      }
    }
  }

  function fail(error: FanfareError): void {
    store.set({ ...store.get(), status: 'failed', error });
  }

  /** Somebody came, or went: `present` is undefined. */
  function change(user: string, present?: Present): void {
    const { status } = store.get();
    if (status === 'crowded') {
      // There are fewer again.
      void read();
      return;
    }
    if (present) {
      users.set(user, present);
      gone.delete(user);
    } else {
      users.delete(user);
      gone.add(user);
    }
    if (status === 'ready') {
      gone.clear();
      show();
    }
  }

  return {
    read,
    fail,
    joined: (user: string, info: unknown) => change(user, { user, info }),
    left: (user: string) => change(user),
    /** Too many are there: only their number is told. */
    crowded(count: number): void {
      reading += 1;
      store.set({ status: 'crowded', users: [], count, error: undefined });
    },
    /** Nobody looks any more. */
    stop(): void {
      reading += 1;
    },
  };
}
