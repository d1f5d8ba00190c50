/** Which queries an event concerns. */

import type { ChannelName, EventType, Message, MessageOf, RegisteredContract } from '../index.ts';
import { isUnder, type QueryKey, type QueryLike, segmentsOf } from './query-core.ts';

/** What an event of one type means for the queries. */
export interface Rule<T extends EventType<C>, C = RegisteredContract, Q = unknown> {
  /** What it concerns: all queries whose keys begin like these. */
  // A method's type is compared both ways: without a contract a rule for one type is a rule for any.
  keys: readonly QueryKey[] | { method(message: MessageOf<T, C>): readonly QueryKey[] }['method'];
  /**
   * Channels on which such events come: they are subscribed while something observes a query that the rule concerns. A function
   * is asked for each of these queries, by its key: `([, id]) => ['team:' + id]`. Left out: events come on `tenant`, on the
   * user's own topic, or on channels that the app subscribes itself.
   */
  // biome-ignore lint/suspicious/noExplicitAny: a key's segments are whatever the app puts there
  channels?: readonly Name<C>[] | ((queryKey: readonly any[]) => readonly Name<C>[]);
  /**
   * What to fetch anew when such events may have been missed. Default: `keys`. Of a function it is also what it can concern at all;
   * default: the first segments of the keys that it gives. Say it where the function gives keys of other kinds for other data.
   */
  onMissed?: readonly QueryKey[];
  /** Puts what came into the cache, so that nothing is fetched. When it returns `false`, the queries are fetched anew after all. */
  patch?(queryClient: Q, message: MessageOf<T, C>): unknown;
  /** How often such events let a query be fetched anew, at most, in ms. */
  everyMs?: number;
}

/** A channel's name. Put like this, the compiler takes a template (`team:${id}`) for what it is, and not for any text. */
type Name<C> = ChannelName<C> extends infer N extends string ? N : never;

/** Rules by the type of the event. Keys alone are a rule, too. */
export type Rules<C = RegisteredContract, Q = unknown> = {
  readonly [T in EventType<C>]?: readonly QueryKey[] | Rule<T, C, Q>;
};

/** What keeps a query up to date. */
export interface Concern {
  /** On which its events come; `undefined`: on the node's own topics, and on what the app subscribes. */
  readonly channels: readonly string[] | undefined;
  readonly everyMs?: number | undefined;
  /** Whether it has to be fetched anew when events may have been missed. */
  readonly isMissed: boolean;
}

/** A rule as it is followed. */
export interface Followed {
  readonly everyMs: number | undefined;
  keysOf(message: Message): readonly QueryKey[];
  /** What the rule is to a query, if anything. */
  concernOf(query: QueryLike): Concern | undefined;
  patch?(queryClient: unknown, message: Message): unknown;
}

/** So many kinds of keys of one rule are told apart. */
const KINDS_MAX = 100;

/** Reads a rule as the app writes it. */
export function follow(written: readonly QueryKey[] | Rule<string>): Followed {
  const rule = Array.isArray(written) ? { keys: written as readonly QueryKey[] } : (written as Rule<string>);
  const { keys, channels, onMissed, patch, everyMs } = rule;
  const fixed = typeof keys === 'function' ? [] : keys;
  const missed = [...(onMissed ?? (typeof keys === 'function' ? firstSegments(keys) : keys))];
  return {
    everyMs,
    ...(patch && { patch }),
    keysOf(message) {
      const given = typeof keys === 'function' ? keys(message) : keys;
      for (const key of given) {
        if (!onMissed && missed.length < KINDS_MAX && !isUnder(key, missed)) {
          missed.push(key.slice(0, 1));
        }
      }
      return given;
    },
    concernOf({ queryKey }) {
      const isMissed = isUnder(queryKey, missed);
      return isMissed || isUnder(queryKey, fixed)
        ? { channels: typeof channels === 'function' ? channels(segmentsOf(queryKey)) : channels, everyMs, isMissed }
        : undefined;
    },
  };
}

/** The first segments of the keys that a function gives whatever the event says. Everything, when that can't be found out. */
function firstSegments(keys: (message: Message) => readonly QueryKey[]): QueryKey[] {
  // Stands for data that nobody knows: all its properties are such data as well, as text it is empty, and as a list it has one element.
  const unknown: Message = new Proxy((() => '') as unknown as Message, {
    get: () => unknown,
    apply: (_, __, [run]) => (typeof run === 'function' ? [run(unknown)] : ''),
  });
  try {
    return keys(unknown).map(([first]) => (typeof first === 'string' ? [first] : []));
  } catch {
    return [[]];
  }
}
