/** What is answered by its id: requests, publishes, pages of histories and of presence. */

import { FanfareError } from './error.ts';
import type { Answer, CallWithoutId, ClientFrame } from './frames.ts';

export interface CallOptions {
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Only over the connection that there is. Otherwise it waits for one. */
  isOnlineOnly?: boolean;
}

const NO_CONNECTION = 'no connection';
/** How long a call may take when nobody says, in ms. */
const TIMEOUT_MS = 10_000;
/** The node's own word for why nothing came is better than ours, so it shall come so much earlier, in ms. */
const NODE_EARLIER_MS = 250;

interface Pending {
  /** For people. */
  readonly what: string;
  readonly isSent: () => boolean;
  dispatch(): void;
  settle(answer: Answer | FanfareError): void;
}

export type Calls = ReturnType<typeof createCalls>;

/** `sizeOf`: a frame's bytes. */
export function createCalls(max: number, nextId: () => number, sizeOf: (frame: object) => number) {
  const waiting = new Map<number, Pending>();
  let send: ((frame: ClientFrame) => void) | undefined;
  /** Of a frame. */
  let bytesMax = 0;

  /** Resolves to the answer; rejects with what the node, the clock or the caller says. */
  function make<Op extends Answer['op']>(
    call: CallWithoutId,
    { timeoutMs = TIMEOUT_MS, signal, isOnlineOnly }: CallOptions = {},
  ): Promise<Extract<Answer, { op: Op }>> {
    return new Promise((resolve, reject) => {
      const what = `${call.op} ${call.op === 'request' ? call.method : call.topic}`;
      const id = nextId();
      const deadline = Date.now() + timeoutMs;
      let isSent = false;
      const settle = (answer: Answer | FanfareError) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        waiting.delete(id);
        if (answer instanceof FanfareError) {
          reject(answer);
        } else if (answer.op === 'error') {
          // In the words of the node, or of the backend, which may be for people.
          reject(new FanfareError(answer.code, answer.message));
        } else {
          resolve(answer as Extract<Answer, { op: Op }>);
        }
      };
      const fail = (code: string, message: string, options?: ErrorOptions) =>
        settle(new FanfareError(code, `${what}: ${message}`, options));
      const abort = () => fail('aborted', 'aborted', { cause: signal?.reason });
      const timer = setTimeout(
        () => (isSent ? fail('timeout', `no answer within ${timeoutMs} ms`) : fail('offline', NO_CONNECTION)),
        timeoutMs,
      );
      if (signal?.aborted) {
        return abort();
      }
      if (isOnlineOnly && !send) {
        return fail('offline', NO_CONNECTION);
      }
      if (waiting.size >= max) {
        return fail('rate_limited', `maxPendingRequests (${max})`);
      }
      signal?.addEventListener('abort', abort);
      const dispatch = () => {
        if (!send || isSent) {
          return;
        }
        isSent = true;
        const timeout_ms = Math.max(1, deadline - Date.now() - NODE_EARLIER_MS);
        const frame = call.op === 'request' ? { ...call, id, timeout_ms } : { ...call, id };
        try {
          if (sizeOf(frame) > bytesMax) {
            // The node would end the connection.
            return fail('too_large', `over ${bytesMax} bytes`);
          }
          send(frame);
        } catch (thrown) {
          // What has no place in a frame, such as a circle.
          fail('bad_frame', String(thrown));
        }
      };
      waiting.set(id, { what, isSent: () => isSent, dispatch, settle });
      dispatch();
    });
  }

  /** Settles those. */
  function end(code: string, message: string, isSuch: (pending: Pending) => boolean): void {
    for (const pending of [...waiting.values()].filter(isSuch)) {
      pending.settle(new FanfareError(code, `${pending.what}: ${message}`));
    }
  }

  return {
    make,
    /** There is a connection: what waited for one is sent. */
    begin(frameBytes: number, sending: (frame: ClientFrame) => void): void {
      send = sending;
      bytesMax = frameBytes;
      for (const { dispatch } of [...waiting.values()]) {
        dispatch();
      }
    },
    /** The connection is lost: nobody knows what became of what was sent. */
    interrupt(): void {
      send = undefined;
      end('connection_lost', 'connection lost; it may have been done', ({ isSent }) => isSent());
    },
    /** The client was disconnected: nothing waits any longer. */
    abandon(): void {
      end('offline', 'disconnected', () => true);
    },
    /** Says whether somebody waited for it. */
    answered(answer: Answer): boolean {
      const pending = answer.id === undefined ? undefined : waiting.get(answer.id);
      pending?.settle(answer);
      return pending !== undefined;
    },
  };
}
