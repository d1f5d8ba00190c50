/** The bare wire to a fake gateway, without the client: for tests of the gateway itself. */

import type { FakeGateway, Frame } from '@fanfare/client/testing';
import type { Codec } from '../../src/options.ts';
import { settle } from './settle.ts';

// biome-ignore lint/suspicious/noExplicitAny: frames are whatever the gateway sends
type AnyFrame = any;

/** A socket that keeps what it is sent. */
export interface Wire {
  readonly frames: AnyFrame[];
  readonly closes: { code: number; reason: string }[];
  send(frame: Frame): Promise<void>;
  /** What came since the last call. */
  news(): AnyFrame[];
  close(code?: number): void;
}

const json: Codec = {
  subprotocol: 'fanfare.v1.json',
  encode: (frame) => JSON.stringify(frame),
  decode: (message) => JSON.parse(message as string),
};

/** Opens a socket, without a token yet. */
export async function wireTo(gateway: FakeGateway, codec: Codec = json): Promise<Wire> {
  const socket = new gateway.WebSocket(gateway.url, [codec.subprotocol]);
  socket.binaryType = 'arraybuffer';
  const frames: AnyFrame[] = [];
  const closes: Wire['closes'] = [];
  let seen = 0;
  socket.onmessage = ({ data }) => frames.push(codec.decode(data));
  socket.onclose = ({ code, reason }) => closes.push({ code, reason });
  await settle();
  return {
    frames,
    closes,
    async send(frame) {
      socket.send(codec.encode(frame));
      await settle();
    },
    news() {
      const news = frames.slice(seen);
      seen = frames.length;
      return news;
    },
    close: (code) => socket.close(code),
  };
}

/** Opens a socket and is welcomed. */
export async function welcomed(gateway: FakeGateway, token = gateway.token()): Promise<Wire> {
  const wire = await wireTo(gateway);
  await wire.send({ op: 'auth', token });
  wire.news();
  return wire;
}
