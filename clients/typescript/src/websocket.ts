/** Frames over a WebSocket: the token goes in the first one, where no log sees it. */

import type { ClientFrame, ServerFrame } from './frames.ts';
import type { Codec, WebSocketConstructor, WebSocketLike } from './options.ts';
import type { Transport } from './transport.ts';

/** What a node takes before it knows the token, less some room for the rest of the frame. */
const AUTH_BYTES_MAX = 7_900;
const OPEN = 1;
const CLOSED = 3;

export function webSocketTransport(codec: Codec, WebSocket: WebSocketConstructor): Transport {
  return {
    open({ url, token, since }, hears) {
      let socket: WebSocketLike | undefined;
      const send = (frame: ClientFrame) => {
        if (socket?.readyState === OPEN) {
          socket.send(codec.encode(frame));
        }
      };
      const close = () => {
        if (socket) {
          socket.onopen = socket.onmessage = socket.onclose = null;
          socket.close(1000);
        }
      };
      const fail = (code: number, reason: string) => {
        close();
        hears.closed(code, reason);
      };
      try {
        socket = new WebSocket(url, [codec.subprotocol]);
        socket.binaryType = 'arraybuffer';
        socket.onopen = () => {
          // What doesn't fit is left out: topics without a position are told as gaps.
          const fits = token.length + 3 * JSON.stringify(since).length < AUTH_BYTES_MAX;
          send({ op: 'auth', token, ...(fits && { since }) });
        };
        socket.onmessage = ({ data }: { data: string | ArrayBuffer }) => {
          let frame: ServerFrame;
          try {
            frame = codec.decode(data) as ServerFrame;
          } catch (thrown) {
            return fail(1007, `a frame that can't be read: ${thrown}`);
          }
          hears.frame(frame);
        };
        socket.onclose = ({ code, reason }: { code: number; reason: string }) => fail(code, reason);
        // `onclose` comes first, unless the page's policy forbids the address: then nothing else comes.
        socket.onerror = () => setTimeout(() => socket?.readyState === CLOSED && fail(1006, 'no WebSocket'));
      } catch (thrown) {
        // An address that is none, or a page that may not connect there.
        queueMicrotask(() => fail(1006, String(thrown)));
      }
      return { send, close };
    },
  };
}
