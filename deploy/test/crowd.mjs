/** Many pages: clients of the TypeScript library that come through the balancer and check each event's number. */

import { createRequire } from 'node:module';
import { createClient } from '../../clients/typescript/dist/index.js';

const { WebSocket } = createRequire(new URL('../../clients/typescript/package.json', import.meta.url))('ws');

/** The library passes over what it has seen, so it is looked for below it: a position that comes twice on one connection. */
function watchedWebSocket(member, figures) {
  return class extends WebSocket {
    constructor(...args) {
      super(...args);
      member.socket = this;
      const positions = new Set();
      this.on('message', (data) => {
        const { op, topic, position } = JSON.parse(data);
        if (op !== 'event' || !position) return;
        const place = `${topic} ${position}`;
        if (positions.has(place)) figures.repeated += 1;
        positions.add(place);
      });
    }
  };
}

export class Crowd {
  /** Sums over all clients. Lost: numbers that were left out, told or not. */
  figures = { lost: 0, duplicated: 0, repeated: 0, gaps: {}, errors: {} };
  #members = [];

  /** `size` clients, each on one of the channels. */
  constructor({ url, token, size, channels }) {
    for (let index = 0; index < size; index += 1) {
      this.#members.push(this.#member(`${index % channels}`, url, token));
    }
  }

  #member(channel, url, token) {
    const { figures } = this;
    const member = { channel: Number(channel), seen: 0, isAway: false };
    member.client = createClient({
      // Nobody listens at port 1.
      url: () => (member.isAway ? 'ws://127.0.0.1:1/ws' : url),
      getToken: () => token,
      transports: ['websocket'],
      durable: ['channel:*'],
      reconnect: { minDelayMs: 200, maxDelayMs: 2000 },
      WebSocket: watchedWebSocket(member, figures),
    });
    const subscribed = member.client.channel(channel);
    subscribed.on('numbered', ({ data: number }) => {
      if (number <= member.seen) figures.duplicated += 1;
      else figures.lost += number - member.seen - 1;
      member.seen = Math.max(member.seen, number);
    });
    const count = (of, name) => {
      of[name] = (of[name] ?? 0) + 1;
    };
    member.client.onGap(({ topic, lost, reason }) => topic === subscribed.topic && count(figures.gaps, `${lost} (${reason})`));
    member.client.onError(({ code }) => count(figures.errors, code));
    return member;
  }

  get size() {
    return this.#members.length;
  }

  /** How many are connected, with all that they missed. */
  get live() {
    return this.#members.filter(({ client }) => client.state.get().status === 'connected').length;
  }

  /** How often a connection was lost and made again. */
  get reconnects() {
    return this.#members.reduce((sum, { client }) => sum + client.health.get().reconnects, 0);
  }

  /** The first `count` clients lose their network, until `comeBack()`. */
  goAway(count) {
    for (const member of this.#members.slice(0, count)) {
      member.isAway = true;
      member.socket.terminate();
    }
  }

  comeBack() {
    for (const member of this.#members) member.isAway = false;
  }

  /** How many have seen everything up to these numbers. */
  caughtUp(last) {
    return this.#members.filter(({ channel, seen }) => seen === last[channel]).length;
  }

  leave() {
    for (const { client } of this.#members) client.disconnect();
  }
}
