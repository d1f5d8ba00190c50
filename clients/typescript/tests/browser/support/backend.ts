/** An app's backend, as far as Redis sees it: it publishes, and answers requests. */

import { Redis } from 'ioredis';
import { afterAll } from 'vitest';
import { until } from '../../support/until.ts';
import type { RedisServer } from './redis.ts';

const started: Backend[] = [];

afterAll(() => {
  for (const backend of started) {
    backend.close();
  }
});

/** An event that was published. */
export interface Published {
  id: string;
  topic: string;
  type: string;
  durable: boolean;
}

/** Answers a request; what it throws is the request's error. */
export type Handler = (input: unknown, user: string) => unknown;

/** The refusal of a request. */
export class Refusal extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** The backend of one tenant. */
export class Backend {
  /** Everything, in the order in which Redis took it. */
  readonly published: Published[] = [];
  readonly #redis: Redis;
  readonly #reader: Redis;
  readonly #handlers = new Map<string, Handler>();
  #closed = false;

  private constructor(
    server: RedisServer,
    private readonly tenant: string,
  ) {
    const options = { maxRetriesPerRequest: null, retryStrategy: () => 20 };
    this.#redis = new Redis(server.port, '127.0.0.1', options);
    this.#reader = new Redis(server.port, '127.0.0.1', options);
    for (const connection of [this.#redis, this.#reader]) {
      // Redis comes and goes in the tests; commands tell of what fails.
      connection.on('error', () => {});
    }
    started.push(this);
  }

  /** One that answers requests from now on. */
  static async start(server: RedisServer, tenant: string): Promise<Backend> {
    const backend = new Backend(server, tenant);
    await backend.#joinGroup();
    backend.#work();
    return backend;
  }

  /** Resolves when Redis has the functions that it publishes with: a node loads them. */
  async ready(): Promise<void> {
    await until('the functions are loaded', async () => {
      const libraries = await this.#redis.function('LIST', 'LIBRARYNAME', 'fanfare');
      return Array.isArray(libraries) && libraries.length > 0;
    });
  }

  /** Publishes an event for whoever is connected. */
  async publish(topic: string, type: string, data: unknown = null): Promise<void> {
    const id = this.#nextId();
    await this.#redis.publish(`fanfare:${this.tenant}:${topic}`, JSON.stringify({ type, data, id }));
    this.published.push({ id, topic, type, durable: false });
  }

  /** Publishes an event that is kept for those who are away. */
  async keep(topic: string, type: string, data: unknown = null): Promise<void> {
    const id = this.#nextId();
    const event = JSON.stringify({ type, data, id });
    await this.#redis.fcall('fanfare_publish', 1, `fanfare:${this.tenant}:${topic}`, event);
    this.published.push({ id, topic, type, durable: true });
  }

  /** Answers requests of this method from now on. */
  answer(method: string, handler: Handler): void {
    this.#handlers.set(method, handler);
  }

  close(): void {
    this.#closed = true;
    this.#redis.disconnect();
    this.#reader.disconnect();
  }

  #nextId(): string {
    return `e${this.published.length + 1}`;
  }

  get #stream(): string {
    return `fanfare:${this.tenant}:requests`;
  }

  async #joinGroup(): Promise<void> {
    await this.#redis.xgroup('CREATE', this.#stream, 'app', '$', 'MKSTREAM');
  }

  async #work(): Promise<void> {
    while (!this.#closed) {
      try {
        const read = await this.#reader.xreadgroup(
          ...(['GROUP', 'app', 'worker', 'COUNT', 10, 'BLOCK', 1000, 'STREAMS', this.#stream, '>'] as const),
        );
        for (const [, entries] of (read ?? []) as [string, [string, string[]][]][]) {
          await Promise.all(entries.map(([entry, fields]) => this.#take(entry, fieldsOf(fields))));
        }
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  /** After Redis has lost everything, the group has to be made anew. */
  async #recover(error: unknown): Promise<void> {
    if (!this.#closed && String(error).includes('NOGROUP')) {
      await this.#joinGroup();
    }
  }

  async #take(entry: string, fields: Record<string, string>): Promise<void> {
    const { request, method = '', data = 'null', user = '', reply_to: replyTo = '' } = fields;
    const answer = await this.#outcome(method, JSON.parse(data), user);
    await this.#redis.publish(replyTo, JSON.stringify({ request, ...answer }));
    await this.#redis.xack(this.#stream, 'app', entry);
  }

  async #outcome(method: string, input: unknown, user: string): Promise<object> {
    try {
      const handler = this.#handlers.get(method);
      if (!handler) {
        throw new Refusal('bad_frame', `there is no method ${method}`);
      }
      return { data: (await handler(input, user)) ?? null };
    } catch (error) {
      const code = error instanceof Refusal ? error.code : 'internal';
      return { error: { code, message: String(error) } };
    }
  }
}

function fieldsOf(flat: string[]): Record<string, string> {
  const pairs = flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1] ?? ''] as const] : []));
  return Object.fromEntries(pairs);
}
