/**
 * Answers clients' requests, as one of a consumer group: each request goes to one worker, and to another one when that one
 * fails. Deliberately at least once: a handler may see a request again, with the same `id` and `redelivered`.
 */

import { FanfareError, InvalidArgumentError } from '../errors.ts';
import { adapt, type RedisLike } from '../redis/client.ts';
import { failureOf } from '../redis/failure.ts';
import { backoffMs, pause, within } from '../timing.ts';
import { Crew } from './crew.ts';
import { Job, keyOf } from './job.ts';
import { checked, checkTenants, type Settings, type WorkerErrorContext, type WorkerOptions } from './options.ts';
import { Reader, type ReaderHost } from './reader.ts';
import { type AnyMethods, type Entry, type Handler, type InputOf, type OutputOf, parseEntry } from './request.ts';
import { isGroupMissing, RequestStreams } from './stream.ts';

/** How many requests there were since the worker was made. */
export interface WorkerStats {
  /** Answered, with data or an error. */
  answered: number;
  /** Skipped, since their deadline had passed before a handler began. */
  expired: number;
  /** Handled, but too late for an answer. */
  late: number;
  /** Taken over from a worker that gave no sign of life, itself among them. */
  claimed: number;
  /** Skipped, since no node can have written them. */
  malformed: number;
  /** Being worked on, or waiting here. */
  pending: number;
}

/** Answers requests of the methods `M`. */
export interface Worker<M extends object = AnyMethods> {
  /** Registers what answers a method; one for each. */
  method<K extends keyof M & string>(name: K, handler: Handler<InputOf<M, K>, OutputOf<M, K>>): Worker<M>;
  /** Begins. Resolves when requests are read; while Redis is away it waits. Rejects when Redis refuses. */
  start(): Promise<void>;
  /** Answers the requests of these tenants from now on. */
  setTenants(tenants: readonly string[]): void;
  /**
   * Takes no more requests and waits for those under way, at most for `timeoutMs` (10,000 ms). What is not done by then is
   * aborted, and another worker takes it over.
   */
  stop(options?: { timeoutMs?: number }): Promise<{ unfinished: number }>;
  stats(): WorkerStats;
}

const SWEEP_MS = 3_600_000;
const LEAVE_MS = 1000;

/** Makes a worker. It begins with `start()`. */
export function createWorker<M extends object = AnyMethods>(options: WorkerOptions): Worker<M> {
  return new RequestWorker(checked(options)) as Worker<object> as Worker<M>;
}

class RequestWorker implements Worker<AnyMethods>, ReaderHost {
  readonly redis: RedisLike;
  readonly streams: RequestStreams;
  readonly blockMs: number;
  readonly timeoutMs: number;
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
  readonly #isCluster: boolean;
  readonly #handlers = new Map<string, Handler>();
  readonly #crew: Crew<Job>;
  readonly #stopping = new AbortController();
  readonly #counts = { answered: 0, expired: 0, late: 0, claimed: 0, malformed: 0 };
  readonly #cursors = new Map<string, string>();
  #tenants: readonly string[];
  /** On a single server one reader for all tenants; on a cluster one for each, since their streams live apart. */
  #readers = new Map<string, Reader>();
  #rounds = Promise.resolve();
  #started: Promise<void> | undefined;
  #stopped: Promise<{ unfinished: number }> | undefined;
  /** Stopped for good: what is still running may not answer any more. */
  readonly #over = new AbortController();

  constructor(private readonly settings: Settings) {
    const client = adapt(settings.redis);
    this.redis = settings.redis;
    this.blockMs = settings.blockMs;
    this.timeoutMs = settings.timeoutMs;
    this.retryMinMs = settings.retryMinMs;
    this.retryMaxMs = settings.retryMaxMs;
    this.#isCluster = client.isCluster;
    this.#tenants = [...new Set(settings.tenants)];
    this.streams = new RequestStreams(client, settings.prefix, settings.group, settings.consumer);
    this.#crew = new Crew(settings.concurrency, (job) => this.#work(job));
  }

  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  get over(): AbortSignal {
    return this.#over.signal;
  }

  get tenantCount(): number {
    return this.#tenants.length;
  }

  method(name: string, handler: Handler): this {
    if (typeof name !== 'string' || name === '' || typeof handler !== 'function') {
      throw new InvalidArgumentError(
        'method',
        'takes a name and a function: worker.method("orders.get", async (request) => …)',
      );
    }
    if (this.#handlers.has(name)) {
      throw new InvalidArgumentError('method', `${JSON.stringify(name)} has a handler already`);
    }
    this.#handlers.set(name, handler);
    return this;
  }

  start(): Promise<void> {
    if (this.stopping.aborted) {
      return Promise.reject(new FanfareError('aborted', 'the worker has been stopped: make another one'));
    }
    if (!this.#started) {
      this.#read();
      this.#rounds = this.#goRound();
      this.#started = Promise.all([...this.#readers.values()].map(({ ready }) => ready)).then(() => {});
      this.#started.catch(() => this.stop({ timeoutMs: 0 }));
    }
    return this.#started;
  }

  setTenants(tenants: readonly string[]): void {
    checkTenants(tenants);
    this.#tenants = [...new Set(tenants)];
    for (const tenant of [...this.#cursors.keys()].filter((one) => !this.#tenants.includes(one))) {
      this.#cursors.delete(tenant);
    }
    if (this.#started && !this.stopping.aborted) {
      this.#read();
    }
  }

  stop({ timeoutMs = 10_000 }: { timeoutMs?: number } = {}): Promise<{ unfinished: number }> {
    this.#stopped ??= this.#stop(timeoutMs);
    return this.#stopped;
  }

  stats(): WorkerStats {
    return { ...this.#counts, pending: this.#crew.size };
  }

  room(): Promise<number> {
    return this.#crew.room(this.stopping);
  }

  failed(error: FanfareError): void {
    this.#report(error, { during: 'redis' });
  }

  /** Takes entries that are this consumer's now. */
  take(entries: Entry[]): void {
    if (this.over.aborted) {
      return;
    }
    const done = new Map<string, string[]>();
    for (const entry of entries) {
      if (this.#crew.has(keyOf(entry))) {
        continue;
      }
      if (entry.redelivered) {
        this.#counts.claimed += 1;
      }
      const job = this.#jobOf(entry);
      if (job) {
        this.#crew.add(job.key, job);
      } else {
        done.set(entry.tenant, [...(done.get(entry.tenant) ?? []), entry.id]);
      }
    }
    for (const [tenant, ids] of done) {
      // What isn't acknowledged is claimed later, and skipped again.
      this.#within(this.streams.acknowledge(tenant, ids)).catch(() => {});
    }
  }

  /** Undefined when there is nothing to be done. */
  #jobOf(entry: Entry): Job | undefined {
    if (!entry.fields) {
      return undefined;
    }
    const { tenant } = entry;
    const parsed = parseEntry(entry, this.streams.repliesPrefix(tenant));
    if (typeof parsed === 'string') {
      this.#counts.malformed += 1;
      const words = `the entry ${entry.id} of ${tenant}'s requests ${parsed}: it is skipped`;
      this.#report(new FanfareError('bad_frame', words), { during: 'entry', tenant });
      return undefined;
    }
    const job = new Job(entry, parsed);
    if (job.isLate) {
      this.#counts.expired += 1;
      return undefined;
    }
    return job;
  }

  async #work(job: Job): Promise<void> {
    const { entry, parsed } = job;
    const context = { tenant: entry.tenant, method: parsed.method, request: parsed.request };
    if (job.isLate) {
      this.#counts.expired += 1;
    } else {
      const failed = (error: unknown) => this.#report(error, { during: 'handler', ...context });
      const answer = await job.run(this.#handlers.get(parsed.method), this.settings.answerBytesMax, failed);
      if (job.isLate) {
        this.#counts.late += 1;
      } else if (await this.#insist(job, () => this.streams.answer(parsed.replyTo, answer))) {
        this.#counts.answered += 1;
      }
    }
    await this.#insist(job, () => this.streams.acknowledge(entry.tenant, [entry.id]));
  }

  /** Tries until it succeeds, Redis refuses, or the deadline is over, after which it is tried once. */
  async #insist(job: Job, attempt: () => Promise<void>): Promise<boolean> {
    for (let failures = 0; !this.over.aborted; failures++) {
      try {
        await this.#within(attempt());
        return true;
      } catch (error) {
        const failure = failureOf(error);
        if (failures === 0 && !isGroupMissing(error)) {
          const { tenant } = job.entry;
          this.#report(failure, { during: 'answer', tenant, method: job.parsed.method, request: job.parsed.request });
        }
        if (!failure.retryable || job.isLate) {
          return false;
        }
        await pause(backoffMs(failures, 2 * this.retryMinMs, this.retryMaxMs), this.over);
      }
    }
    return false;
  }

  #read(): void {
    if (!this.#isCluster) {
      const reader = this.#readers.get('') ?? new Reader(this, this.#tenants);
      reader.tenants = this.#tenants;
      this.#readers.set('', reader);
      return;
    }
    for (const [tenant, reader] of this.#readers) {
      if (!this.#tenants.includes(tenant)) {
        reader.stop();
        this.#readers.delete(tenant);
      }
    }
    for (const tenant of this.#tenants.filter((one) => !this.#readers.has(one))) {
      const reader = new Reader(this, [tenant]);
      // What fails is reported; only `start` is told as well.
      reader.ready.catch(() => {});
      this.#readers.set(tenant, reader);
    }
  }

  /** Tells that it lives, and looks for requests of those that don't. */
  async #goRound(): Promise<void> {
    let sweepAt = Date.now();
    while (!this.over.aborted) {
      const isSweeping = Date.now() >= sweepAt;
      sweepAt = isSweeping ? Date.now() + SWEEP_MS : sweepAt;
      const looks = this.stopping.aborted ? [] : this.#tenants.map((tenant) => this.#look(tenant, isSweeping));
      await Promise.all([this.#keep(), ...looks]);
      const ending = this.stopping.aborted ? this.over : this.stopping;
      await pause(this.settings.claimIntervalMs * (0.5 + Math.random() / 2), ending);
    }
  }

  async #keep(): Promise<void> {
    const ids = new Map<string, string[]>();
    for (const { entry } of this.#crew.all()) {
      ids.set(entry.tenant, [...(ids.get(entry.tenant) ?? []), entry.id]);
    }
    await Promise.all([...ids].map(([tenant, some]) => this.#quietly(this.streams.keep(tenant, some))));
  }

  async #look(tenant: string, isSweeping: boolean): Promise<void> {
    const room = this.#crew.roomNow;
    if (room > 0) {
      const cursor = this.#cursors.get(tenant) ?? '0-0';
      const claim = async () => {
        const claimed = await this.streams.claim(tenant, this.settings.claimIdleMs, cursor, room);
        this.#cursors.set(tenant, claimed.cursor);
        this.take(claimed.entries);
      };
      await this.#quietly(claim());
    }
    if (isSweeping) {
      await this.#quietly(this.streams.sweep(tenant));
    }
  }

  /** For what is tried again in a moment. An outage is the reader's to report, and a missing group its to make. */
  async #quietly(doing: Promise<void>): Promise<void> {
    try {
      await this.#within(doing);
    } catch (error) {
      const failure = failureOf(error);
      if (!failure.retryable && !isGroupMissing(error)) {
        this.#report(failure, { during: 'redis' });
      }
    }
  }

  #within<T>(doing: Promise<T>): Promise<T> {
    const { timeoutMs } = this;
    const late = () =>
      new FanfareError('timeout', `Redis did not answer within ${timeoutMs} ms (timeoutMs)`, { retryable: true });
    return within(timeoutMs, doing, late);
  }

  async #stop(timeoutMs: number): Promise<{ unfinished: number }> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), timeoutMs);
    this.#stopping.abort();
    const readers = Promise.all([...this.#readers.values()].map(({ ended }) => ended));
    await Promise.race([readers.then(() => this.#crew.idle(late.signal)), pause(timeoutMs, late.signal)]);
    clearTimeout(timer);
    late.abort();
    this.#over.abort();
    const left = this.#crew.all();
    for (const job of left) {
      job.abort(new FanfareError('aborted', 'the worker stops'));
    }
    await within(LEAVE_MS, this.#leave(), () => new Error('late')).catch(() => {});
    return { unfinished: left.length };
  }

  async #leave(): Promise<void> {
    await this.#rounds;
    if (this.#started) {
      await Promise.allSettled(this.#tenants.map((tenant) => this.streams.leave(tenant)));
    }
  }

  #report(error: unknown, context: WorkerErrorContext): void {
    try {
      this.settings.onError(error, context);
    } catch (thrown) {
      console.error('fanfare worker: onError has thrown', thrown);
    }
  }
}
