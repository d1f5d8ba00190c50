/** What each application of the backend is given: routes, methods, a way to publish, and chance to live by. */

import type { EventOf, Topic, Worker } from '@fanfare/server';
import type { Events, Methods } from '../src/contract.ts';
import type { Routes } from './http.ts';
import type { Random } from './random.ts';

export interface World {
  readonly routes: Routes;
  readonly worker: Worker<Methods>;
  readonly random: Random;
  /** Publishes to whoever is connected now. */
  publish(topic: Topic, event: EventOf<Events>): void;
  /** Publishes, and keeps the event for those who come back later. */
  publishDurable(topic: Topic, event: EventOf<Events>): void;
  /** Does something about every so many ms, so that there is life. */
  every(ms: number, change: () => void): void;
  /** Does something once, in so many ms. */
  after(ms: number, change: () => void): void;
}
