import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createWorker, RequestError, type Worker, type WorkerErrorContext, type WorkerOptions } from '../src/index.ts';
import { allFlavours, type Made } from './support/flavours.ts';
import { Gate } from './support/gate.ts';
import { RedisServer } from './support/redis.ts';
import { Replies } from './support/replies.ts';
import { until } from './support/until.ts';

let server: RedisServer;
let replies: Replies;
let tenants = 0;

beforeAll(async () => {
  server = await RedisServer.start();
  replies = await Replies.of(server);
});

afterAll(async () => {
  replies?.close();
  await server?.stop();
});

describe.each(allFlavours)('a worker with $name', ({ single }) => {
  let made: Made;
  let tenant: string;
  let key: string;
  let workers: Worker[];
  let errors: { error: unknown; context: WorkerErrorContext }[];

  beforeAll(async () => {
    made = await single(server.port);
  });

  afterAll(() => made?.close());

  beforeEach(() => {
    tenant = `tenant-${tenants++}`;
    key = `fanfare:${tenant}:requests`;
    workers = [];
    errors = [];
    replies.forget();
  });

  afterEach(async () => {
    await Promise.all(workers.map((worker) => worker.stop({ timeoutMs: 0 })));
  });

  function workerOf(options: Partial<WorkerOptions> = {}): Worker {
    const onError = (error: unknown, context: WorkerErrorContext) => errors.push({ error, context });
    const quick = { blockMs: 100, claimIntervalMs: 50, claimIdleMs: 3000, retryMinMs: 10, retryMaxMs: 100, onError };
    const worker = createWorker({ redis: made.redis, tenants: [tenant], group: 'backend', ...quick, ...options });
    workers.push(worker);
    return worker;
  }

  const pending = async () => Number((await server.cli('XPENDING', key, 'backend')).split('\n')[0]);

  test('a request gets the answer of its handler, and is acknowledged', async () => {
    const worker = workerOf();
    const seen: unknown[] = [];
    worker.method('orders.get', async ({ signal, ...request }) => {
      seen.push(request);
      return { total: '19.90', note: 'ünï' };
    });
    await worker.start();
    const deadline = Date.now() + 30_000;
    await replies.ask(tenant, 'r1', { method: 'orders.get', data: '{"id":7}', deadline });
    expect(await replies.to('r1')).toEqual({ request: 'r1', data: { total: '19.90', note: 'ünï' } });
    const expected = {
      id: 'r1',
      method: 'orders.get',
      data: { id: 7 },
      tenant,
      user: '42',
      connection: 'c1',
      deadline,
    };
    expect(seen).toEqual([{ ...expected, redelivered: false }]);
    await until('it is acknowledged', async () => (await pending()) === 0);
    expect(worker.stats()).toMatchObject({ answered: 1, claimed: 0 });
  });

  test('a request that came before the worker is answered too', async () => {
    await replies.ask(tenant, 'early', { method: 'echo', data: '[1]' });
    await workerOf()
      .method('echo', ({ data }) => data)
      .start();
    expect(await replies.to('early')).toEqual({ request: 'early', data: [1] });
  });

  test('errors: those for the client word by word, all others without a detail', async () => {
    const worker = workerOf({ answerBytesMax: 200 });
    worker.method('refuse', () => {
      throw new RequestError('forbidden', 'orders of others are none of your business');
    });
    worker.method('fail', async () => {
      throw new Error('password hunter2 is wrong');
    });
    worker.method('unwritable', () => 1n);
    worker.method('huge', () => 'x'.repeat(200));
    worker.method('deep', () => JSON.parse('['.repeat(65) + ']'.repeat(65)));
    worker.method('nothing', () => undefined);
    await worker.start();
    const internal = { code: 'internal', message: 'the request failed' };
    for (const [method, answer] of [
      ['refuse', { error: { code: 'forbidden', message: 'orders of others are none of your business' } }],
      ['fail', { error: internal }],
      ['unwritable', { error: internal }],
      ['deep', { error: internal }],
      ['huge', { error: { code: 'too_large', message: 'the answer is larger than allowed' } }],
      ['nothing', { data: null }],
      ['unknown', { error: { code: 'no_backend', message: 'no handler is registered for the method "unknown"' } }],
    ] as const) {
      const request = `${tenant}-${method}`;
      await replies.ask(tenant, request, { method });
      expect(await replies.to(request)).toEqual({ request, ...answer });
    }
    expect(errors.map(({ context }) => [context.during, context.method])).toEqual([
      ['handler', 'fail'],
      ['handler', 'unwritable'],
      ['handler', 'deep'],
      ['handler', 'huge'],
    ]);
    expect(String(errors[0]?.error)).toContain('hunter2');
    await until('all are acknowledged', async () => (await pending()) === 0);
  });

  test('what is too late or no request of a node is skipped and acknowledged', async () => {
    const worker = workerOf();
    const seen: string[] = [];
    worker.method('echo', ({ id }) => {
      seen.push(id);
    });
    await replies.ask(tenant, 'expired', { method: 'echo', deadline: Date.now() - 1 });
    await replies.ask(tenant, 'elsewhere', { method: 'echo', replyTo: 'fanfare:other:replies:n' });
    await replies.ask(tenant, 'no-json', { method: 'echo', data: '{' });
    await server.cli('XADD', key, '*', 'hello', 'world');
    await replies.ask(tenant, 'good', { method: 'echo' });
    await worker.start();
    await replies.to('good');
    await until('all are acknowledged', async () => (await pending()) === 0);
    expect(seen).toEqual(['good']);
    expect(worker.stats()).toMatchObject({ answered: 1, expired: 1, malformed: 3, pending: 0 });
    expect(errors.map(({ context }) => context.during)).toEqual(['entry', 'entry', 'entry']);
  });

  test('at its deadline a handler is told, and no answer is sent', async () => {
    const worker = workerOf();
    const aborted: unknown[] = [];
    worker.method('slow', ({ signal }) => {
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted.push(signal.reason);
          reject(signal.reason);
        });
      });
    });
    await worker.start();
    // On a busy machine it may be too late to begin with: then it is skipped, and asked again with more time.
    for (let skipped = 0, time = 300; worker.stats().late === 0; time *= 2) {
      await replies.ask(tenant, 'slow', { method: 'slow', deadline: Date.now() + time });
      await until('it is late or skipped', () => worker.stats().late === 1 || worker.stats().expired > skipped);
      skipped = worker.stats().expired;
    }
    await until('it is acknowledged', async () => (await pending()) === 0);
    expect(aborted).toMatchObject([{ code: 'timeout' }]);
    expect(replies.all('slow')).toEqual([]);
    expect(errors).toEqual([]);
  });

  test('no more requests than allowed are worked on at once', async () => {
    const several = [tenant, `${tenant}-b`, `${tenant}-c`];
    const worker = workerOf({ concurrency: 2, tenants: several });
    const gate = new Gate();
    let running = 0;
    let most = 0;
    worker.method('wait', async () => {
      running += 1;
      most = Math.max(most, running);
      await gate.open;
      running -= 1;
    });
    const ids = several.flatMap((of) => [0, 1, 2].map((at) => `${of}-${at}`));
    for (const id of ids) {
      await replies.ask(id.slice(0, -2), id, { method: 'wait' });
    }
    await worker.start();
    await until('two are running', () => running === 2);
    // One more of each tenant may wait here, so that none of them waits for the others.
    expect(worker.stats().pending).toBeLessThanOrEqual(4);
    gate.lift();
    for (const id of ids) {
      await replies.to(id);
    }
    expect(most).toBe(2);
  });

  test('a request that takes long stays with its worker', async () => {
    const gate = new Gate();
    const first = workerOf({ consumer: 'first' });
    const second = workerOf({ consumer: 'second' });
    let begun = 0;
    const handler = async () => {
      begun += 1;
      await gate.open;
    };
    await first.method('long', handler).start();
    await replies.ask(tenant, 'long', { method: 'long' });
    await until('it has begun', () => begun === 1);
    await second.method('long', handler).start();
    const idle = async () => Number((await server.cli('XPENDING', key, 'backend', '-', '+', '1')).split('\n')[2]);
    // Its sign of life makes the idle time fall, again and again; until then it rises towards what would be claimed.
    for (let signs = 0, before = await idle(); signs < 10; ) {
      const now = await idle();
      signs += now < before ? 1 : 0;
      before = now;
    }
    gate.lift();
    await replies.to('long');
    expect(begun).toBe(1);
    expect(second.stats().claimed).toBe(0);
  });

  test('a request of a worker that is gone is taken over by another', async () => {
    await server.cli('XGROUP', 'CREATE', key, 'backend', '0', 'MKSTREAM');
    await replies.ask(tenant, 'orphan', { method: 'echo' });
    await server.cli('XREADGROUP', 'GROUP', 'backend', 'gone', 'COUNT', '1', 'STREAMS', key, '>');
    const worker = workerOf({ claimIdleMs: 300 });
    const redelivered: boolean[] = [];
    worker.method('echo', (request) => {
      redelivered.push(request.redelivered);
    });
    await worker.start();
    expect(await replies.to('orphan')).toEqual({ request: 'orphan', data: null });
    expect(redelivered).toEqual([true]);
    expect(worker.stats()).toMatchObject({ claimed: 1, answered: 1 });
  });

  test('two workers share the requests, and each is answered once', async () => {
    const ids = Array.from({ length: 20 }, (_, at) => `${tenant}-${at}`);
    const shared = [workerOf(), workerOf()];
    for (const worker of shared) {
      await worker.method('echo', ({ id }) => id).start();
    }
    for (const id of ids) {
      await replies.ask(tenant, id, { method: 'echo' });
    }
    for (const id of ids) {
      expect(await replies.to(id)).toEqual({ request: id, data: id });
    }
    await until('all are acknowledged', async () => (await pending()) === 0);
    expect(ids.flatMap((id) => replies.all(id)).length).toBe(20);
  });

  test('a graceful stop takes nothing more, finishes what it has, and leaves the group', async () => {
    const gate = new Gate();
    const worker = workerOf();
    let begun = 0;
    worker.method('wait', async () => {
      begun += 1;
      await gate.open;
      return 'done';
    });
    await worker.start();
    await replies.ask(tenant, `${tenant}-last`, { method: 'wait' });
    await until('it has begun', () => begun === 1);
    const stopped = worker.stop();
    await replies.ask(tenant, `${tenant}-after`, { method: 'wait', deadline: Date.now() + 60_000 });
    gate.lift();
    expect(await stopped).toEqual({ unfinished: 0 });
    expect(await replies.to(`${tenant}-last`)).toEqual({ request: `${tenant}-last`, data: 'done' });
    await expect(worker.start()).rejects.toMatchObject({ code: 'aborted' });
    // The last read may have brought the other one; then it was answered as well. Either way none is lost or left behind.
    const consumers = await server.cli('XINFO', 'CONSUMERS', key, 'backend');
    expect(consumers).toBe('');
    expect(await pending()).toBe(0);
  });

  test('a stop that runs out of time aborts what is left, for another worker to take over', async () => {
    const first = workerOf();
    const aborted: unknown[] = [];
    first.method('wait', ({ signal }) => {
      return new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          aborted.push(signal.reason);
          resolve('too late');
        });
      });
    });
    await first.start();
    await replies.ask(tenant, `${tenant}-left`, { method: 'wait' });
    await until('it has begun', () => first.stats().pending === 1);
    expect(await first.stop({ timeoutMs: 1 })).toEqual({ unfinished: 1 });
    expect(aborted).toMatchObject([{ code: 'aborted' }]);
    const second = workerOf({ claimIdleMs: 300 });
    await second.method('wait', () => 'in time').start();
    expect(await replies.to(`${tenant}-left`)).toEqual({ request: `${tenant}-left`, data: 'in time' });
    expect(replies.all(`${tenant}-left`).length).toBe(1);
  });

  test('tenants can come and go', async () => {
    const other = `${tenant}-other`;
    const worker = workerOf({ tenants: [] });
    await worker.method('echo', ({ tenant: of }) => of).start();
    worker.setTenants([tenant, other]);
    await replies.ask(tenant, `${tenant}-1`, { method: 'echo' });
    await replies.ask(other, `${tenant}-2`, { method: 'echo' });
    expect(await replies.to(`${tenant}-1`)).toMatchObject({ data: tenant });
    expect(await replies.to(`${tenant}-2`)).toMatchObject({ data: other });
    expect(() => worker.setTenants(['not a tenant'])).toThrow(/tenants\[0\]/);
  });

  test('a group that was deleted is made again', async () => {
    const worker = workerOf();
    await worker.method('echo', () => 1).start();
    await replies.ask(tenant, `${tenant}-1`, { method: 'echo' });
    await replies.to(`${tenant}-1`);
    await server.cli('DEL', key);
    await replies.ask(tenant, `${tenant}-2`, { method: 'echo' });
    expect(await replies.to(`${tenant}-2`)).toMatchObject({ data: 1 });
    expect(errors).toEqual([]);
  });

  test('a user who may not read is refused at the start', async () => {
    await server.cli('ACL', 'SETUSER', 'nobody', 'on', '>secret', '-@all', '+hello', '+client', '+ping', '+info');
    const nobody = await single(server.port, { username: 'nobody', password: 'secret' });
    const worker = workerOf({ redis: nobody.redis });
    await expect(worker.start()).rejects.toMatchObject({ code: 'refused', message: expect.stringContaining('NOPERM') });
    await worker.stop();
    await nobody.close();
  });

  test('when Redis is killed and comes back, the worker goes on, and has told it once', async () => {
    const flaky = await RedisServer.start();
    const client = await single(flaky.port);
    const worker = workerOf({ redis: client.redis });
    await worker.method('echo', ({ data }) => data).start();
    await flaky.process.kill();
    await until('it is reported', () => errors.length > 0);
    flaky.process.restart();
    await flaky.answers();
    const again = await Replies.of(flaky);
    await again.ask(tenant, 'after', { method: 'echo', data: '"back"' });
    expect(await again.to('after')).toEqual({ request: 'after', data: 'back' });
    expect(errors.map(({ context }) => context.during)).toEqual(['redis']);
    expect(await worker.stop()).toEqual({ unfinished: 0 });
    again.close();
    await client.close();
    await flaky.stop();
  });

  test('while Redis is frozen an answer waits, and is sent when it goes on', async () => {
    const frozen = await RedisServer.start();
    const client = await single(frozen.port);
    const heard = await Replies.of(frozen);
    const worker = workerOf({ redis: client.redis, timeoutMs: 1000 });
    const gate = new Gate();
    worker.method('wait', async () => {
      await gate.open;
      return 'at last';
    });
    await worker.start();
    await heard.ask(tenant, 'wait', { method: 'wait' });
    await until('it has begun', () => worker.stats().pending === 1);
    frozen.process.signal('SIGSTOP');
    gate.lift();
    const reported = () => errors.map(({ context }) => context.during).sort();
    await until('both are reported', () => reported().join() === 'answer,redis');
    frozen.process.signal('SIGCONT');
    expect(await heard.to('wait')).toEqual({ request: 'wait', data: 'at last' });
    await heard.ask(tenant, 'next', { method: 'wait' });
    expect(await heard.to('next')).toEqual({ request: 'next', data: 'at last' });
    expect(reported()).toEqual(['answer', 'redis']);
    heard.close();
    await worker.stop();
    await client.close();
    await frozen.stop();
  });

  test('the rights that the README names are enough', async () => {
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    const [, rule = ''] = /^ACL (SETUSER worker .*)$/m.exec(readme) ?? [];
    // What the client libraries ask for themselves when they connect.
    const connecting = ['+hello', '+auth', '+client', '+ping', '+info'];
    await server.cli('ACL', ...rule.split(' '), ...connecting);
    const limited = await single(server.port, { username: 'worker', password: 'password' });
    await server.cli('XGROUP', 'CREATE', key, 'backend', '0', 'MKSTREAM');
    await replies.ask(tenant, 'orphan', { method: 'echo' });
    await server.cli('XREADGROUP', 'GROUP', 'backend', 'gone', 'COUNT', '1', 'STREAMS', key, '>');
    const worker = workerOf({ redis: limited.redis, claimIdleMs: 300 });
    const gate = new Gate();
    await worker.method('echo', () => gate.open).start();
    await until('it is claimed', () => worker.stats().claimed === 1);
    const idle = async () => Number((await server.cli('XPENDING', key, 'backend', '-', '+', '1')).split('\n')[2]);
    for (let before = await idle(), now = before; now >= before; now = await idle()) {
      before = now;
    }
    gate.lift();
    await replies.to('orphan');
    await worker.stop();
    expect(await server.cli('XINFO', 'CONSUMERS', key, 'backend')).not.toContain('worker');
    expect(errors).toEqual([]);
    await limited.close();
  });

  test('while Redis is away a start waits and a stop ends', async () => {
    const gone = await RedisServer.start();
    const client = await single(gone.port);
    await gone.process.kill();
    const worker = workerOf({ redis: client.redis, timeoutMs: 300 });
    const started = worker.start();
    await until('it is reported', () => errors.length > 0);
    await worker.stop();
    await expect(started).resolves.toBeUndefined();
    await client.close();
    await gone.stop();
  });
});
