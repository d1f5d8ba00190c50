/** A backend: publishes numbered durable events on Redis all the time, and doesn't give up on one until Redis has it. */

import { createRequire } from 'node:module';
import { sleep } from './until.mjs';

const { Redis } = createRequire(new URL('../../clients/typescript/package.json', import.meta.url))('ioredis');
/** How long an event may take, outages included, in ms. */
const PATIENCE_MS = 300_000;

export class Feed {
  /** The number of the last event of each channel. */
  last;
  #redis;
  #running;
  #isWanted = true;

  /** Publishes to `channels` channels in turn, an event every `everyMs`. */
  constructor({ host, channels, everyMs }) {
    this.last = new Array(channels).fill(0);
    this.#redis = new Redis({ host, maxRetriesPerRequest: null, retryStrategy: () => 100 });
    // A connection that breaks is made again.
    this.#redis.on('error', () => {});
    this.#running = this.#run(everyMs);
    // Told by stop().
    this.#running.catch(() => {});
  }

  get published() {
    return this.last.reduce((sum, number) => sum + number, 0);
  }

  /** Resolves when the last event is in Redis, to how many it has of all channels. */
  async stop() {
    this.#isWanted = false;
    await this.#running;
    const kept = await Promise.all(this.last.map((_, channel) => this.#redis.xlen(`fanfare:acme:channel:${channel}`)));
    this.#redis.disconnect();
    return kept.reduce((sum, number) => sum + number, 0);
  }

  async #run(everyMs) {
    for (let turn = 0; this.#isWanted; turn += 1) {
      const channel = turn % this.last.length;
      await this.#publish(channel, this.last[channel] + 1);
      this.last[channel] += 1;
      await sleep(everyMs);
    }
  }

  /** With the same id it is published once, however often it is sent. */
  async #publish(channel, number) {
    const deadline = performance.now() + PATIENCE_MS;
    const event = JSON.stringify({ type: 'numbered', data: number });
    for (;;) {
      try {
        const topic = `fanfare:acme:channel:${channel}`;
        await this.#redis.call('FCALL', 'fanfare_publish', '1', topic, event, 'id', `${number}`, 'maxlen', '100000');
        return;
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await sleep(100);
      }
    }
  }
}
