/**
 * What a client promises, and whether it kept it.
 *
 * 1. A subscription stands from the moment the channel is `subscribed` until it is `idle` again, since it was left by all, and
 *    lingered; or until the app disconnects. The node's own topics stand from the first `connected` until the app disconnects. A
 *    lost, failed or refused connection, and a refused topic, end nothing: they are what the promise is about.
 * 2. A listener that is there while a subscription stands is told every event that is published from then on; or, after the event
 *    was published, a gap of its topic: `lost:'all'`, or `lost:'ephemeral'` if the event is ephemeral. Both happens before the
 *    client says `connected` again, so of a topic that is live, over a network where nothing is under way, it owes nothing.
 * 3. No listener is told an event twice, whatever becomes of the connection and the subscription.
 * 4. Durable events of a topic come in the order of their positions, ephemeral ones in the order in which they were published.
 * 5. Who mounts on a channel that was idle is told nothing that was published before; nor is anybody after the app has disconnected
 *    and connected again.
 * 6. Gaps are no substitute: `reconnect` comes with `lost:'ephemeral'` never where all events are durable; and over a WebSocket,
 *    where the node is told all positions, only after a loss, and never with `lost:'all'`.
 * 7. `resumed` says that no gap was told since the connection was lost.
 * 8. When all is well a client becomes live by itself, unless it was told not to, and what is subscribed is answered. Calls are
 *    answered or rejected, and made once at most. When nobody needs anything any more nothing is left.
 */

import type { Gap, Message } from '@fanfare/client';

interface Published {
  readonly n: number;
  readonly topic: string;
  readonly isDurable: boolean;
  readonly at: number;
  /** Whether it was published at all. Of a client's own event that is known when the node has said so. */
  isSure: boolean;
  readonly isOwn: boolean;
}

/** Who is told about a topic. */
export interface Listener {
  readonly name: string;
  readonly topic: string;
  from: number;
  /** The channel was idle when it came, or the client was made to forget. */
  isFirst: boolean;
  readonly events: Set<number>;
  /** What it should have been told, as was said already. */
  readonly missed: Set<number>;
  readonly gaps: { readonly lost: Gap['lost']; readonly at: number }[];
  position?: string | undefined;
  ephemeral: number;
}

export class Model {
  readonly violations: string[] = [];
  readonly #published = new Map<number, Published>();
  readonly #listeners = new Set<Listener>();
  /** Since when topics stand. */
  readonly #standing = new Map<string, number>();
  /** Topics that were not live for a while, since the last gap that told so. */
  readonly #lost = new Set<string>();
  /** What happened so far: the clock of this model, as much happens in one millisecond. */
  #now = 0;
  #gapsOfLoss = 0;

  constructor(
    /** Where all events are durable, and the client knows. */
    private readonly durable: readonly string[],
    private readonly say: (what: string) => void,
  ) {}

  get now(): number {
    return this.#now;
  }

  published(topic: string, isDurable: boolean, isOwn = false): number {
    const n = this.#published.size + 1;
    this.#published.set(n, { n, topic, isDurable, at: this.#tick(), isSure: !isOwn, isOwn });
    return n;
  }

  /** The node has taken the client's own event. */
  confirmed(n: number): void {
    (this.#published.get(n) as Published).isSure = true;
  }

  listens(name: string, topic: string, isFirst: boolean): Listener {
    const from = this.#tick();
    const sets = { events: new Set<number>(), missed: new Set<number>() };
    const listener = { name, topic, from, isFirst, ...sets, gaps: [], ephemeral: 0 };
    this.#listeners.add(listener);
    return listener;
  }

  leaves(listener: Listener): void {
    this.#listeners.delete(listener);
  }

  stands(topic: string): void {
    if (!this.#standing.has(topic)) {
      this.#standing.set(topic, this.#tick());
    }
  }

  ends(topic: string): void {
    this.#standing.delete(topic);
  }

  endsAll(): void {
    this.#standing.clear();
  }

  /** The client has forgotten everything, and is connected again. */
  beginsAnew(): void {
    for (const listener of this.#listeners) {
      listener.from = this.#tick();
      listener.isFirst = true;
    }
  }

  loses(topic: string): void {
    this.#lost.add(topic);
  }

  /** A connection that was there is lost. */
  disconnected(): void {
    this.#gapsOfLoss = 0;
  }

  connected(isResumed: boolean): void {
    if (isResumed && this.#gapsOfLoss > 0) {
      this.#violated('resumed, in spite of a gap');
    }
  }

  message(listener: Listener, { topic, data, position, recovered, own }: Message<string, { n: number }>): void {
    this.#tick();
    const { name } = listener;
    const published = this.#published.get(data.n);
    const what = `${name} is told ${topic} #${data.n}`;
    if (published?.topic !== topic || topic !== listener.topic || (position !== undefined) !== published.isDurable) {
      this.#violated(`${what}, which is not what was published`);
      return;
    }
    if (!this.#listeners.has(listener)) {
      this.#violated(`${what} after it has left`);
    }
    if (listener.events.has(data.n)) {
      this.#violated(`${what} twice`);
    }
    listener.events.add(data.n);
    if (own !== published.isOwn) {
      this.#violated(`${what}: own is ${own}`);
    }
    if (recovered && listener.isFirst && published.at < listener.from) {
      this.#violated(`${what}, which is older than its subscription`);
    }
    if (position === undefined) {
      if (!published.isOwn && data.n < listener.ephemeral) {
        this.#violated(`${what} after #${listener.ephemeral}`);
      }
      listener.ephemeral = published.isOwn ? listener.ephemeral : data.n;
    } else {
      if (listener.position !== undefined && !isBefore(listener.position, position)) {
        this.#violated(`${what} at ${position} after ${listener.position}`);
      }
      listener.position = position;
    }
  }

  gap(listener: Listener, { lost, reason, topic }: Gap, isOverWebSocket: boolean): void {
    listener.gaps.push({ lost, at: this.#tick() });
    const what = `${listener.name} is told a gap ${lost}/${reason} of ${topic}`;
    if (!this.#listeners.has(listener)) {
      this.#violated(`${what} after it has left`);
    }
    if (reason === 'reconnect') {
      if (lost === 'ephemeral' && this.durable.includes(topic)) {
        this.#violated(`${what}, where all was recovered`);
      }
      if (lost === 'all' && isOverWebSocket) {
        this.#violated(`${what}, though the node could be told the position`);
      }
      if (isOverWebSocket && !this.#lost.has(topic)) {
        this.#violated(`${what}, which was live all the time`);
      }
    }
  }

  /** A gap was told to all. */
  gapTold({ topic, reason }: Gap): void {
    this.#gapsOfLoss += 1;
    if (reason === 'reconnect') {
      this.#lost.delete(topic);
    }
  }

  /** On these topics nothing is under way: what was published until `before` was told, or a gap was. */
  check(when: string, topics: readonly string[], before: number): void {
    for (const listener of [...this.#listeners].filter(({ topic }) => topics.includes(topic))) {
      const since = this.#standing.get(listener.topic);
      const from = since === undefined ? Number.POSITIVE_INFINITY : Math.max(since, listener.from);
      for (const { n, topic, at, isDurable, isSure } of this.#published.values()) {
        const isTold = listener.events.has(n) || listener.missed.has(n);
        const isOwed = topic === listener.topic && isSure && at > from && at <= before && !isTold;
        const isCovered = (gap: Listener['gaps'][0]) => gap.at > at && (gap.lost === 'all' || !isDurable);
        if (isOwed && !listener.gaps.some(isCovered)) {
          const kind = isDurable ? 'durable' : 'ephemeral';
          this.#violated(`${when}: ${listener.name} was never told the ${kind} ${topic} #${n}, nor a gap`);
          listener.missed.add(n);
        }
      }
    }
  }

  /** Anything else that must not be. */
  violated(what: string): void {
    this.#violated(what);
  }

  #violated(what: string): void {
    this.violations.push(what);
    this.say(`!!! ${what}`);
  }

  #tick(): number {
    this.#now += 1;
    return this.#now;
  }
}

/** The fake gateway's epochs rise. */
function isBefore(one: string, other: string): boolean {
  const [epoch = 0, seq = 0] = one.split('-').map(Number);
  const [otherEpoch = 0, otherSeq = 0] = other.split('-').map(Number);
  return epoch < otherEpoch || (epoch === otherEpoch && seq < otherSeq);
}
