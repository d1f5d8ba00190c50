/** Stands in for a node: writes requests into the stream, and hears the answers. */

import { Redis } from 'ioredis';
import type { RedisServer } from './redis.ts';
import { until } from './until.ts';

export interface Asked {
  method: string;
  /** JSON text. */
  data?: string;
  /** Unix ms. */
  deadline?: number;
  replyTo?: string;
  traceparent?: string;
}

interface Answer {
  request: string;
  data?: unknown;
  error?: { code: string; message: string };
}

/** All answers of one Redis. */
export class Replies {
  readonly #answers: Answer[] = [];

  private constructor(
    private readonly commands: Redis,
    private readonly subscriber: Redis,
  ) {}

  static async of(server: RedisServer): Promise<Replies> {
    const [commands, subscriber] = [new Redis(server.port, '127.0.0.1'), new Redis(server.port, '127.0.0.1')];
    const replies = new Replies(commands, subscriber);
    for (const connection of [commands, subscriber]) {
      connection.on('error', () => {});
    }
    subscriber.on('pmessage', (_pattern, _channel, text) => replies.#answers.push(JSON.parse(text)));
    await subscriber.psubscribe('fanfare:*:replies:*');
    return replies;
  }

  /** Makes a request, as user 42. */
  async ask(tenant: string, request: string, asked: Asked): Promise<void> {
    const {
      method,
      data = 'null',
      deadline = Date.now() + 30_000,
      replyTo = `fanfare:${tenant}:replies:n1`,
      traceparent,
    } = asked;
    const fields = { request, method, data, user: '42', connection: 'c1', reply_to: replyTo, deadline_ms: deadline };
    const all = Object.entries({ ...fields, ...(traceparent && { traceparent }) }).flat();
    await this.commands.xadd(`fanfare:${tenant}:requests`, 'MAXLEN', '~', '1000', '*', ...all);
  }

  /** Forgets the answers of earlier tests. */
  forget(): void {
    this.#answers.length = 0;
  }

  all(request: string): Answer[] {
    return this.#answers.filter((answer) => answer.request === request);
  }

  to(request: string): Promise<Answer> {
    return until(`an answer to ${request}`, () => this.all(request)[0]);
  }

  close(): void {
    this.commands.disconnect();
    this.subscriber.disconnect();
  }
}
