/**
 * Reads new requests on a connection of its own, for as long as it takes: when the connection or Redis fails, it opens another
 * after a jittered pause. Deliberately without a look into the requests.
 */

import { FanfareError } from '../errors.ts';
import { type OwnConnection, open, type RedisLike } from '../redis/client.ts';
import { failureOf } from '../redis/failure.ts';
import { backoffMs, pause, within } from '../timing.ts';
import type { Entry } from './request.ts';
import { isGroupMissing, type RequestStreams } from './stream.ts';

/** What a reader needs of its worker. */
export interface ReaderHost {
  readonly redis: RedisLike;
  readonly streams: RequestStreams;
  /** How long one read waits, in ms. */
  readonly blockMs: number;
  /** How long Redis may take for what doesn't wait, in ms. */
  readonly timeoutMs: number;
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
  /** Aborted when nothing more is to be read. */
  readonly stopping: AbortSignal;
  /** Aborted when what is under way doesn't count any more. */
  readonly over: AbortSignal;
  /** How many tenants share what there is room for. */
  readonly tenantCount: number;
  /** Resolves to how many more requests can be worked on, at least one. */
  room(): Promise<number>;
  take(entries: Entry[]): void;
  /** Called once for each outage. */
  failed(error: FanfareError): void;
}

/** Reads the requests of its tenants until the host stops. */
export class Reader {
  /** Resolves when it reads for the first time; rejects when it never will, since Redis refuses. */
  readonly ready: Promise<void>;
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  tenants: readonly string[];
  /** Ends this reader only. */
  readonly #own = new AbortController();
  readonly #stopping: AbortSignal;
  #settle: { resolve: () => void; reject: (error: FanfareError) => void } = { resolve: () => {}, reject: () => {} };
  #isReady = false;
  #failures = 0;

  constructor(
    private readonly host: ReaderHost,
    tenants: readonly string[],
  ) {
    this.tenants = tenants;
    this.#stopping = AbortSignal.any([host.stopping, this.#own.signal]);
    this.ready = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.ended = this.#run();
  }

  stop(): void {
    this.#own.abort();
  }

  async #run(): Promise<void> {
    while (!this.#stopping.aborted) {
      try {
        await this.#session();
      } catch (error) {
        if (this.#stopping.aborted) {
          break;
        }
        await this.#fail(failureOf(error));
      }
    }
    // Whoever waits for the first read has stopped meanwhile.
    this.#settle.resolve();
  }

  async #fail(failure: FanfareError): Promise<void> {
    if (!this.#isReady && failure.code === 'refused') {
      this.#settle.reject(failure);
    }
    if (this.#failures === 0) {
      this.host.failed(failure);
    }
    const { retryMinMs, retryMaxMs } = this.host;
    await pause(backoffMs(this.#failures++, 2 * retryMinMs, retryMaxMs), this.#stopping);
  }

  async #session(): Promise<void> {
    const { timeoutMs } = this.host;
    const { connection, connected } = open(this.host.redis);
    const giveUp = () => connection.close();
    this.#stopping.addEventListener('abort', giveUp, { once: true });
    this.host.over.addEventListener('abort', giveUp, { once: true });
    try {
      await within(timeoutMs, connected, () => late(timeoutMs));
      // A read that is under way may already have been given entries, so from here on it is waited for.
      this.#stopping.removeEventListener('abort', giveUp);
      await this.#read(connection);
    } finally {
      this.#stopping.removeEventListener('abort', giveUp);
      this.host.over.removeEventListener('abort', giveUp);
      connection.close();
    }
  }

  async #read(connection: OwnConnection): Promise<void> {
    const { streams, blockMs, timeoutMs } = this.host;
    const grouped = new Set<string>();
    while (!this.#stopping.aborted) {
      const { tenants } = this;
      if (tenants.length === 0) {
        this.#succeeded();
        await pause(blockMs, this.#stopping);
        continue;
      }
      for (const tenant of tenants.filter((one) => !grouped.has(one))) {
        await within(timeoutMs, streams.createGroup(connection, tenant), () => late(timeoutMs));
        grouped.add(tenant);
      }
      const room = await this.host.room();
      if (this.#stopping.aborted) {
        return;
      }
      const count = Math.max(1, Math.floor(room / this.host.tenantCount));
      this.#ready();
      try {
        const reading = streams.read(connection, tenants, count, blockMs);
        this.host.take(await within(blockMs + timeoutMs, reading, () => late(timeoutMs)));
        this.#succeeded();
      } catch (error) {
        if (!isGroupMissing(error)) {
          throw error;
        }
        // Somebody has deleted the stream, or Redis has come back without it.
        grouped.clear();
      }
    }
  }

  #ready(): void {
    this.#isReady = true;
    this.#settle.resolve();
  }

  #succeeded(): void {
    this.#ready();
    this.#failures = 0;
  }
}

function late(timeoutMs: number): FanfareError {
  return new FanfareError('timeout', `Redis did not answer within ${timeoutMs} ms (timeoutMs)`, { retryable: true });
}
