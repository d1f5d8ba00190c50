/**
 * The narrow place between the client and the network: frames go through it, and nothing else. Another one, such as a worker
 * that all tabs share, need be no more than this.
 */

import type { ClientFrame, ServerFrame } from './frames.ts';

export interface Transport {
  /** Begins a connection. Whatever happens to it, and that it can't be had, is told to `hears`. */
  open(opening: Opening, hears: Hearing): Link;
}

export interface Opening {
  /** Of the WebSocket: other addresses are derived from it. */
  readonly url: string;
  readonly token: string;
  /** Topics that the node subscribes by itself, and the last positions seen of them. */
  readonly since: Readonly<Record<string, string>>;
  /** Topics that will be subscribed. */
  readonly topics: readonly string[];
}

export interface Hearing {
  frame(frame: ServerFrame): void;
  /** It had to begin anew by itself: `welcome` and all `subscribed` come again. */
  interrupted(): void;
  /** It only stands in for another transport, which can be had again. */
  dispensable(): void;
  /** It has ended, with a close code. The last thing that is told. */
  closed(code: number, reason: string): void;
}

export interface Link {
  send(frame: ClientFrame): void;
  /** Ends it without a word to `Hearing`. */
  close(): void;
}
