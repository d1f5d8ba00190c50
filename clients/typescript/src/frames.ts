/** What client and node say to each other (docs/protocol.md). */

/** An event as it was published. */
export type Envelope = Readonly<Record<string, unknown>>;

/** How a topic stands: in `subscribed`, and in `welcome.topics`. */
export interface Standing {
  readonly topic: string;
  readonly position: string;
  readonly recovered?: boolean;
  readonly reason?: string;
  readonly events?: readonly { readonly position: string; readonly event: Envelope }[];
  readonly more?: boolean;
  /** Only durable events are published here: the operator's rule says so. */
  readonly durable?: boolean | undefined;
}

export interface Welcome {
  readonly op: 'welcome';
  readonly connection: string;
  readonly tenant: string;
  readonly user: string;
  readonly expires_at: number;
  readonly server_time: number;
  readonly ping_ms: number;
  readonly limits: { readonly message_bytes: number };
  readonly topics: readonly Standing[];
}

export interface Disconnect {
  readonly op: 'disconnect';
  readonly code: number;
  readonly reason: string;
  readonly reconnect: boolean;
  readonly after_ms?: number;
}

export interface ErrorFrame {
  readonly op: 'error';
  readonly id?: number;
  readonly topic?: string;
  readonly code: string;
  readonly message: string;
}

export interface GapFrame {
  readonly op: 'gap';
  readonly topic: string;
  readonly lost: 'ephemeral' | 'all';
  readonly reason: string;
  readonly since?: string;
  readonly position?: string;
}

export interface EventFrame {
  readonly op: 'event';
  readonly topic: string;
  readonly position?: string;
  readonly event: Envelope;
  readonly traceparent?: string;
}

export interface PresenceFrame {
  readonly op: 'presence';
  readonly id?: number;
  readonly topic: string;
  readonly count: number;
  readonly cursor?: string;
  readonly users?: readonly { readonly user: string; readonly info?: unknown }[];
}

export interface HistoryFrame {
  readonly op: 'history';
  readonly id: number;
  readonly topic: string;
  readonly more: boolean;
  readonly events: readonly { readonly position: string; readonly event: Envelope }[];
}

/** From the node. A client ignores those that it doesn't know. */
export type ServerFrame =
  | Welcome
  | (Standing & { readonly op: 'subscribed'; readonly id?: number })
  | { readonly op: 'unsubscribed'; readonly id?: number; readonly topic: string; readonly code?: string }
  | { readonly op: 'published'; readonly id: number; readonly position?: string }
  | { readonly op: 'reply'; readonly id: number; readonly data: unknown }
  | { readonly op: 'renewed'; readonly expires_at: number }
  | { readonly op: 'joined' | 'left'; readonly topic: string; readonly user: string; readonly info?: unknown }
  | { readonly op: 'ping' | 'pong' }
  | Disconnect
  | ErrorFrame
  | GapFrame
  | EventFrame
  | PresenceFrame
  | HistoryFrame;

/** An answer to a call, by its `id`. */
export type Answer = Extract<ServerFrame, { op: 'published' | 'reply' | 'presence' | 'history' | 'error' }>;

export interface TopicWish {
  readonly topic: string;
  readonly since?: string;
  readonly presence?: true;
}

/** To the node. */
export type ClientFrame =
  | { readonly op: 'auth'; readonly token: string; readonly since?: Readonly<Record<string, string>> }
  | { readonly op: 'subscribe'; readonly id: number; readonly topics: readonly TopicWish[] }
  | { readonly op: 'unsubscribe'; readonly id: number; readonly topic: string }
  | { readonly op: 'ping' | 'pong' }
  | Call;

/** What is answered by its `id`. */
export type Call = { readonly id: number } & CallWithoutId;

export type CallWithoutId =
  | { readonly op: 'publish'; readonly topic: string; readonly event: Envelope; readonly durable?: boolean }
  | {
      readonly op: 'request';
      readonly method: string;
      readonly data?: unknown;
      readonly timeout_ms?: number;
      readonly traceparent?: string;
    }
  | { readonly op: 'presence'; readonly topic: string; readonly limit?: number; readonly cursor?: string }
  | { readonly op: 'history'; readonly topic: string; readonly limit: number; readonly before?: string };
