/** The client: puts the connection, the topics, the calls and the listeners together. */

import { createCalls } from './calls.ts';
import { createConnection } from './connection.ts';
import type { RegisteredContract } from './contract.ts';
import { FanfareError } from './error.ts';
import { createEvents } from './events.ts';
import type { ServerFrame } from './frames.ts';
import { createHealth } from './health.ts';
import { json } from './json.ts';
import { createListeners, type Listeners } from './listeners.ts';
import type { Gap, Message } from './message.ts';
import type { ClientOptions, WebSocketConstructor } from './options.ts';
import type { PresenceList } from './presence.ts';
import type { Health, Presence, TransportName } from './states.ts';
import type { Off } from './store.ts';
import { channelOf, createTopics } from './topics.ts';
import type { Transport } from './transport.ts';
import type { Channel, Client, HistoryOptions, PublishOptions, RequestOptions } from './types.ts';
import { createValue } from './value.ts';
import { warnIfUnheard } from './warning.ts';
import { webSocketTransport } from './websocket.ts';

const NOBODY_LOOKS: Presence = { status: 'idle', users: [], count: 0, error: undefined };

/** What a channel is to the client. */
interface ChannelParts {
  readonly handle: object;
  readonly messages: Listeners<Message>;
  readonly gaps: Listeners<Gap>;
  /** As long as somebody looks who is there. */
  presence?: PresenceList;
}

/** Makes a client, which opens nothing: a connection is there as long as somebody needs it. */
export function createClient<C = RegisteredContract>(options: ClientOptions<C>): Client<C> {
  // The contract exists for the compiler alone: inside, a type is a string and data is anything.
  return build(options as ClientOptions<never>) as unknown as Client<C>;
}

function build(options: ClientOptions<never>) {
  const { codec = json, durable = [], lingerMs = 2_500, maxPendingRequests = 256, trace } = options;
  const WebSocket = options.WebSocket ?? (globalThis.WebSocket as unknown as WebSocketConstructor);
  const errors = createListeners<FanfareError>(console.error);
  const thrown = (cause: unknown) => {
    console.error(cause);
    errors.tell(new FanfareError('listener', `a listener threw: ${cause}`, { cause }));
  };
  const messages = createListeners<Message>(thrown);
  const gaps = createListeners<Gap>(thrown);
  const channels = new Map<string, ChannelParts>();
  const presenceOf = (topic: string) => channels.get(channelOf(topic) ?? '')?.presence;
  const figures = { latencyMs: undefined, lastMessageAt: undefined, received: 0, sent: 0, reconnects: 0, gaps: 0 } as {
    -readonly [name in keyof Omit<Health, 'subscriptions'>]: Health[name];
  };
  const isDurable = (topic: string) =>
    durable.some((one) => one === topic || (one.endsWith('*') && topic.startsWith(one.replace(/\*+$/, ''))));
  const isConnected = () => connection.state.get().status === 'connected';
  let hasBegun = false;
  /** Since the connection was lost. */
  let hasGap = false;
  let lastId = 0;
  const nextId = () => {
    lastId += 1;
    return lastId;
  };

  const calls = createCalls(maxPendingRequests, nextId, (frame) => new Blob([codec.encode(frame)]).size);
  const events = createEvents(options, {
    message(message) {
      channels.get(message.channel ?? '')?.messages.tell(message, message.type);
      messages.tell(message, message.type);
    },
    invalid: errors.tell,
  });
  const topics = createTopics(
    { lingerMs, isDurable, nextId },
    {
      event: events.deliver,
      gap(gap) {
        figures.gaps += 1;
        hasGap = true;
        const channel = channels.get(gap.channel ?? '');
        channel?.gaps.tell(gap);
        gaps.tell(gap);
        if (isConnected()) {
          void channel?.presence?.read();
        }
      },
      watched: (topic) => void presenceOf(topic)?.read(),
      refused(error) {
        presenceOf(error.topic ?? '')?.fail(error);
        errors.tell(error);
      },
      settled: () => connection.settled(!hasGap),
      thrown,
    },
  );
  const connection = createConnection(options, transport, {
    began(welcome, send) {
      figures.reconnects += hasBegun && !isConnected() ? 1 : 0;
      hasBegun = true;
      calls.begin(welcome.limits.message_bytes, send);
      topics.begin(welcome.topics, welcome.limits.message_bytes, send);
    },
    interrupted(areCallsLost) {
      if (isConnected()) {
        hasGap = false;
      }
      topics.interrupt(areCallsLost);
      if (areCallsLost) {
        calls.interrupt();
      }
    },
    frame: (frame) => hears[frame.op]?.(frame as never),
    wishes: topics.wishes,
    renewed: () => topics.tryAgain(() => true),
    forgotten() {
      topics.forget();
      calls.abandon();
    },
    counted(direction) {
      figures[direction] += 1;
      if (direction === 'received') {
        figures.lastMessageAt = Date.now();
      }
    },
    latency(ms) {
      figures.latencyMs = ms;
    },
    error: errors.tell,
    thrown,
  });

  async function transport(name: TransportName): Promise<Transport> {
    if (name === 'websocket') {
      return webSocketTransport(codec, WebSocket);
    }
    // Few need it, so few load it.
    const { SseTransport } = await import('./sse.ts');
    const standsIn = options.transports?.includes('websocket') ?? true;
    const fetch = options.fetch ?? ((...request) => globalThis.fetch(...request));
    return new SseTransport(fetch, standsIn ? WebSocket : undefined);
  }

  const hears: { readonly [op in ServerFrame['op']]?: (frame: Extract<ServerFrame, { op: op }>) => void } & {
    readonly __proto__: null;
  } = {
    // So that no word of the node's is found that isn't here.
    __proto__: null,
    event: topics.event,
    subscribed: topics.standing,
    unsubscribed: topics.ended,
    gap: topics.gap,
    joined: ({ topic, user, info }) => presenceOf(topic)?.joined(user, info),
    left: ({ topic, user }) => presenceOf(topic)?.left(user),
    presence: (frame) => calls.answered(frame) || presenceOf(frame.topic)?.crowded(frame.count),
    error: (frame) =>
      calls.answered(frame) || topics.refused(frame) || errors.tell(new FanfareError(frame.code, frame.message)),
    published: calls.answered,
    reply: calls.answered,
    history: calls.answered,
  };

  function makeChannel(name: string): ChannelParts {
    const topic = `channel:${name}`;
    const heard = createListeners<Message>(thrown);
    const missed = createListeners<Gap>(thrown);
    const hold = (withPresence = false) => both(topics.hold(topic, withPresence), connection.retain());
    const presence = createValue(NOBODY_LOOKS, thrown, () => {
      let isWatched = true;
      presence.set({ ...NOBODY_LOOKS, status: 'loading' });
      const release = hold(true);
      const failed = (cause: unknown) =>
        presence.set({ ...NOBODY_LOOKS, status: 'failed', error: new FanfareError('internal', String(cause)) });
      // Few need it, so few load it.
      import('./presence.ts').then(({ createPresenceList }) => {
        if (isWatched) {
          parts.presence = createPresenceList(topic, calls, presence);
          const state = topics.state(topic).get();
          if (state.status === 'subscribed') {
            void parts.presence.read();
          } else if (state.status === 'failed') {
            parts.presence.fail(state.error);
          }
        }
      }, failed);
      return () => {
        isWatched = false;
        release();
        parts.presence?.stop();
        delete parts.presence;
        presence.set(NOBODY_LOOKS);
      };
    });
    const handle = {
      name,
      topic,
      state: topics.state(topic),
      presence,
      subscribe: () => hold(),
      on: (types: string | readonly string[], listener: (message: Message) => void) =>
        both(heard.add(listener, types), hold()),
      onGap: (listener: (gap: Gap) => void) => both(missed.add(listener), hold()),
      publish: (type: string, data: unknown, how?: PublishOptions) => publish(topic, type, data, how),
      history: (how?: HistoryOptions) => history(topic, how),
    } satisfies { [key in keyof Channel<string>]: unknown };
    const parts: ChannelParts = { handle, messages: heard, gaps: missed };
    return parts;
  }

  /** Keeps a connection until it is done. */
  async function retained<T>(call: () => Promise<T>): Promise<T> {
    const release = connection.retain();
    return call().finally(release);
  }

  async function publish(topic: string, type: string, data: unknown, how: PublishOptions = {}) {
    const { durable, key, id, echo = true } = how;
    const state = connection.state.get();
    const traceparent = trace?.inject?.();
    const event = {
      type,
      data,
      id: events.own(id),
      ...(key !== undefined && { key }),
      ...(!echo && state.status === 'connected' && { except: state.connection }),
      ...(traceparent && { traceparent }),
    };
    const call = { op: 'publish', topic, event, ...(durable && { durable }) } as const;
    const { position } = await calls.make<'published'>(call, { isOnlineOnly: true });
    return { position };
  }

  async function history(topic: string, { limit = 100, before }: HistoryOptions = {}) {
    const call = { op: 'history', topic, limit, ...(before && { before }) } as const;
    const page = await retained(() => calls.make<'history'>(call));
    const read = page.events.map(({ position, event }) => events.read(topic, event, { position, recovered: true }));
    return { messages: read.filter((message) => message !== undefined), more: page.more };
  }

  return {
    state: connection.state,
    health: createHealth(figures, topics.count, connection, thrown),
    connect: connection.connect,
    disconnect: connection.disconnect,
    reconnect: connection.reconnect,
    refreshToken: connection.renew,
    retain: connection.retain,
    channel(name: string): object {
      let channel = channels.get(name);
      if (!channel) {
        channel = makeChannel(name);
        channels.set(name, channel);
      }
      return channel.handle;
    },
    on(types: string | readonly string[], listener: (message: Message) => void): Off {
      const off = messages.add(listener, types);
      try {
        // Bundlers put a constant in; without one there may be no `process`.
        if (process.env.NODE_ENV !== 'production') {
          return warnIfUnheard(off, connection.isWanted);
        }
      } catch {}
      return off;
    },
    onGap: (listener: (gap: Gap) => void) => gaps.add(listener),
    onError: (listener: (error: FanfareError) => void) => errors.add(listener),
    async request(method: string, data?: unknown, { timeoutMs, signal }: RequestOptions = {}): Promise<unknown> {
      const traceparent = trace?.inject?.();
      const call = {
        op: 'request',
        method,
        ...(data !== undefined && { data }),
        ...(traceparent && { traceparent }),
      } as const;
      const make = () => calls.make<'reply'>(call, { timeoutMs, signal });
      return (await (signal?.aborted ? make() : retained(make))).data;
    },
  } satisfies { [key in keyof Client]: unknown };
}

function both(one: Off, other: Off): Off {
  return () => {
    one();
    other();
  };
}
