/**
 * What is subscribed, and how far it was seen. Survives the connections: on each of them every topic ends up continuous, or
 * with a gap.
 */

import { backoff } from './backoff.ts';
import { FanfareError } from './error.ts';
import type { ClientFrame, Envelope, ErrorFrame, EventFrame, GapFrame, Standing, TopicWish } from './frames.ts';
import type { Gap } from './message.ts';
import { isSeen } from './position.ts';
import type { ChannelState } from './states.ts';
import { type Off, once } from './store.ts';
import { createValue, type Value } from './value.ts';

/** What stands beside an envelope. */
export interface EventDetails {
  readonly position?: string | undefined;
  readonly traceparent?: string | undefined;
  /** It was missed, and came later. */
  readonly recovered: boolean;
}

/** What happens to a topic. */
export interface TopicEvents {
  event(topic: string, event: Envelope, details: EventDetails): void;
  gap(gap: Gap): void;
  /** Presence is told from now on. */
  watched(topic: string): void;
  refused(error: FanfareError): void;
  /** All that was asked for has been answered. */
  settled(): void;
  thrown(thrown: unknown): void;
}

interface Topic {
  readonly name: string;
  readonly state: Value<ChannelState>;
  /** The node subscribes it by itself. */
  isOwn?: boolean;
  holders: number;
  watchers: number;
  /** A `subscribe` is on its way, or was answered. */
  isAsked?: boolean;
  isWatched?: boolean;
  /** Who is there is nobody's business. */
  isUnwatchable?: boolean;
  /** Everything up to here was seen. */
  position?: string | undefined;
  /** The node has said that nothing else is published there: what it says is true from then on. */
  isDurable?: boolean | undefined;
  /** More was missed than fit into one answer: the rest has been asked for. */
  isBehind?: boolean | undefined;
  /** It was live, and the connection was lost since. */
  wasLive?: boolean | undefined;
  /** No holder is left: when to unsubscribe. */
  leaving?: ReturnType<typeof setTimeout>;
}

/** What asking for one topic takes of a frame, at most: a name has 200 bytes. */
const WISH_BYTES_MAX = 512;
/** A refused subscription is tried again after this, and what the backoff says, in ms. */
const RETRY_MS = 500;

const IDLE: ChannelState = { status: 'idle' };
const SUBSCRIBING: ChannelState = { status: 'subscribing' };
const SUBSCRIBED: ChannelState = { status: 'subscribed' };

export function createTopics(
  options: { lingerMs: number; isDurable: (topic: string) => boolean; nextId: () => number },
  tell: TopicEvents,
) {
  const all = new Map<string, Topic>();
  /** Topics by the `subscribe` that asked for them, as long as it isn't answered. */
  const asking = new Map<number, Set<string>>();
  let send: ((frame: ClientFrame) => void) | undefined;
  /** So many wishes fit into a frame. */
  let wishesMax = 1;
  let isSyncing = false;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let retries = 0;

  function topicOf(name: string): Topic {
    let topic = all.get(name);
    if (!topic) {
      topic = {
        name,
        state: createValue(IDLE, tell.thrown),
        holders: 0,
        watchers: 0,
      };
      all.set(name, topic);
    }
    return topic;
  }

  /** A topic that somebody holds, or did a moment ago, or that is the node's own. */
  function ours(name: string): Topic | undefined {
    const topic = all.get(name);
    return topic?.isOwn || topic?.state.get() !== IDLE ? topic : undefined;
  }

  function forgetIfUnused(topic: Topic): void {
    if (topic.holders === 0) {
      topic.state.set(IDLE);
      if (!topic.isOwn) {
        topic.position = undefined;
        topic.wasLive = topic.isBehind = false;
      }
    }
  }

  function leave(topic: Topic): void {
    if (topic.isAsked && !topic.isOwn) {
      send?.({ op: 'unsubscribe', id: options.nextId(), topic: topic.name });
    }
    topic.isAsked = topic.isWatched = false;
    answered(topic.name, () => forgetIfUnused(topic));
  }

  /** Asks for all that is held and was not asked for. */
  function askAll(): void {
    if (!send) {
      return;
    }
    const wishes: TopicWish[] = [];
    for (const topic of all.values()) {
      const wantsPresence = topic.watchers > 0 && !topic.isWatched && !topic.isUnwatchable;
      const isWanted = (topic.holders > 0 || topic.isBehind) && topic.state.get().status !== 'failed';
      if (isWanted && (!topic.isAsked || wantsPresence)) {
        topic.isAsked = true;
        topic.isWatched ||= wantsPresence;
        wishes.push(wish(topic));
      }
    }
    while (wishes.length > 0) {
      ask(wishes.splice(0, wishesMax));
    }
    checkSettled();
  }

  function ask(topics: TopicWish[]): void {
    const id = options.nextId();
    asking.set(id, new Set(topics.map(({ topic }) => topic)));
    send?.({ op: 'subscribe', id, topics });
  }

  /** A topic's answer has come, or doesn't matter any more; then this is done, and perhaps that was all. */
  function answered(name: string, then: () => unknown): void {
    for (const [id, names] of asking) {
      if (names.delete(name) && names.size === 0) {
        asking.delete(id);
      }
    }
    then();
    checkSettled();
  }

  function checkSettled(): void {
    if (send && asking.size === 0) {
      tell.settled();
    }
  }

  /** How a topic stands on a new connection, or after the rest of what was missed. */
  function stands(topic: Topic, { position, recovered, reason, events = [], more, durable }: Standing): void {
    const known = topic.position;
    if (recovered === false) {
      tellGap(topic, 'all', reason ?? 'expired', known, position);
    }
    if (known !== undefined) {
      for (const { position: at, event } of events) {
        if (!isSeen(at, topic.position)) {
          topic.position = at;
          tell.event(topic.name, event, { position: at, recovered: true });
        }
      }
    }
    if (topic.wasLive && recovered === undefined) {
      // The node was not told where the client had been.
      tellGap(topic, 'all', 'reconnect', known, position);
    } else if (topic.wasLive && recovered && !more && !(durable && topic.isDurable) && !options.isDurable(topic.name)) {
      tellGap(topic, 'ephemeral', 'reconnect');
    }
    topic.wasLive &&= recovered && more;
    topic.isBehind = more;
    topic.isDurable = durable;
    if (!more || known === undefined) {
      topic.position = position;
    }
    if (more) {
      topic.isAsked = true;
      ask([wish(topic)]);
    }
  }

  function tellGap({ name }: Topic, lost: Gap['lost'], reason: string, since?: string, position?: string): void {
    tell.gap({ topic: name, channel: channelOf(name), lost, reason, since, position });
  }

  function fail(topic: Topic, code: string, message: string): void {
    const error = new FanfareError(code, `${topic.name}: ${message}`, { topic: topic.name });
    tell.refused(error);
    if (topic.isWatched && code === 'forbidden') {
      // Perhaps it is only that nobody may see who is there: the channel itself can be had, or is there already.
      topic.isWatched = false;
      topic.isUnwatchable = true;
      topic.isAsked = topic.state.get() === SUBSCRIBED;
      return askAll();
    }
    topic.isAsked = topic.isWatched = false;
    topic.wasLive ||= topic.position !== undefined;
    topic.state.set({ status: 'failed', error });
    if (error.retryable) {
      clearTimeout(retry);
      retry = setTimeout(() => tryAgain(({ retryable }) => retryable), RETRY_MS + backoff(retries, {}));
      retries += 1;
    }
  }

  /** Asks again for what was refused with such an error. */
  function tryAgain(isSuch: (error: FanfareError) => boolean): void {
    for (const { state } of all.values()) {
      const now = state.get();
      if (now.status === 'failed' && isSuch(now.error)) {
        state.set(SUBSCRIBING);
      }
    }
    askAll();
  }

  /** The connection is lost, or begins anew. */
  function interrupt(isLost: boolean): void {
    send = undefined;
    asking.clear();
    clearTimeout(retry);
    if (isLost) {
      retries = 0;
    }
    for (const topic of all.values()) {
      topic.wasLive ||= topic.position !== undefined;
      topic.isAsked = topic.isWatched = topic.isBehind = topic.isUnwatchable = false;
      if (topic.state.get() !== IDLE) {
        topic.state.set(SUBSCRIBING);
      }
    }
  }

  return {
    interrupt,
    tryAgain,

    /** Keeps a topic subscribed. */
    hold(name: string, withPresence: boolean): Off {
      const topic = topicOf(name);
      clearTimeout(topic.leaving);
      topic.holders += 1;
      topic.watchers += withPresence ? 1 : 0;
      if (topic.state.get() === IDLE) {
        topic.state.set(SUBSCRIBING);
      }
      if (withPresence && topic.isWatched && topic.state.get() === SUBSCRIBED) {
        tell.watched(name);
      }
      if (!isSyncing) {
        // Soon: what is mounted together is asked for in one frame.
        isSyncing = true;
        queueMicrotask(() => {
          isSyncing = false;
          askAll();
        });
      }
      return once(() => {
        topic.holders -= 1;
        topic.watchers -= withPresence ? 1 : 0;
        if (topic.holders === 0) {
          topic.leaving = setTimeout(() => leave(topic), options.lingerMs);
        }
      });
    },

    /** Its state, whether anybody holds it or not. */
    state: (name: string) => topicOf(name).state,

    /** What a new connection should know: where the node's own topics were left, and which others are held. */
    wishes() {
      const since: Record<string, string> = {};
      const topics: string[] = [];
      for (const { name, isOwn, holders, position } of all.values()) {
        if (isOwn && position !== undefined) {
          since[name] = position;
        }
        if (holders > 0) {
          topics.push(name);
        }
      }
      return { since, topics };
    },

    /** How many are live. */
    count: () => [...all.values()].filter(({ isOwn, state }) => send && (isOwn || state.get() === SUBSCRIBED)).length,

    /** There is a connection: the node's own topics are live, and the others are asked for. */
    begin(own: readonly Standing[], frameBytes: number, sending: (frame: ClientFrame) => void): void {
      send = sending;
      wishesMax = Math.max(1, Math.floor(frameBytes / WISH_BYTES_MAX));
      for (const topic of all.values()) {
        if (topic.isOwn && !own.some(({ topic: name }) => name === topic.name)) {
          topic.isOwn = false;
          forgetIfUnused(topic);
        }
      }
      for (const standing of own) {
        const topic = topicOf(standing.topic);
        topic.isOwn = true;
        stands(topic, standing);
      }
      askAll();
    },

    /** What was seen is nobody's business any more. */
    forget(): void {
      for (const topic of all.values()) {
        topic.position = undefined;
        topic.wasLive = topic.isOwn = false;
        forgetIfUnused(topic);
      }
    },

    /** A `subscribed`. */
    standing(frame: Standing): void {
      const topic = ours(frame.topic);
      answered(frame.topic, () => {
        if (topic) {
          topic.isAsked = true;
          if (topic.state.get() !== IDLE) {
            topic.state.set(SUBSCRIBED);
          }
          stands(topic, frame);
          if (topic.isWatched) {
            tell.watched(topic.name);
          }
        }
      });
    },

    event({ topic: name, position, event, traceparent }: EventFrame): void {
      const topic = ours(name);
      // While it is behind, durable events come with what was asked for.
      if (topic && (position === undefined || !(topic.isBehind || isSeen(position, topic.position)))) {
        topic.position = position ?? topic.position;
        tell.event(name, event, { position, traceparent, recovered: false });
      }
    },

    gap({ topic: name, lost, reason, since, position }: GapFrame): void {
      const topic = ours(name);
      if (topic) {
        if (position !== undefined && !topic.isBehind) {
          topic.position = position;
        }
        tellGap(topic, lost, reason, since, position);
      }
    },

    /** A refused subscription. Says whether it was one. */
    refused({ id, topic: name, code, message }: ErrorFrame): boolean {
      const names = name === undefined ? [...(asking.get(id as number) ?? [])] : [name];
      for (const each of names) {
        const topic = all.get(each);
        answered(each, () => topic?.isAsked && fail(topic, code, message));
      }
      return names.length > 0;
    },

    /** An `unsubscribed`: with a code the node ended it, since the renewed token doesn't allow it. */
    ended({ topic: name, code }: { topic: string; code?: string }): void {
      const topic = all.get(name);
      if (code !== undefined && topic?.isAsked) {
        // The channel itself, not who is there.
        topic.isWatched = false;
        fail(topic, code, 'no longer allowed');
      }
    },
  };
}

/** The name of the channel that a topic is. */
export function channelOf(topic: string): string | undefined {
  return topic.startsWith('channel:') ? topic.slice('channel:'.length) : undefined;
}

function wish({ name, position, isWatched }: Topic): TopicWish {
  return { topic: name, ...(position && { since: position }), ...(isWatched && { presence: true }) };
}
