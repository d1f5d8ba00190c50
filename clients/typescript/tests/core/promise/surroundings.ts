/** A gateway and the network in front of it, to both of which things happen. */

import type { Off } from '@fanfare/client';
import { createFakeGateway, type FakeGateway } from '@fanfare/client/testing';
import type { Random } from './random.ts';
import type { Topics } from './topics.ts';

export class Surroundings {
  readonly gateway: FakeGateway;
  readonly #topics: Topics;
  readonly #say: (what: string) => void;
  readonly #refusals: Off[] = [];
  /** Connections that were frozen: nothing will ever come from them. */
  readonly #dead = new Set<string>();
  #isFrozen = false;
  /** The last message of a slower network has arrived by then, Unix ms. */
  #quietAt = 0;

  constructor(random: Random, topics: Topics, say: (what: string) => void) {
    this.#topics = topics;
    this.#say = say;
    this.gateway = createFakeGateway({
      durable: ['channel:audit'],
      answerEvents: 2 + random.below(3),
      tokenTtlMs: random.pick([40_000, 600_000]),
      pingMs: 10_000,
    });
  }

  /** Connections from which something may come. */
  alive(): FakeGateway['connections'] {
    return this.gateway.connections.filter(({ id }) => !this.#dead.has(id));
  }

  isOverWebSocket(): boolean {
    const alive = this.alive();
    return alive.length > 0 && alive.every(({ transport }) => transport === 'websocket');
  }

  /** Whether what is said on this connection arrives. */
  reaches(connection: string): boolean {
    return !this.#isFrozen && !this.#dead.has(connection);
  }

  /** Nothing is under way but what is said now. */
  isQuiet(): boolean {
    return !this.#isFrozen && Date.now() >= this.#quietAt && this.gateway.latencyMs === 0;
  }

  /** Until the last message of a slower network has arrived. */
  quietInMs(): number {
    return Math.max(0, this.#quietAt - Date.now());
  }

  drop(draw: Random): void {
    const code = draw.pick([1006, 1006, 1001, 1011, 1012, 1013, 4408, 4413, 4429]);
    this.#say(`connections drop with ${code}`);
    this.gateway.drop(code);
  }

  farewell(draw: Random): void {
    const code = draw.pick([1012, 1012, 1013, 1011, 1000, 4403, 4400]);
    const after_ms = draw.chance(0.5) ? draw.below(20_000) : 0;
    this.#say(`farewell ${code}, after ${after_ms} ms`);
    this.gateway.disconnect({ code, after_ms });
  }

  freeze(): void {
    this.#say('the network is dead');
    this.#isFrozen = true;
    for (const { id } of this.gateway.connections) {
      this.#dead.add(id);
    }
    this.gateway.freeze();
  }

  thaw(): void {
    if (this.#isFrozen) {
      this.#say('the network is back');
      // What was opened meanwhile would come to life.
      this.gateway.freeze();
      this.gateway.thaw();
      this.#isFrozen = false;
    }
  }

  stop(): void {
    this.#say('the gateway stops');
    this.gateway.stop();
  }

  start(): void {
    this.gateway.start();
  }

  block(draw: Random): void {
    this.#say('WebSockets are blocked');
    this.gateway.blocksWebSockets = true;
    if (draw.chance(0.7)) {
      this.gateway.drop();
    }
  }

  unblock(): void {
    this.gateway.blocksWebSockets = false;
  }

  slow(draw: Random): void {
    this.#setLatency(draw.pick([0, 5, 40, 700, 700, 2_000]));
  }

  #setLatency(ms: number): void {
    this.#say(`messages take ${ms} ms`);
    this.#quietAt = Math.max(this.#quietAt, Date.now() + 6 * this.gateway.latencyMs);
    this.gateway.latencyMs = ms;
  }

  trim(draw: Random): void {
    const [topic, keep] = [this.#topics.any(draw), draw.below(4)];
    this.#say(`${topic} keeps ${keep} events`);
    this.gateway.trim(topic, keep);
  }

  forget(draw: Random): void {
    const topic = this.#topics.any(draw);
    this.#say(`${topic} begins anew`);
    this.gateway.forget(topic);
  }

  gap(draw: Random): void {
    const topic = this.#topics.any(draw);
    this.gateway.gap(topic, draw.pick([{}, { lost: 'all', reason: 'expired' }]));
  }

  refuse(draw: Random): void {
    const [name, code] = [this.#topics.anyChannel(draw), draw.pick(['unavailable', 'unavailable', 'forbidden'])];
    this.#say(`channel:${name} is refused as ${code}`);
    this.#refusals.push(this.gateway.refuse(`channel:${name}`, code));
  }

  allow(): void {
    for (const allow of this.#refusals.splice(0)) {
      allow();
    }
  }

  refuseToken(): void {
    this.#say('the next token is refused');
    this.gateway.refuseTokens(1);
  }

  expireTokens(): void {
    this.#say('all tokens expire');
    this.gateway.expireTokens();
  }

  /** Everything is well again, perhaps but for WebSockets. */
  heal(random: Random): void {
    this.thaw();
    this.start();
    if (random.chance(0.5)) {
      this.unblock();
    }
    this.allow();
    this.gateway.refuseTokens(0);
    this.#setLatency(0);
  }
}
