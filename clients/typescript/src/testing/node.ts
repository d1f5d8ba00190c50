/** What all connections of the fake gateway share: topics, presence, tokens, and the backends behind it. */

import { type Envelope, type Frame, Refusal } from './frame.ts';
import { Grants } from './grants.ts';
import { History } from './history.ts';
import { Network } from './network.ts';
import { Presences, type Present } from './presences.ts';
import type { Session } from './session.ts';

/** Who asks. */
export interface Asker {
  readonly user: string;
  /** The id of the connection; empty when the request came over HTTP. */
  readonly connection: string;
  readonly traceparent: string | undefined;
}

export type Handler = (data: unknown, asker: Asker) => unknown;

export interface NodeOptions {
  readonly user: string;
  readonly tenant: string;
  readonly durable: readonly string[];
  readonly tokenTtlMs: number;
  readonly pingMs: number;
  readonly answerEvents: number;
  readonly crowd: number;
}

/** The first epoch; further ones are higher. */
const EPOCH = 1_767_225_600_000_000;

export class FakeNode {
  readonly network = new Network();
  readonly grants: Grants;
  readonly sessions = new Set<Session>();
  readonly handlers = new Map<string, Handler>();
  /** Topics and methods that are refused, whatever the token says. */
  readonly refused = new Map<string, { code: string; message: string }>();
  readonly received: Frame[] = [];
  opened = 0;
  readonly #histories = new Map<string, History>();
  readonly #presences = new Presences();
  #epochs = 0;
  #names = 0;

  constructor(readonly options: NodeOptions) {
    this.grants = new Grants(options.user, options.tokenTtlMs);
  }

  /** A name for the next connection. */
  name(): string {
    this.#names += 1;
    return `fake-${this.#names}`;
  }

  /** Throws when a topic or a method is refused. */
  check(subject: string, topic?: string): void {
    const refused = this.refused.get(subject);
    if (refused) {
      throw new Refusal(refused.code, refused.message, topic);
    }
  }

  history(topic: string): History {
    return this.#histories.get(topic) ?? this.newHistory(topic);
  }

  /** The topic's history begins anew. */
  newHistory(topic: string): History {
    const history = new History(String(EPOCH + this.#epochs));
    this.#epochs += 1;
    this.#histories.set(topic, history);
    return history;
  }

  isDurable(topic: string): boolean {
    return this.options.durable.includes(topic);
  }

  /** Delivers an event, and keeps it if it is durable. Returns its position then, which is told to `kept` before it is delivered. */
  publish(
    topic: string,
    event: Envelope,
    isDurable: boolean,
    kept: (position: string | undefined) => void = () => {},
  ): string | undefined {
    const published = structuredClone(event);
    const position = isDurable || this.isDurable(topic) ? this.history(topic).add(published) : undefined;
    kept(position);
    for (const session of this.#on(topic)) {
      if (published.except !== session.id) {
        session.send({ op: 'event', topic, ...(position && { position }), event: published });
      }
    }
    return position;
  }

  /** Tells everybody on a topic. */
  tell(topic: string, frame: Frame): void {
    for (const session of this.#on(topic)) {
      session.send(frame);
    }
  }

  enter(topic: string, present: Present, because: unknown): void {
    if (this.#presences.enter(topic, present, because)) {
      this.#tellPresence('joined', topic, present);
    }
  }

  leave(topic: string, user: string, because: unknown): void {
    const gone = this.#presences.leave(topic, user, because);
    if (gone) {
      this.#tellPresence('left', topic, gone);
    }
  }

  /** A page of those who are there, as the frame `presence` has it. */
  present(topic: string, limit: number, cursor: number): Omit<Frame, 'op'> {
    return { topic, count: this.#presences.count(topic), ...this.#presences.page(topic, limit, cursor) };
  }

  #tellPresence(op: 'joined' | 'left', topic: string, { user, info }: Present): void {
    const count = this.#presences.count(topic);
    const isCrowded = count > this.options.crowd;
    for (const session of [...this.sessions].filter((session) => session.watches(topic))) {
      if (isCrowded) {
        session.send({ op: 'presence', topic, count });
      } else if (session.user !== user) {
        session.send({ op, topic, user, ...(info !== undefined && { info }) });
      }
    }
  }

  #on(topic: string): Session[] {
    return [...this.sessions].filter((session) => session.topics.has(topic));
  }
}
