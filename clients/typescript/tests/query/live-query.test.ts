import { liveQueryOptions } from '@fanfare/client/query';
import { describe, expect, test, vi } from 'vitest';
import { versions } from './support/versions.ts';
import { worldsOf } from './support/world.ts';

describe.each(versions)('live queries with $name', (version) => {
  const worldOf = worldsOf(version);

  /** A world whose backend answers `dashboard.metrics`. */
  const answering = (latencyMs = 0) => {
    const world = worldOf();
    const asked: unknown[] = [];
    const backend = { now: 1 as unknown, latencyMs, asked };
    world.gateway.onRequest('dashboard.metrics', async (input) => {
      asked.push(input);
      const answer = backend.now;
      await (backend.latencyMs > 0 && new Promise((resolve) => setTimeout(resolve, backend.latencyMs)));
      return answer;
    });
    const options = { queryKey: ['metrics'], method: 'dashboard.metrics', client: world.client };
    return { world, backend, options };
  };

  test('a query is asked for over the socket', async () => {
    const { world, backend, options } = answering();
    await world.live();
    const page = world.show(liveQueryOptions({ ...options, input: { week: 7 } }));
    await world.wait(0);
    expect(page.data).toBe(1);
    expect(backend.asked).toEqual([{ week: 7 }]);
  });

  test('without a connection it waits for one, or goes over HTTP', async () => {
    const { world, backend, options } = answering();
    const patient = world.show(liveQueryOptions({ ...options, queryKey: ['patient'] }));
    const http = world.show(liveQueryOptions({ ...options, queryKey: ['http'], fallback: async () => 'by HTTP' }));
    await world.wait(0);
    expect([patient.data, http.data]).toEqual([1, 'by HTTP']);
    expect(backend.asked).toHaveLength(1);
  });

  test('what went over HTTP before there was a connection is asked for over the socket when there is one', async () => {
    const { world, backend, options } = answering();
    let calls = 0;
    const fallback = async () => {
      calls += 1;
      return 'by HTTP';
    };
    world.bind({});
    const page = world.show(
      liveQueryOptions({ ...options, fallback, channels: ['agency'], patchOn: 'metrics.changed' }),
    );
    await world.wait(5_000);
    expect([calls, backend.asked.length, page.data]).toEqual([1, 1, 1]);
  });

  test('it goes over HTTP when the request fails in a way that is not about the request', async () => {
    const { world, options } = answering();
    const answers: unknown[] = [];
    await world.live();
    for (const code of ['no_backend', 'timeout', 'unavailable', 'forbidden', 'too_large']) {
      const off = world.gateway.refuse('dashboard.metrics', code);
      const { queryFn } = liveQueryOptions({ ...options, queryKey: [code], fallback: async () => 'by HTTP' });
      const answer = queryFn({}).catch((error) => error);
      await world.wait(1);
      answers.push(await answer);
      off();
    }
    expect(answers.slice(0, 3)).toEqual(['by HTTP', 'by HTTP', 'by HTTP']);
    expect(answers.slice(3)).toMatchObject([{ code: 'forbidden' }, { code: 'too_large' }]);
  });

  test('the fallback is given the means to stop', async () => {
    const { world, options } = answering();
    let signal: AbortSignal | undefined;
    const fallback = async (context: { signal?: AbortSignal | undefined }) => {
      signal = context.signal;
      return new Promise<string>(() => {});
    };
    world.show(liveQueryOptions({ ...options, fallback })).off();
    expect(signal?.aborted).toBe(true);
  });

  test('what is asked for by many at the same time is asked once', async () => {
    const { world, backend, options } = answering();
    await world.live();
    const pages = ['a', 'b', 'c'].map((name) => world.show(liveQueryOptions({ ...options, queryKey: [name] })));
    await world.wait(0);
    expect(pages.map(({ data }) => data)).toEqual([1, 1, 1]);
    expect(backend.asked).toHaveLength(1);
    world.show(liveQueryOptions({ ...options, queryKey: ['d'], input: 'something else' }));
    await world.wait(0);
    expect(backend.asked).toHaveLength(2);
  });

  test('a backend is asked no more often than it may be, and for the last time not too early', async () => {
    const { world, backend, options } = answering();
    world.bind({ rules: { changed: { keys: [['metrics']], everyMs: 0 } } });
    await world.live();
    const page = world.show(liveQueryOptions({ ...options, throttleMs: 10_000 }));
    await world.wait(0);
    for (let count = 2; count <= 50; count += 1) {
      backend.now = count;
      await world.publish('changed');
      await world.wait(100);
    }
    expect(backend.asked).toHaveLength(1);
    await world.wait(10_000);
    expect(page.data).toBe(50);
    expect(backend.asked.length).toBeLessThanOrEqual(3);
  });

  test('what is pushed fills the cache, and nothing is asked for', async () => {
    const { world, backend, options } = answering();
    world.bind({});
    const page = world.show(liveQueryOptions({ ...options, patchOn: 'dashboard.data_updated' }));
    await world.live();
    const before = backend.asked.length;
    await world.publish('dashboard.data_updated', 2);
    expect(page.data).toBe(2);
    page.off();
    await world.publish('dashboard.data_updated', 3);
    expect(world.queryClient.getQueryData(['metrics'])).toBe(3);
    expect(backend.asked).toHaveLength(before);
  });

  test('an event may bring a part, or be about something else', async () => {
    const { world, backend, options } = answering();
    backend.now = { open: 1, late: 1 };
    world.bind({});
    const patchOn = {
      'dashboard.data_updated': ({ data: { type, data } }: { data: { type: string; data: object } }, old: unknown) =>
        type === 'metrics' ? { ...(old as object), ...data } : undefined,
    };
    const page = world.show(liveQueryOptions({ ...options, patchOn }));
    await world.live();
    await world.publish('dashboard.data_updated', { type: 'metrics', data: { late: 2 } });
    await world.publish('dashboard.data_updated', { type: 'team', data: { late: 3 } });
    expect(page.data).toEqual({ open: 1, late: 2 });
  });

  test('what is pushed while an older answer is on its way is put on that answer', async () => {
    const { world, backend, options } = answering();
    backend.now = { open: 1, late: 1 };
    world.bind({});
    const patchOn = { late: ({ data }: { data: number }, old: unknown) => ({ ...(old as object), late: data }) };
    await world.live();
    backend.latencyMs = 500;
    const page = world.show(liveQueryOptions({ ...options, patchOn }));
    await world.wait(100);
    await world.publish('late', 2);
    await world.wait(5_000);
    expect(page.data).toEqual({ open: 1, late: 2 });
    expect(backend.asked).toHaveLength(1);
  });

  test('its channels are subscribed while somebody looks', async () => {
    const { world, options } = answering();
    world.bind({});
    const page = world.show(
      liveQueryOptions({ ...options, patchOn: 'dashboard.data_updated', channels: ['dashboard'] }),
    );
    await world.live();
    expect(world.channels).toEqual(['channel:dashboard']);
    await world.publish('dashboard.data_updated', 2, 'channel:dashboard');
    expect(page.data).toBe(2);
    page.off();
    await world.wait(3_000);
    expect(world.channels).toEqual([]);
  });

  test('after a gap it is asked for again', async () => {
    const { world, backend, options } = answering();
    world.bind({ spreadMs: 100 });
    const page = world.show(liveQueryOptions({ ...options, patchOn: 'pushed', channels: ['dashboard'] }));
    await world.live();
    backend.now = 2;
    world.gateway.gap('channel:dashboard');
    await world.wait(2_000);
    expect(page.data).toBe(2);
  });

  test('a query into which nothing is pushed is not asked for again when the connection is there', async () => {
    const { world, backend, options } = answering();
    world.bind({});
    world.show(liveQueryOptions({ ...options, fallback: async () => 'by HTTP' }));
    await world.live();
    expect(backend.asked).toEqual([]);
  });

  test('on a server it goes over HTTP, and opens nothing', async () => {
    const { world, options } = answering();
    const { queryFn } = liveQueryOptions({ ...options, patchOn: 'pushed', fallback: async () => 'by HTTP' });
    expect(await queryFn({})).toBe('by HTTP');
    expect(world.gateway.opened).toBe(0);
  });

  test('a clock that is put back keeps nobody waiting', async () => {
    const { world, backend, options } = answering();
    await world.live();
    const { queryFn } = liveQueryOptions({ ...options, throttleMs: 10_000 });
    void queryFn({});
    await world.wait(0);
    vi.setSystemTime(Date.now() - 3_600_000);
    void queryFn({});
    await world.wait(10_000);
    expect(backend.asked).toHaveLength(2);
  });

  test('without a client it says what is missing', async () => {
    const { world, options } = answering();
    const { queryFn } = liveQueryOptions({ queryKey: options.queryKey, method: options.method });
    await expect(queryFn({ client: world.queryClient })).rejects.toThrow('bind the query client');
  });
});

describe('live queries with TanStack Query 5', () => {
  const worldOf = worldsOf(versions[0] as (typeof versions)[number]);

  test('a bound query client knows its client', async () => {
    const world = worldOf();
    world.gateway.onRequest('dashboard.metrics', () => 1);
    const binding = world.bind({});
    const page = world.show(liveQueryOptions({ queryKey: ['metrics'], method: 'dashboard.metrics' }));
    await world.live();
    expect(page.data).toBe(1);
    binding();
    const { queryFn } = liveQueryOptions({ queryKey: ['metrics'], method: 'dashboard.metrics' });
    await expect(queryFn({ client: world.queryClient })).rejects.toThrow('bind the query client');
  });
});
