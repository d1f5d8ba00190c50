/** A gateway in memory, for tests of pages: it speaks Fanfare's protocol, and fails on request. */

import type {
  ChannelName,
  EventData,
  EventType,
  MethodInput,
  MethodName,
  MethodOutput,
  RegisteredContract,
} from '../contract.ts';
import type { Codec, WebSocketConstructor } from '../options.ts';
import type { Off } from '../store.ts';
import { envelopeIn, type Frame, topicIn } from './frame.ts';
import type { TokenGrant } from './grants.ts';
import { fetchFrom } from './http.ts';
import { type Asker, FakeNode } from './node.ts';
import type { Farewell, Session } from './session.ts';
import { webSocketTo } from './socket.ts';

export type { Asker, Farewell, Frame, TokenGrant };

/** What the gateway is like. Everything has a default. */
export interface FakeGatewayOptions {
  /** Whose tokens those are that `token()` did not mint. Default `42`. */
  user?: string;
  /** Default `acme`. */
  tenant?: string;
  /** Topics on which all events are durable, as by an operator's rule. */
  durable?: readonly string[];
  /** How long a token is good for. Default 10 minutes. */
  tokenTtlMs?: number;
  /** After how much silence the gateway pings. Default 25,000. */
  pingMs?: number;
  /** How many missed events fit into an answer. Default 1,000. */
  answerEvents?: number;
  /** Where more users are present than this, only their number is told. Default 500. */
  crowd?: number;
  /** For clients of another encoding than JSON: `msgpack()`. */
  codec?: Codec;
}

/** What may be addressed. */
export type Topic<C = RegisteredContract> = 'tenant' | `user:${string}` | `channel:${ChannelName<C>}`;

/** An event to publish. */
export type FakeEvent<C = RegisteredContract, T extends EventType<C> = EventType<C>> = {
  type: T;
  id?: string;
  at?: number;
  key?: string;
  /** The id of a connection that doesn't get it. */
  except?: string;
  traceparent?: string;
} & (undefined extends EventData<T, C> ? { data?: EventData<T, C> } : { data: EventData<T, C> });

/** A connection that is open. */
export interface FakeConnection {
  /** As in `welcome.connection`. */
  readonly id: string;
  readonly transport: 'websocket' | 'sse';
  /** Who it is. Undefined until the token came. */
  readonly user: string | undefined;
  /** What it is subscribed to, its own topics included. */
  readonly topics: readonly string[];
  /** The frames that came from it. */
  readonly received: readonly Frame[];
  /** Sends a frame, known to the contract or not. */
  send(frame: Frame): void;
  /** Ends it without a word before: 1006 (default), as when the network breaks, or a close code. */
  drop(code?: number, reason?: string): void;
  /** Sends the frame `disconnect` and closes. */
  disconnect(farewell: Farewell): void;
}

/**
 * A gateway that lives in the test. Give its `url`, `WebSocket` and `fetch` to `createClient`:
 *
 * ```ts
 * const gateway = createFakeGateway();
 * const { url, WebSocket, fetch } = gateway;
 * const client = createClient({ url, WebSocket, fetch, getToken: () => gateway.token() });
 * ```
 *
 * Messages arrive in microtasks, so fake timers and real ones both do. There is one tenant, and no rate limit.
 */
export interface FakeGateway<C = RegisteredContract> {
  readonly url: string;
  readonly WebSocket: WebSocketConstructor;
  /** Serves event streams at `/sse` and commands at `/client/v1/…`. */
  readonly fetch: typeof globalThis.fetch;

  /** Publishes an event. Returns its position if it is durable. */
  publish<T extends EventType<C>>(
    topic: Topic<C>,
    event: FakeEvent<C, T>,
    options?: { durable?: boolean },
  ): string | undefined;
  /**
   * Answers requests, in place of a backend. What it throws is told to the client: `{ code, message }` with a code of the contract,
   * or `internal`. Nobody answers a method: `no_backend`. It takes too long: `timeout`.
   */
  onRequest<M extends MethodName<C>>(
    method: M,
    handler: (input: MethodInput<M, C>, asker: Asker) => MethodOutput<M, C> | Promise<MethodOutput<M, C>>,
  ): Off;
  /** Somebody else comes to a topic; again: with other `info`. */
  join(topic: Topic<C>, user: string, info?: unknown): void;
  /** Somebody who came by `join` goes. */
  leave(topic: Topic<C>, user: string): void;
  /** A token. Any other text is a token too, and allows everything; an empty one is refused. */
  token(grant?: TokenGrant): string;

  /** WebSockets and streams that are open. */
  readonly connections: readonly FakeConnection[];
  /** How many were asked for, ever, whether they came about or not. */
  readonly opened: number;
  /** The frames that clients have sent, the oldest first; commands over HTTP among them. */
  readonly received: readonly Frame[];

  /** The gateway is down: connections break (1006), new ones are refused. */
  stop(): void;
  /** It is up again. What was published before is still there. */
  start(): void;
  /** Breaks all connections: see {@link FakeConnection.drop}. */
  drop(code?: number, reason?: string): void;
  /** Ends all connections: see {@link FakeConnection.disconnect}. */
  disconnect(farewell: Farewell): void;
  /** The network is dead: nothing arrives, in either direction, and nothing is closed. */
  freeze(): void;
  /** New connections come about again. The old ones are dead for ever. */
  thaw(): void;
  /** How long a message takes, in each direction, in ms. 0: it comes in a microtask. */
  latencyMs: number;
  /** A proxy lets no WebSocket through. */
  blocksWebSockets: boolean;

  /** Refuses tokens: the next `times`, or from now on; 0: no more. */
  refuseTokens(times?: number): void;
  /** All tokens that were minted are out of date; connections are closed with 4409. */
  expireTokens(): void;
  /** Refuses whatever has to do with a topic, or a method, until the returned function is called. */
  refuse(subject: Topic<C> | MethodName<C>, code: string, message?: string): Off;

  /** Tells whoever is subscribed that events may be missing. Default: `ephemeral`, for the reason `backplane`. */
  gap(topic: Topic<C>, gap?: { lost?: 'ephemeral' | 'all'; reason?: string }): void;
  /** The topic's history is lost and begins anew: who comes back with a position is told the reason `epoch`. */
  forget(topic: Topic<C>): void;
  /** The topic keeps its newest `keep` events only: who missed more is told the reason `expired`. */
  trim(topic: Topic<C>, keep: number): void;
}

/** Makes a gateway. `C` is the app's contract, if it isn't registered. */
export function createFakeGateway<C = RegisteredContract>(options: FakeGatewayOptions = {}): FakeGateway<C> {
  const { codec, ...rest } = options;
  const defaults = { user: '42', tenant: 'acme', durable: [], tokenTtlMs: 600_000, pingMs: 25_000 };
  const node = new FakeNode({ ...defaults, answerEvents: 1_000, crowd: 500, ...rest });
  const { network } = node;
  const everybody = (farewell: (session: Session) => void) => [...node.sessions].forEach(farewell);
  const drop = (code = 1006, reason = '') => everybody((session) => session.drop(code, reason));
  const disconnect = (farewell: Farewell) => everybody((session) => session.disconnect(farewell));
  return {
    url: 'wss://fanfare.test/ws',
    WebSocket: webSocketTo(node, codec ? [codec] : []),
    fetch: fetchFrom(node),

    publish: (topic, event, { durable = false } = {}) =>
      node.publish(topicIn({ topic }), envelopeIn(event, topic), durable),
    onRequest(method, handler) {
      const answering = handler as (data: unknown, asker: Asker) => unknown;
      node.handlers.set(method, answering);
      return () => {
        if (node.handlers.get(method) === answering) {
          node.handlers.delete(method);
        }
      };
    },
    join: (topic, user, info) => node.enter(topic, { user, ...(info !== undefined && { info }) }, node),
    leave: (topic, user) => node.leave(topic, user, node),
    token: (grant = {}) => node.grants.mint(grant),

    get connections() {
      return [...node.sessions].map(connectionOf);
    },
    get opened() {
      return node.opened;
    },
    received: node.received,

    stop() {
      network.isStopped = true;
      drop();
    },
    start() {
      network.isStopped = false;
    },
    drop,
    disconnect,
    freeze: () => network.freeze(),
    thaw() {
      network.isFrozen = false;
    },
    get latencyMs() {
      return network.latencyMs;
    },
    set latencyMs(latencyMs) {
      network.latencyMs = latencyMs;
    },
    get blocksWebSockets() {
      return network.blocksWebSockets;
    },
    set blocksWebSockets(blocks) {
      network.blocksWebSockets = blocks;
    },

    refuseTokens(times = Number.POSITIVE_INFINITY) {
      node.grants.refusals = times;
    },
    expireTokens() {
      node.grants.expireAll();
      disconnect({ code: 4409 });
    },
    refuse(subject, code, message = 'refused by the test') {
      node.refused.set(subject, { code, message });
      return () => node.refused.delete(subject);
    },

    gap(topic, { lost = 'ephemeral', reason = 'backplane' } = {}) {
      const position = lost === 'all' ? { position: node.history(topic).position } : {};
      node.tell(topic, { op: 'gap', topic, lost, reason, ...position });
    },
    forget: (topic) => void node.newHistory(topic),
    trim: (topic, keep) => node.history(topic).trim(keep),
  };
}

function connectionOf(session: Session): FakeConnection {
  return {
    id: session.id,
    transport: session.transport === 'sse' ? 'sse' : 'websocket',
    user: session.user,
    topics: [...session.topics],
    received: session.received,
    send: (frame) => session.send(frame),
    drop: (code = 1006, reason = '') => session.drop(code, reason),
    disconnect: (farewell) => session.disconnect(farewell),
  };
}
