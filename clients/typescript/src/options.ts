/** What a client can be made with. */

import type { EventData, EventType, RegisteredContract } from './contract.ts';
import type { TransportName } from './states.ts';
import type { Off } from './store.ts';

/** Options of `createClient`. */
export interface ClientOptions<C = RegisteredContract> {
  /** The node's address: `wss://realtime.example.com/ws`. In a page `/ws` will do. A function is called for each connection. */
  url: string | (() => string | Promise<string>);
  /**
   * Fetches a token (JWT) from your backend. `null`: nobody is logged in, and the client is idle until `connect()`. Called once
   * at a time, for a connection and shortly before the token expires. Throws: tried again with backoff.
   */
  getToken: (request: TokenRequest) => string | null | Promise<string | null>;
  reconnect?: ReconnectOptions;
  heartbeat?: HeartbeatOptions;
  /** In the order in which they are tried. Default: both. */
  transports?: readonly TransportName[];
  /** How long the connection is kept after the last one who needed it has gone, in ms. Default 2,500. */
  lingerMs?: number;
  /** How frames are encoded: JSON, unless it is `msgpack()` of `@fanfare/client/msgpack`. */
  codec?: Codec;
  /** Checks, or converts, events' data before anybody is told. What doesn't match is told to `onError` instead. */
  schemas?: { readonly [T in EventType<C>]?: Schema<EventData<T, C>> };
  /** Carries traces on. */
  trace?: TraceOptions;
  /** When to look whether the connection is alive. Default: the page's events. For React Native: `AppState`. */
  lifecycle?: Lifecycle;
  /**
   * Topics to which only durable events are published: `['channel:orders', 'channel:team:*']`, where `*` at the end stands for
   * anything. They need no gap after a reconnect that recovered everything. What the operator's rules keep always is known without
   * this.
   */
  durable?: readonly string[];
  /** Requests that wait for a connection or an answer, at most; one more is refused with `rate_limited`. Default 256. */
  maxPendingRequests?: number;
  /** Default: the global one. */
  WebSocket?: WebSocketConstructor;
  /** Default: the global one. */
  fetch?: typeof globalThis.fetch;
}

export interface TokenRequest {
  /** Why: for a connection, since the last one expires, or since the node refused it. */
  readonly reason: 'connect' | 'renew' | 'refused';
}

export interface ReconnectOptions {
  /** Default true. */
  enabled?: boolean;
  /** The n-th try waits a random time up to `min(maxDelayMs, minDelayMs × 2ⁿ)`. Defaults 500 and 30,000. */
  minDelayMs?: number;
  maxDelayMs?: number;
  /** About this long instead, a fifth more or less, each time. */
  intervalMs?: number;
  /** In a row. Default: no limit. */
  maxAttempts?: number;
  /** How long a connection has to last before the count of tries starts over, in ms. Default 5,000. */
  stableAfterMs?: number;
  /** How long a connection may take until the node has answered, in ms. Default 10,000. */
  timeoutMs?: number;
}

export interface HeartbeatOptions {
  /** Nothing was heard for so long: ask the node. Default: what the node says (`ping_ms`) and a fifth more. In ms. */
  silenceMs?: number;
  /** How long the answer may take. Default 5,000 ms. */
  timeoutMs?: number;
}

/** Turns frames into messages. */
export interface Codec {
  readonly subprotocol: 'fanfare.v1.json' | 'fanfare.v1.msgpack';
  encode(frame: object): string | Uint8Array<ArrayBuffer>;
  decode(message: string | ArrayBuffer): unknown;
}

/** Standard Schema (https://standardschema.dev), as zod, valibot and arktype have it. Only what answers at once. */
export interface Schema<Output = unknown> {
  readonly '~standard': {
    validate(
      value: unknown,
    ):
      | { readonly value: Output; readonly issues?: undefined }
      | { readonly issues: readonly { readonly message: string }[] }
      | Promise<unknown>;
  };
}

export interface TraceOptions {
  /** The `traceparent` of the span that a request or an event is sent in. */
  inject?(): string | undefined;
  /** Calls `deliver` within a span that goes on from `traceparent`. */
  extract?(traceparent: string, deliver: () => void): void;
}

/** Tells when the connection may have died unnoticed, or can come back. */
export interface Lifecycle {
  /** Calls `wake` when the app is seen again, comes back from sleep, or is online again. */
  onWake(wake: () => void): Off;
}

/** What the client needs of a `WebSocket`. */
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

export interface WebSocketLike {
  binaryType: string;
  readonly protocol: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  /** Called with `{ data }`. */
  onmessage: ((event: never) => void) | null;
  /** Called with `{ code, reason }`. */
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(message: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}
