/** What listeners are called with. */

import type { EventData, EventType, RegisteredContract } from './contract.ts';

/** An event that arrived. */
// biome-ignore lint/suspicious/noExplicitAny: the contract says what the data is, where there is one
export interface Message<Type extends string = string, Data = any> {
  readonly type: Type;
  readonly data: Data;
  /** What it was addressed to: `tenant`, `user:42`, `channel:orders`. */
  readonly topic: string;
  /** The channel's name, `orders`, when it was addressed to one. */
  readonly channel: string | undefined;
  /** Where a durable event stands in its topic. Opaque. Absent from an ephemeral event. */
  readonly position: string | undefined;
  /** The publisher's id of the event. */
  readonly id: string | undefined;
  /** The publisher's time, Unix ms. */
  readonly at: number | undefined;
  /** W3C Trace Context: the node's span when it was sampled, or else the publisher's. */
  readonly traceparent: string | undefined;
  /** It was missed while the connection was away, and came with the answer on coming back. */
  readonly recovered: boolean;
  /** This client published it. */
  readonly own: boolean;
  /** The envelope as it was published, with fields that nobody here knows. */
  readonly envelope: Readonly<Record<string, unknown>>;
}

/** A message of this type. A union of types makes a union of messages, which `message.type` tells apart. */
export type MessageOf<T extends EventType<C>, C = RegisteredContract> = T extends string
  ? Message<T, EventData<T, C>>
  : never;

/** A stretch that can't be proven complete: fetch afresh what the topic keeps up to date. */
export interface Gap {
  readonly topic: string;
  /** The channel's name, when the topic is one. */
  readonly channel: string | undefined;
  /** `ephemeral`: events that are only for whoever is connected; `all`: any. */
  readonly lost: 'ephemeral' | 'all';
  /**
   * The node's word for why (`backplane`, `expired`, `epoch`, `invalid`, and what later versions add), or the client's own:
   * `reconnect`, since nobody was there for ephemeral events while the connection was away.
   */
  readonly reason: string;
  /** Everything up to here was seen. */
  readonly since: string | undefined;
  /** From here on everything is complete again. */
  readonly position: string | undefined;
}
