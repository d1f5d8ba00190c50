/** Which queries an event concerns. */

import type { ChannelName, EventType, Message, MessageOf, RegisteredContract } from '../index.ts';
import { isUnder, type QueryKey, type QueryLike, segmentsOf } from './query-core.ts';

/** What an event of one type means for the queries. */
export interface Rule<T extends EventType<C>, C = RegisteredContract, Q = unknown> {
  /** What it concerns: all queries whose keys begin like these. */
  keys: readonly QueryKey[] | ((message: MessageOf<T, C>) => readonly QueryKey[]);
  /**
   * Channels on which such events come: they are subscribed while something observes a query that the rule concerns. A function
   * is asked for each of these queries, by its key: `([, id]) => ['team:' + id]`. Left out: events come on `tenant`, on the
   * user's own topic, or on channels that the app subscribes itself.
   */
  // biome-ignore lint/suspicious/noExplicitAny: a key's segments are whatever the app puts there
  channels?: readonly ChannelName<C>[] | ((queryKey: readonly any[]) => readonly ChannelName<C>[]);
  /**
   * What to fetch anew when such events may have been missed. Default: `keys`, and of a function the first segments of the keys
   * that it gives. Say it where the function gives keys of other kinds for other data.
   */
  onMissed?: readonly QueryKey[];
  /** Puts what came into the cache, so that nothing is fetched. When it returns `false`, the queries are fetched anew after all. */
  patch?: (queryClient: Q, message: MessageOf<T, C>) => unknown;
  /** How often such events let a query be fetched anew, at most, in ms. */
  everyMs?: number;
}

/** Rules by the type of the event. Keys alone are a rule, too. */
export type Rules<C = RegisteredContract, Q = unknown> = {
  readonly [T in EventType<C>]?: readonly QueryKey[] | Rule<T, C, Q>;
};

/** A rule as it is followed. */
export interface Followed {
  /** What the rule concerns at all. Grows with the keys that are seen. */
  readonly prefixes: QueryKey[];
  readonly everyMs: number;
  keysOf(message: Message): readonly QueryKey[];
  /** The channels that a query needs; `undefined`: none of its own. */
  channelsOf(query: QueryLike): readonly string[] | undefined;
  patch?(queryClient: unknown, message: Message): unknown;
}

/** So many kinds of keys of one rule are told apart. */
const PREFIXES_MAX = 100;

/** Reads a rule as the app writes it. */
export function follow(written: readonly QueryKey[] | Rule<string>, everyMs: number): Followed {
  const rule = Array.isArray(written) ? { keys: written as readonly QueryKey[] } : (written as Rule<string>);
  const { keys, channels, patch } = rule;
  const prefixes = [...(rule.onMissed ?? (typeof keys === 'function' ? firstSegments(keys) : keys))];
  return {
    prefixes,
    everyMs: rule.everyMs ?? everyMs,
    keysOf(message) {
      const given = typeof keys === 'function' ? keys(message) : keys;
      for (const key of given) {
        if (prefixes.length < PREFIXES_MAX && !prefixes.some((prefix) => isUnder(key, prefix))) {
          prefixes.push(key.slice(0, 1));
        }
      }
      return given;
    },
    channelsOf: ({ queryKey }) => (typeof channels === 'function' ? channels(segmentsOf(queryKey)) : channels),
    ...(patch && { patch }),
  };
}

/** The first segments of the keys that a function gives whatever the event says. Everything, when that can't be found out. */
function firstSegments(keys: (message: Message) => readonly QueryKey[]): QueryKey[] {
  // Stands for data that nobody knows: all its properties are such data as well, lists have one element, and text is empty.
  const unknown: Message = new Proxy(() => '', {
    get: (_, property) => {
      if (property === Symbol.iterator) {
        return () => [unknown].values();
      }
      return property === Symbol.toPrimitive ? () => '' : unknown;
    },
    apply: (_, __, [run]) => (typeof run === 'function' ? [run(unknown)] : unknown),
  }) as unknown as Message;
  try {
    return keys(unknown).map(([first]) => (typeof first === 'string' ? [first] : []));
  } catch {
    return [[]];
  }
}
