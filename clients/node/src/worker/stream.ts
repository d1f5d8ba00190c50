/**
 * The streams of requests and their consumer group, as Redis commands. Deliberately without any decision on when they are
 * sent, and blind to what the entries say.
 */

import { wordsOf } from '../errors.ts';
import type { Command, OwnConnection, RedisClient } from '../redis/client.ts';
import { refusalOf } from '../redis/failure.ts';
import type { Entry } from './request.ts';

/** How long a consumer has been gone when it is taken out of the group. Far beyond any pause of a process that lives. */
const GONE_MS = 3_600_000;

/** The streams `<prefix>:<tenant>:requests`, for one consumer of one group. */
export class RequestStreams {
  constructor(
    private readonly redis: RedisClient,
    private readonly prefix: string,
    private readonly group: string,
    private readonly consumer: string,
  ) {}

  /** Where the answers to a tenant's requests go. */
  repliesPrefix(tenant: string): string {
    return `${this.prefix}:${tenant}:replies:`;
  }

  /** Makes the group, from the oldest request on: one that waits is still worth an answer until its deadline. */
  async createGroup(connection: OwnConnection, tenant: string): Promise<void> {
    const key = this.#key(tenant);
    try {
      await connection.send({ key, args: ['XGROUP', 'CREATE', key, this.group, '0', 'MKSTREAM'] });
    } catch (error) {
      if (refusalOf(error) !== 'BUSYGROUP') {
        throw error;
      }
    }
  }

  /** Waits for new entries: at most `count` of each tenant. */
  async read(connection: OwnConnection, tenants: readonly string[], count: number, blockMs: number): Promise<Entry[]> {
    const keys = tenants.map((tenant) => this.#key(tenant));
    const limits = ['COUNT', String(count), 'BLOCK', String(blockMs)];
    const args = [
      'XREADGROUP',
      'GROUP',
      this.group,
      this.consumer,
      ...limits,
      'STREAMS',
      ...keys,
      ...keys.map(() => '>'),
    ];
    const answer = await connection.send({ key: keys[0], args });
    const byKey = new Map(keys.map((key, at) => [key, tenants[at] ?? '']));
    return pairsOf(answer).flatMap(([key, entries]) => entriesOf(entries, byKey.get(textOf(key)) ?? '', false));
  }

  /** Takes over entries that nobody has worked on for so long. `cursor` is where to go on next time. */
  async claim(
    tenant: string,
    idleMs: number,
    cursor: string,
    count: number,
  ): Promise<{ entries: Entry[]; cursor: string }> {
    const key = this.#key(tenant);
    const args = ['XAUTOCLAIM', key, this.group, this.consumer, String(idleMs), cursor, 'COUNT', String(count)];
    const [next, entries] = (await this.redis.send({ key, args })) as [unknown, unknown];
    return { entries: entriesOf(entries, tenant, true), cursor: textOf(next) };
  }

  /** Says that entries are being worked on, so that nobody else takes them over. */
  async keep(tenant: string, ids: readonly string[]): Promise<void> {
    const key = this.#key(tenant);
    await this.redis.send({ key, args: ['XCLAIM', key, this.group, this.consumer, '0', ...ids, 'JUSTID'] });
  }

  /** Says that entries are done with. */
  async acknowledge(tenant: string, ids: readonly string[]): Promise<void> {
    const key = this.#key(tenant);
    await this.redis.send({ key, args: ['XACK', key, this.group, ...ids] });
  }

  /** Sends an answer. */
  async answer(replyTo: string, text: string): Promise<void> {
    await this.redis.send(this.#answering(replyTo, text));
  }

  /** Takes this consumer out of the group, unless entries are left that another one will take over. */
  async leave(tenant: string): Promise<void> {
    await this.#drop(tenant, this.consumer);
  }

  /** Takes consumers out of the group that are long gone, as those of crashed processes. */
  async sweep(tenant: string): Promise<void> {
    const key = this.#key(tenant);
    const consumers = await this.redis.send({ key, args: ['XINFO', 'CONSUMERS', key, this.group] });
    for (const consumer of Array.isArray(consumers) ? consumers : []) {
      const fields = fieldsOf(consumer);
      const name = fields.get('name') ?? this.consumer;
      if (name !== this.consumer && fields.get('pending') === '0' && Number(fields.get('idle')) > GONE_MS) {
        await this.#drop(tenant, name);
      }
    }
  }

  async #drop(tenant: string, consumer: string): Promise<void> {
    const key = this.#key(tenant);
    const pending = await this.redis.send({ key, args: ['XPENDING', key, this.group, '-', '+', '1', consumer] });
    if (Array.isArray(pending) && pending.length === 0) {
      await this.redis.send({ key, args: ['XGROUP', 'DELCONSUMER', key, this.group, consumer] });
    }
  }

  #answering(replyTo: string, text: string): Command {
    const args = this.redis.isCluster ? ['FCALL', 'fanfare_send', '1', replyTo, text] : ['PUBLISH', replyTo, text];
    return { key: replyTo, args };
  }

  #key(tenant: string): string {
    return `${this.prefix}:${tenant}:requests`;
  }
}

/** What Redis says when a stream or its group has vanished. */
export function isGroupMissing(error: unknown): boolean {
  return ['NOGROUP', 'UNBLOCKED'].includes(refusalOf(error) ?? '') || /no such key/i.test(wordsOf(error));
}

function entriesOf(answer: unknown, tenant: string, redelivered: boolean): Entry[] {
  const entries = Array.isArray(answer) ? (answer as unknown[]) : [];
  return entries.flatMap((entry) => {
    if (!Array.isArray(entry)) {
      return [];
    }
    const fields = entry[1] === null ? null : fieldsOf(entry[1]);
    return [{ tenant, id: textOf(entry[0]), fields, redelivered }];
  });
}

function fieldsOf(answer: unknown): Map<string, string> {
  return new Map(pairsOf(answer).map(([name, value]) => [textOf(name), textOf(value)]));
}

/**
 * A map, as clients hand it on: pairs, a flat list, an object or a `Map`, depending on the client, its version and the
 * version of Redis's protocol.
 */
function pairsOf(answer: unknown): [unknown, unknown][] {
  if (answer instanceof Map) {
    return [...answer];
  }
  if (!Array.isArray(answer)) {
    return typeof answer === 'object' && answer !== null ? Object.entries(answer) : [];
  }
  const items = answer as unknown[];
  if (Array.isArray(items[0])) {
    return items as [unknown, unknown][];
  }
  return items.flatMap((item, at) => (at % 2 === 0 ? [[item, items[at + 1]] as [unknown, unknown]] : []));
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : String(value);
}
