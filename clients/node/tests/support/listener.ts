/** A client of a node, over a WebSocket, with a token of this library's making. */

import { WebSocket } from 'ws';
import { mintToken, type TokenGrant } from '../../src/token.ts';
import { type FanfareNode, SECRET } from './node.ts';
import { until } from './until.ts';

// biome-ignore lint/suspicious/noExplicitAny: frames are whatever the node sends
export type Frame = any;

/** A connected client that keeps every frame. */
export class Listener {
  readonly frames: Frame[] = [];

  private constructor(private readonly socket: WebSocket) {}

  /** Connects as user 42 of acme, who may subscribe to every channel. */
  static async connect(node: FanfareNode, grant: Partial<TokenGrant> = {}): Promise<Listener> {
    const token = await mintToken({ secret: SECRET, tenant: 'acme', user: '42', channels: ['**'], ...grant });
    const socket = new WebSocket(node.websocketUrl, ['fanfare.v1.json', `fanfare.token.${token}`]);
    const listener = new Listener(socket);
    socket.on('message', (data) => {
      const frame = JSON.parse(String(data));
      listener.frames.push(frame);
      if (frame.op === 'ping') {
        listener.send({ op: 'pong' });
      }
    });
    await listener.frame('welcome', ({ op }) => op === 'welcome' || op === 'disconnect');
    return listener;
  }

  send(frame: object): void {
    this.socket.send(JSON.stringify(frame));
  }

  /** The first frame that is such. */
  frame(what: string, isSuch: (frame: Frame) => boolean): Promise<Frame> {
    return until(`a frame: ${what}`, () => this.frames.find(isSuch));
  }

  /** Resolves when events of the topic arrive from now on. */
  async subscribe(topic: string): Promise<Frame> {
    this.send({ op: 'subscribe', id: 1, topic });
    return this.frame(`subscribed to ${topic}`, (frame) => frame.op === 'subscribed' && frame.topic === topic);
  }

  /** The event of this type, as soon as it is there. */
  event(type: string): Promise<Frame> {
    return this.frame(`the event ${type}`, ({ op, event }) => op === 'event' && event.type === type);
  }

  /** The types of all events of a topic, in order. */
  typesOf(topic: string): string[] {
    return this.frames.filter((frame) => frame.op === 'event' && frame.topic === topic).map(({ event }) => event.type);
  }

  close(): void {
    this.socket.terminate();
  }
}
