import { describe, expect, test, vi } from 'vitest';
import { type RealtimeMutation, realtimeMutation } from '../../src/react-query/mutation.ts';
import { backend } from './support/backend.ts';
import { versions } from './support/versions.ts';
import { worldsOf } from './support/world.ts';

interface Order {
  id: number;
  status: string;
  note?: string;
}

interface Change {
  id: number;
  status: string;
}

/** Sets the status in lists of orders. */
const optimistic = ({ id, status }: Change) => [
  {
    queryKey: ['orders'],
    update: (orders: Order[]) => orders.map((order) => (order.id === id ? { ...order, status } : order)),
  },
];

describe.each(versions)('realtime mutations with $name', (version) => {
  const worldOf = worldsOf(version);

  /** A world with a list of two orders, whose backend changes them when the test says so. */
  const changing = (options: Partial<RealtimeMutation<string>> = {}) => {
    const world = worldOf();
    const orders = backend([
      { id: 7, status: 'open' },
      { id: 8, status: 'open' },
    ]);
    const waiting: { input: Change; answer(answer?: unknown): void; refuse(code: string): void }[] = [];
    world.gateway.onRequest(
      'orders.update',
      (input) =>
        new Promise((answer, reject) => {
          waiting.push({ input, answer, refuse: (code) => reject({ code, message: 'no' }) });
        }),
    );
    const page = world.look(['orders', 'list'], orders, { staleTime: Number.POSITIVE_INFINITY });
    const mutate = realtimeMutation(world.client, world.queryClient, {
      method: 'orders.update',
      optimistic,
      ...options,
    } as RealtimeMutation<string>);
    /** Begins a change; what became of it. */
    const change = (id: number, status: string) => {
      const made = { outcome: undefined as unknown };
      mutate({ id, status }).then(
        (output) => {
          made.outcome = { output };
        },
        (error) => {
          made.outcome = error.code;
        },
      );
      return made;
    };
    const shown = () => (page.data as Order[]).map(({ status }) => status);
    return { world, orders, waiting, page, change, shown };
  };

  test('a change is shown at once, and stays when it is confirmed', async () => {
    const { world, orders, waiting, page, change, shown } = changing();
    await world.live();
    const made = change(7, 'shipped');
    expect(shown()).toEqual(['shipped', 'open']);
    await world.wait(100);
    orders.now = [
      { id: 7, status: 'shipped' },
      { id: 8, status: 'open' },
    ];
    waiting[0]?.answer('done');
    await world.wait(0);
    expect(made.outcome).toEqual({ output: 'done' });
    expect(page.shown.slice(1).every((data) => (data as Order[])[0]?.status === 'shipped')).toBe(true);
    expect(orders.asked).toBe(2);
  });

  test('a change that is refused is taken back', async () => {
    const { world, waiting, change, shown } = changing();
    await world.live();
    const made = change(7, 'shipped');
    await world.wait(100);
    waiting[0]?.refuse('forbidden');
    await world.wait(0);
    expect(made.outcome).toBe('forbidden');
    expect(shown()).toEqual(['open', 'open']);
  });

  test('trap 9: of two changes in flight the first is refused after the server gave newer data, and nothing newer is lost', async () => {
    const { world, orders, waiting, change, page, shown } = changing();
    world.bind({ rules: { 'order.updated': [['orders']] } });
    await world.live();
    const first = change(7, 'shipped');
    const second = change(8, 'shipped');
    await world.wait(100);
    expect(shown()).toEqual(['shipped', 'shipped']);
    // Somebody else adds a note and an order meanwhile.
    orders.now = [
      { id: 7, status: 'open', note: 'fragile' },
      { id: 8, status: 'open' },
      { id: 9, status: 'open' },
    ];
    await world.publish('order.updated');
    expect(shown()).toEqual(['shipped', 'shipped', 'open']);
    waiting[0]?.refuse('forbidden');
    await world.wait(0);
    expect(first.outcome).toBe('forbidden');
    expect(page.data).toEqual([
      { id: 7, status: 'open', note: 'fragile' },
      { id: 8, status: 'shipped' },
      { id: 9, status: 'open' },
    ]);
    orders.now = (orders.now as Order[]).map((order) => (order.id === 8 ? { ...order, status: 'shipped' } : order));
    waiting[1]?.answer();
    await world.wait(5_000);
    expect(second.outcome).toEqual({ output: null });
    expect(shown()).toEqual(['open', 'shipped', 'open']);
  });

  test('trap 9: the same when a patch brought the newer data', async () => {
    const { world, orders, waiting, change, page } = changing();
    world.bind({
      rules: {
        'order.added': {
          keys: [['orders']],
          patch: (queryClient, { data }) => {
            const { setQueryData, getQueryData } = queryClient as typeof world.queryClient;
            const old = getQueryData.call(queryClient, ['orders', 'list']) as Order[];
            setQueryData.call(queryClient as never, ['orders', 'list'], [...old, data]);
          },
        },
      },
    });
    await world.live();
    change(7, 'shipped');
    change(8, 'shipped');
    await world.wait(100);
    await world.publish('order.added', { id: 9, status: 'open' });
    await world.publish('order.added', { id: 10, status: 'open' });
    expect((page.data as Order[]).map(({ status }) => status)).toEqual(['shipped', 'shipped', 'open', 'open']);
    // What is fetched then comes too late to help.
    orders.latencyMs = 10_000;
    waiting[1]?.refuse('forbidden');
    await world.wait(0);
    expect((page.data as Order[]).map(({ status }) => status)).toEqual(['shipped', 'open', 'open', 'open']);
  });

  test('two changes of the same order: the refusal of the first leaves the second', async () => {
    const { world, orders, waiting, change, shown } = changing();
    await world.live();
    change(7, 'packed');
    change(7, 'shipped');
    await world.wait(100);
    // What is fetched then comes too late to help.
    orders.latencyMs = 10_000;
    waiting[0]?.refuse('forbidden');
    await world.wait(0);
    expect(shown()).toEqual(['shipped', 'open']);
    waiting[1]?.refuse('forbidden');
    await world.wait(0);
    expect(shown()).toEqual(['open', 'open']);
  });

  test('an older answer that is on its way when a change is confirmed does not undo it', async () => {
    const { world, orders, waiting, change, page } = changing();
    await world.live();
    orders.latencyMs = 500;
    world.look(['orders', 'list'], orders, { refetchOnMount: 'always' });
    await world.wait(100);
    change(7, 'shipped');
    await world.wait(100);
    orders.now = [{ id: 7, status: 'shipped' }];
    waiting[0]?.answer();
    await world.wait(10_000);
    expect(page.data).toEqual([{ id: 7, status: 'shipped' }]);
    expect(page.shown.slice(1).every((data) => (data as Order[])[0]?.status === 'shipped')).toBe(true);
  });

  test('of a list of many pages all are changed, and they are not fetched page by page', async () => {
    const { world, waiting, change } = changing({
      optimistic: () => [
        { queryKey: ['pages'], update: ({ pages, ...rest }) => ({ ...rest, pages: pages.map(() => 'changed') }) },
      ],
    });
    const source = backend('unchanged');
    const list = world.lookAtPages(['pages'], source);
    await world.live();
    await list.fetchNextPage();
    change(7, 'shipped');
    expect(list.data).toMatchObject({ pages: ['changed', 'changed'] });
    await world.wait(100);
    waiting[0]?.refuse('forbidden');
    await world.wait(10_000);
    expect(list.data).toMatchObject({ pages: ['unchanged', 'unchanged'] });
    expect(source.asked).toBe(2);
    expect(world.queryClient.getQueryState(['pages'])?.isInvalidated).toBe(true);
  });

  test('what the server has done already stays, whatever becomes of the change', async () => {
    const { world, orders, waiting, change, shown } = changing();
    world.bind({ rules: { 'order.updated': [['orders']] } });
    await world.live();
    change(7, 'shipped');
    await world.wait(100);
    orders.now = [
      { id: 7, status: 'shipped' },
      { id: 8, status: 'open' },
    ];
    await world.publish('order.updated');
    orders.latencyMs = 10_000;
    waiting[0]?.refuse('forbidden');
    await world.wait(0);
    expect(shown()).toEqual(['shipped', 'open']);
  });

  test('so it is with the next change', async () => {
    const { world, orders, waiting, change, shown } = changing();
    world.bind({ rules: { 'order.updated': [['orders']] } });
    await world.live();
    change(7, 'shipped');
    await world.wait(100);
    waiting[0]?.refuse('forbidden');
    await world.wait(5_000);
    change(8, 'shipped');
    orders.now = [...(orders.now as Order[]), { id: 9, status: 'open' }];
    await world.publish('order.updated');
    expect(shown()).toEqual(['open', 'shipped', 'open']);
  });

  test('lists that are opened, or still loading, while a change is in flight show it, too', async () => {
    const error = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { world, waiting, change } = changing();
    await world.live();
    const source = { ...backend(), get: async () => [{ id: 7, status: 'open' }] };
    const loading = world.look(['orders', 'loading'], source);
    change(7, 'shipped');
    const opened = world.look(['orders', 'opened'], source);
    await world.wait(100);
    expect([loading.data, opened.data]).toEqual([[{ id: 7, status: 'shipped' }], [{ id: 7, status: 'shipped' }]]);
    waiting[0]?.refuse('forbidden');
    await world.wait(0);
    expect([loading.data, opened.data]).toEqual([[{ id: 7, status: 'open' }], [{ id: 7, status: 'open' }]]);
    expect(error).not.toHaveBeenCalled();
    error.mockRestore();
  });

  test('a fetch that is cancelled while a change is in flight brings nothing back', async () => {
    const { world, waiting, change } = changing();
    world.bind({
      rules: {
        'order.added': {
          keys: [['orders']],
          patch: (queryClient, { data }) => {
            (queryClient as typeof world.queryClient).setQueryData(['orders', 'slow'], data);
          },
        },
      },
    });
    await world.live();
    const slow = async ({ signal }: { signal?: AbortSignal }) => {
      await new Promise((resolve) => setTimeout(resolve, signal?.aborted ? 0 : 500));
      return [{ id: 7, status: 'open' }];
    };
    const page = world.show({ queryKey: ['orders', 'slow'], queryFn: slow });
    await world.wait(5_000);
    change(7, 'shipped');
    const again = world.show({ queryKey: ['orders', 'slow'], queryFn: slow });
    await world.wait(100);
    await world.publish('order.added', [
      { id: 7, status: 'open' },
      { id: 9, status: 'open' },
    ]);
    page.off();
    again.off();
    await world.wait(100);
    const data = () => (world.queryClient.getQueryData(['orders', 'slow']) as Order[]).map(({ status }) => status);
    expect(data()).toEqual(['shipped', 'open']);
    waiting[0]?.refuse('forbidden');
    await world.wait(0);
    expect(data()).toEqual(['open', 'open']);
  });

  test('data of a plain type can be changed as well', async () => {
    const { world, waiting, change } = changing({
      optimistic: () => [{ queryKey: ['unread'], update: () => 0 }],
    });
    const unread = world.look(['unread'], backend(5));
    await world.live();
    change(7, 'read');
    expect(unread.data).toBe(0);
    void world.queryClient.invalidateQueries({ predicate: () => true }, { cancelRefetch: true });
    await world.wait(100);
    expect(unread.data).toBe(0);
    waiting[0]?.refuse('forbidden');
    await world.wait(0);
    expect(unread.data).toBe(5);
  });

  test('an event of the same id confirms', async () => {
    const ids: string[] = [];
    const { world, waiting, change, shown } = changing({
      confirm: 'event',
      input: (variables: object, id: string) => {
        ids.push(id);
        return { ...variables, id };
      },
    });
    await world.live();
    const made = change(7, 'shipped');
    change(8, 'shipped');
    await world.wait(100);
    waiting[0]?.answer('taken');
    await world.wait(100);
    expect(made.outcome).toBeUndefined();
    expect(waiting[0]?.input).toMatchObject({ id: ids[0] });
    world.gateway.publish('tenant', { type: 'order.updated', id: ids[0] as string, data: {} });
    await world.wait(0);
    expect(made.outcome).toEqual({ output: 'taken' });
    expect(shown()).toEqual(['open', 'shipped']);
    expect(ids[0]).not.toBe(ids[1]);
  });

  test('an event may say in its own way which change it is about, and that it was refused', async () => {
    const { world, waiting, change, shown } = changing({
      confirm: {
        event: 'update_confirmed',
        id: ({ data }) => data.requestId,
        isAccepted: ({ data }) => data.success,
      },
      input: (variables: object, requestId: string) => ({ ...variables, requestId }),
    });
    await world.live();
    const [good, bad] = [change(7, 'shipped'), change(8, 'shipped')];
    await world.wait(100);
    const [one, other] = waiting.map(({ input }) => (input as unknown as { requestId: string }).requestId);
    await world.publish('update_confirmed', { requestId: one, success: true });
    waiting[0]?.answer();
    await world.publish('update_confirmed', { requestId: other, success: false });
    await world.wait(0);
    expect([good.outcome, bad.outcome]).toEqual([{ output: null }, 'rejected']);
    expect(shown()).toEqual(['open', 'open']);
  });

  test('what is not confirmed in time is taken back', async () => {
    const { world, change, shown } = changing({ timeoutMs: 3_000 });
    await world.live();
    const made = change(7, 'shipped');
    await world.wait(2_000);
    expect(shown()).toEqual(['shipped', 'open']);
    await world.wait(1_000);
    expect(made.outcome).toBe('timeout');
    expect(shown()).toEqual(['open', 'open']);
  });

  test('without a connection a change goes over HTTP, and ends in time there, too', async () => {
    const signals: AbortSignal[] = [];
    const { world, waiting, change, shown } = changing({
      timeoutMs: 3_000,
      fallback: async ({ id }: Change, { signal }: { signal: AbortSignal }) => {
        signals.push(signal);
        return id === 7 ? 'by HTTP' : new Promise(() => {});
      },
    });
    await world.live();
    world.gateway.stop();
    await world.wait(1_000);
    const [quick, slow] = [change(7, 'shipped'), change(8, 'shipped')];
    expect(shown()).toEqual(['shipped', 'shipped']);
    await world.wait(0);
    expect(quick.outcome).toEqual({ output: 'by HTTP' });
    await world.wait(3_000);
    expect(slow.outcome).toBe('timeout');
    expect(signals[1]?.aborted).toBe(true);
    expect(waiting).toEqual([]);
  });

  test('what may have been done is not done a second time over HTTP', async () => {
    const fallback = vi.fn(async () => 'by HTTP');
    const { world, change } = changing({ fallback });
    await world.live();
    const lost = change(7, 'shipped');
    await world.wait(100);
    world.gateway.drop();
    await world.wait(0);
    expect(lost.outcome).toBe('connection_lost');
    expect(fallback).not.toHaveBeenCalled();
    await world.wait(1_000);
    world.gateway.refuse('orders.update', 'unavailable');
    const undone = change(7, 'shipped');
    await world.wait(0);
    expect(undone.outcome).toEqual({ output: 'by HTTP' });
  });

  test('a change that can not be put on the data is left out, and told', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => {});
    const { world, waiting, change, shown } = changing({
      optimistic: () => [
        {
          queryKey: ['orders'],
          update: () => {
            throw new TypeError('a mistake');
          },
        },
      ],
    });
    await world.live();
    const made = change(7, 'shipped');
    await world.wait(100);
    waiting[0]?.answer('done');
    await world.wait(0);
    expect(shown()).toEqual(['open', 'open']);
    expect(made.outcome).toEqual({ output: 'done' });
    expect(console.error).toHaveBeenCalledWith(expect.objectContaining({ message: 'a mistake' }));
    vi.mocked(console.error).mockRestore();
  });
});
