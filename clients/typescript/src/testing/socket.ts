/** A `WebSocket` as browsers have it, whose other end is the fake gateway. */

import type { Codec, WebSocketConstructor, WebSocketLike } from '../options.ts';
import type { FakeNode } from './node.ts';
import { type Peer, Session } from './session.ts';

const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

const MESSAGE_BYTES_MAX = 65_536;
const FIRST_MESSAGE_BYTES_MAX = 8_192;
const REASON_BYTES_MAX = 123;

const json: Codec = {
  subprotocol: 'fanfare.v1.json',
  encode: (frame) => JSON.stringify(frame),
  decode: (message) => JSON.parse(message as string),
};

/** The constructor of the sockets of one gateway. */
export function webSocketTo(node: FakeNode, codecs: readonly Codec[]): WebSocketConstructor {
  return class FakeWebSocket implements WebSocketLike {
    static readonly CONNECTING = CONNECTING;
    static readonly OPEN = OPEN;
    static readonly CLOSING = CLOSING;
    static readonly CLOSED = CLOSED;

    binaryType = 'blob';
    protocol = '';
    readyState = CONNECTING;
    bufferedAmount = 0;
    onopen: ((event: { type: 'open' }) => void) | null = null;
    onmessage: ((event: { type: 'message'; data: string | ArrayBuffer | Blob }) => void) | null = null;
    onerror: ((event: { type: 'error' }) => void) | null = null;
    onclose: ((event: { type: 'close'; code: number; reason: string; wasClean: boolean }) => void) | null = null;
    readonly #toNode = node.network.way();
    readonly #toClient = node.network.way();
    readonly #codec: Codec;
    #session: Session | undefined;

    constructor(
      readonly url: string,
      protocols: string | string[] = [],
    ) {
      const offered = [protocols].flat();
      const wanted = offered.find((protocol) => /^fanfare\.v1\./.test(protocol));
      const codec = [json, ...codecs].find(({ subprotocol }) => subprotocol === (wanted ?? json.subprotocol));
      if (!codec) {
        throw new Error(`the fake gateway has no codec for ${wanted}: createFakeGateway({ codec })`);
      }
      this.#codec = codec;
      node.opened += 1;
      this.#toClient.send(() => this.#arrive(wanted ?? '', offered));
    }

    send(message: string | Uint8Array<ArrayBuffer>): void {
      if (this.readyState === CONNECTING) {
        throw new DOMException('Still in CONNECTING state.', 'InvalidStateError');
      }
      if (this.readyState !== OPEN || this.#toNode.isDead) {
        this.bufferedAmount += sizeOf(message);
        return;
      }
      const sent = typeof message === 'string' ? message : message.slice();
      this.#toNode.send(() => this.#receive(sent));
    }

    close(code?: number, reason = ''): void {
      if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
        throw new DOMException(`The close code ${code} is neither 1000 nor 3000 to 4999.`, 'InvalidAccessError');
      }
      if (sizeOf(reason) > REASON_BYTES_MAX) {
        throw new DOMException(`The reason has more than ${REASON_BYTES_MAX} bytes.`, 'SyntaxError');
      }
      if (this.readyState === CONNECTING) {
        this.readyState = CLOSING;
        this.#toClient.send(() => this.#fail());
      } else if (this.readyState === OPEN) {
        this.readyState = CLOSING;
        this.#toNode.send(() => {
          this.#session?.ended();
          this.#toClient.send(() => this.#closed(code ?? 1005, reason));
        });
      }
    }

    /** The handshake. */
    #arrive(protocol: string, offered: readonly string[]): void {
      if (this.readyState !== CONNECTING) {
        return;
      }
      if (node.network.isStopped || node.network.blocksWebSockets) {
        this.#fail();
        return;
      }
      this.readyState = OPEN;
      this.protocol = protocol;
      this.#session = new Session(node, this.#peer());
      this.onopen?.({ type: 'open' });
      const token = offered.find((offer) => offer.startsWith('fanfare.token.'))?.slice('fanfare.token.'.length);
      if (token !== undefined) {
        this.#session.do({ op: 'auth', token });
      }
    }

    #receive(message: string | Uint8Array<ArrayBuffer>): void {
      const isText = typeof message === 'string';
      if (isText !== (this.#codec.subprotocol === json.subprotocol)) {
        this.#session?.disconnect({ code: 1003 });
        return;
      }
      if (sizeOf(message) > (this.#session?.user === undefined ? FIRST_MESSAGE_BYTES_MAX : MESSAGE_BYTES_MAX)) {
        this.#session?.disconnect({ code: 1009 });
        return;
      }
      let frame: unknown;
      try {
        frame = this.#codec.decode(isText ? message : message.buffer);
      } catch {
        frame = undefined;
      }
      this.#session?.receive(frame);
    }

    #peer(): Peer {
      return {
        transport: 'websocket',
        send: (frame) => {
          const message = this.#codec.encode(frame);
          this.#toClient.send(() => this.#deliver(message));
        },
        close: (code, reason) => this.#toClient.send(() => this.#closed(code, reason)),
      };
    }

    #deliver(message: ReturnType<Codec['encode']>): void {
      if (this.readyState === OPEN) {
        const isBlob = typeof message !== 'string' && this.binaryType !== 'arraybuffer';
        const data = typeof message === 'string' ? message : isBlob ? new Blob([message]) : message.slice().buffer;
        this.onmessage?.({ type: 'message', data });
      }
    }

    #fail(): void {
      this.onerror?.({ type: 'error' });
      this.#closed(1006, '');
    }

    #closed(code: number, reason: string): void {
      if (this.readyState !== CLOSED) {
        this.readyState = CLOSED;
        this.onclose?.({ type: 'close', code, reason, wasClean: code !== 1006 });
      }
    }
  };
}

function sizeOf(message: string | Uint8Array): number {
  return typeof message === 'string' ? new TextEncoder().encode(message).length : message.length;
}
