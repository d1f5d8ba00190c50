/** How the connection and its channels are. */

import type { FanfareError } from './error.ts';

/** Why the client doesn't come back by itself: `reconnect()` tries again. */
export type FailureReason =
  /** Two fresh tokens in a row were refused. */
  | 'auth'
  /** The node forbids it, or a backend disconnected the user. */
  | 'forbidden'
  /** The node and the client don't understand each other. */
  | 'protocol'
  /** `reconnect.maxAttempts` is reached, or `reconnect.enabled` is false. */
  | 'attempts'
  /** The node ended the connection for good. */
  | 'ended';

export type TransportName = 'websocket' | 'sse';

/** How the connection is. */
export type ConnectionState =
  /** Nobody needs it, or there is no token yet. */
  | { readonly status: 'idle' }
  /** For the first time. */
  | { readonly status: 'connecting' }
  /** All that is subscribed is live. `resumed`: an earlier connection goes on, and nothing was missed. */
  | {
      readonly status: 'connected';
      readonly resumed: boolean;
      readonly transport: TransportName;
      /** As in `welcome`: the connection's id, the user and the tenant. */
      readonly connection: string;
      readonly user: string;
      readonly tenant: string;
    }
  /** It was lost, or didn't come about. The next try is at `retryAt` (Unix ms), or under way when that is past. */
  | {
      readonly status: 'reconnecting';
      readonly attempt: number;
      readonly retryAt: number;
      readonly error: FanfareError;
    }
  | { readonly status: 'failed'; readonly reason: FailureReason; readonly error: FanfareError }
  /** By `disconnect()`. */
  | { readonly status: 'closed' };

/** How a channel is. */
export type ChannelState =
  /** Nobody listens. */
  | { readonly status: 'idle' }
  /** Asked for, or to be asked for as soon as there is a connection. */
  | { readonly status: 'subscribing' }
  | { readonly status: 'subscribed' }
  /** Refused. What is `retryable` is tried again by itself. */
  | { readonly status: 'failed'; readonly error: FanfareError };

/** Who is there. */
export interface Presence {
  /** `loading` until the list is there, and again after a gap. `crowded`: too many, so that only `count` is told. */
  readonly status: 'idle' | 'loading' | 'ready' | 'crowded' | 'failed';
  /** In the order in which they came, the client's own user among them. Empty when crowded. */
  readonly users: readonly Present[];
  readonly count: number;
  readonly error: FanfareError | undefined;
}

/** Somebody who is there. `info` is what the token's issuer says about her. */
export interface Present {
  readonly user: string;
  readonly info: unknown;
}

/** Figures about the connection, since the client was made. Refreshed once a second at most. */
export interface Health {
  /** The last round trip to the node, in ms. */
  readonly latencyMs: number | undefined;
  /** Unix ms of the last frame. */
  readonly lastMessageAt: number | undefined;
  /** Frames. */
  readonly received: number;
  readonly sent: number;
  /** Topics that are subscribed now, the node's own included. */
  readonly subscriptions: number;
  readonly reconnects: number;
  readonly gaps: number;
}
