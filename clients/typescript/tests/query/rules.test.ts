import { describe, expect, test, vi } from 'vitest';
import { backend } from './support/backend.ts';
import { versions } from './support/versions.ts';
import { worldsOf } from './support/world.ts';

describe.each(versions)('rules with $name', (version) => {
  const worldOf = worldsOf(version);

  test('one event refreshes the detail page, every list and the dashboard that show it, and nothing else', async () => {
    const world = worldOf();
    const pages = [['order', 7], ['orders'], ['orders', { status: 'open' }], ['dashboard'], ['order', 8], ['team']];
    const sources = pages.map(() => backend());
    world.bind({
      rules: { 'order.updated': { keys: (message) => [['orders'], ['order', message.data.id], ['dashboard']] } },
    });
    pages.forEach((queryKey, at) => {
      world.look(queryKey, sources[at]);
    });
    await world.live();
    const before = sources.map(({ asked }) => asked);
    await world.publish('order.updated', { id: 7 });
    expect(sources.map(({ asked }, at) => asked - (before[at] as number))).toEqual([1, 1, 1, 1, 0, 0]);
  });

  test('keys alone are a rule, and an event of another type concerns nothing', async () => {
    const world = worldOf();
    const orders = backend('old');
    world.bind({ rules: { 'order.updated': [['orders']] } });
    const page = world.look(['orders'], orders);
    await world.live();
    orders.now = 'new';
    await world.publish('order.shipped');
    await world.publish('toString');
    await world.wait(5_000);
    expect(page.data).toBe('old');
    await world.publish('order.updated');
    expect(page.data).toBe('new');
  });

  test('trap 11: a key never stands for all queries', async () => {
    const world = worldOf();
    const team = backend();
    world.bind({ rules: { 'order.updated': [['orders']] } });
    world.look(['orders']);
    world.look(['team'], team);
    await world.live();
    const before = team.asked;
    await world.publish('order.updated');
    await world.wait(5_000);
    expect(team.asked).toBe(before);
    expect(world.queryClient.getQueryState(['team'])?.isInvalidated).toBe(false);
  });

  test('a query that nobody looks at is only marked stale, and fetched when somebody does', async () => {
    const world = worldOf({ queries: { staleTime: Number.POSITIVE_INFINITY, refetchOnMount: false } });
    const orders = backend('old');
    world.bind({ rules: { 'order.updated': [['orders']] } });
    world.look(['orders'], orders).off();
    await world.live();
    const before = orders.asked;
    orders.now = 'new';
    await world.publish('order.updated');
    await world.wait(10_000);
    expect(orders.asked).toBe(before);
    expect(world.queryClient.getQueryState(['orders'])?.isInvalidated).toBe(true);
    const page = world.look(['orders'], orders);
    await world.wait(0);
    expect(page.data).toBe('new');
    expect(orders.asked).toBe(before + 1);
  });

  test('a query that is switched off is not fetched', async () => {
    const world = worldOf();
    const orders = backend();
    world.bind({ rules: { 'order.updated': [['orders']] } });
    world.look(['orders'], orders, { enabled: false });
    await world.live();
    await world.publish('order.updated');
    await world.wait(5_000);
    expect(orders.asked).toBe(0);
  });

  test('trap 7: many quick updates cause few fetches, and end with the right state', async () => {
    const world = worldOf();
    const orders = backend(0);
    world.bind({ rules: { 'order.updated': [['orders'], ['orders', 'all']], 'order.added': [['orders']] } });
    const page = world.look(['orders', 'all'], orders);
    await world.live();
    const before = orders.asked;
    for (let count = 1; count <= 200; count += 1) {
      orders.now = count;
      await world.publish(count % 2 ? 'order.added' : 'order.updated');
      await world.wait(10);
    }
    await world.wait(1_000);
    expect(page.data).toBe(200);
    // At once, after one second, and after two.
    expect(orders.asked - before).toBe(3);
  });

  test('the first event is followed at once, the last one never left out', async () => {
    const world = worldOf();
    const orders = backend(0);
    world.bind({ rules: { 'order.updated': [['orders']] }, everyMs: 60_000 });
    const page = world.look(['orders'], orders);
    await world.live();
    await world.wait(60_000);
    orders.now = 1;
    await world.publish('order.updated');
    expect(page.data).toBe(1);
    orders.now = 2;
    await world.publish('order.updated');
    await world.wait(59_999);
    expect(page.data).toBe(1);
    await world.wait(1);
    expect(page.data).toBe(2);
  });

  test('a rule may have a pace of its own', async () => {
    const world = worldOf();
    const orders = backend(0);
    world.bind({ rules: { 'order.updated': { keys: [['orders']], everyMs: 100 } }, everyMs: 60_000 });
    const page = world.look(['orders'], orders);
    await world.live();
    await world.publish('order.updated');
    orders.now = 1;
    await world.publish('order.updated');
    await world.wait(100);
    expect(page.data).toBe(1);
  });

  test('a clock that is put back delays nothing', async () => {
    const world = worldOf();
    const orders = backend(0);
    world.bind({ rules: { 'order.updated': [['orders']] } });
    const page = world.look(['orders'], orders);
    await world.live();
    await world.publish('order.updated');
    vi.setSystemTime(Date.now() - 3_600_000);
    orders.now = 1;
    await world.publish('order.updated');
    await world.wait(1_000);
    expect(page.data).toBe(1);
  });

  test('trap 7: an infinite query of many pages is marked stale, and not fetched page by page', async () => {
    const world = worldOf();
    const [many, one] = [backend(), backend()];
    world.bind({ rules: { 'order.updated': [['orders']] } });
    const pages = world.lookAtPages(['orders', 'many'], many);
    world.lookAtPages(['orders', 'one'], one);
    await world.live();
    await pages.fetchNextPage();
    await pages.fetchNextPage();
    const before = { many: many.asked, one: one.asked };
    await world.publish('order.updated');
    await world.wait(10_000);
    expect(many.asked - before.many).toBe(0);
    expect(world.queryClient.getQueryState(['orders', 'many'])?.isInvalidated).toBe(true);
    expect(one.asked - before.one).toBe(1);
  });

  test('how many pages of an infinite query are fetched anew is for the app to say', async () => {
    const world = worldOf();
    const orders = backend();
    world.bind({ rules: { 'order.updated': [['orders']] }, infinitePages: 2 });
    const pages = world.lookAtPages(['orders'], orders);
    await world.live();
    await pages.fetchNextPage();
    const before = orders.asked;
    await world.publish('order.updated');
    await world.wait(10_000);
    expect(orders.asked - before).toBe(2);
  });

  test("trap 8: an event during a query's first fetch lets it be fetched again when that is over", async () => {
    const world = worldOf();
    const orders = backend('old');
    world.bind({ rules: { 'order.updated': [['orders']] } });
    await world.live();
    orders.latencyMs = 500;
    const page = world.look(['orders'], orders);
    await world.wait(100);
    orders.now = 'new';
    await world.publish('order.updated');
    await world.wait(400);
    expect(page.data).toBe('old');
    await world.wait(500);
    expect(page.data).toBe('new');
    await world.wait(10_000);
    expect(orders.asked).toBe(2);
  });

  test('trap 8: so does an event during any other fetch, and while one more page is fetched', async () => {
    const world = worldOf();
    const [orders, list] = [backend('old'), backend('old')];
    world.bind({ rules: { 'order.updated': [['orders'], ['list']] }, infinitePages: 5 });
    const page = world.look(['orders'], orders);
    const pages = world.lookAtPages(['list'], list);
    await world.live();
    await world.publish('order.updated');
    orders.latencyMs = list.latencyMs = 3_000;
    await world.wait(2_000);
    await world.publish('order.updated');
    await world.wait(1_000);
    orders.now = list.now = 'new';
    await world.publish('order.updated');
    await world.wait(30_000);
    expect(page.data).toBe('new');
    expect(pages.data).toMatchObject({ pages: ['new'] });
    list.now = 'newer';
    void pages.fetchNextPage();
    await world.wait(100);
    list.now = 'newest';
    await world.publish('order.updated');
    await world.wait(30_000);
    expect(pages.data).toMatchObject({ pages: ['newest', 'newest'] });
    list.latencyMs = 0;
    await world.publish('order.updated');
    await world.publish('order.updated');
    list.now = 'last';
    await pages.fetchNextPage();
    await world.wait(30_000);
    expect(pages.data).toMatchObject({ pages: ['last', 'last', 'last'] });
  });

  test('an event during a fetch that fails lets it be tried again, once', async () => {
    const world = worldOf();
    let asked = 0;
    const get = async () => {
      asked += 1;
      await new Promise((resolve) => setTimeout(resolve, 500));
      throw new Error('no luck');
    };
    world.bind({ rules: { 'order.updated': [['orders']] } });
    await world.live();
    vi.spyOn(console, 'error').mockImplementation(() => {});
    world.look(['orders'], { ...backend(), get });
    await world.wait(100);
    await world.publish('order.updated');
    await world.wait(30_000);
    expect(asked).toBe(2);
    vi.mocked(console.error).mockRestore();
  });

  test('a patch puts data into the cache, and nothing is fetched', async () => {
    const world = worldOf();
    const orders = backend([{ id: 7, status: 'open' }]);
    world.bind({
      rules: {
        'order.updated': {
          keys: [['orders']],
          patch: (queryClient, { data }) => {
            (queryClient as typeof world.queryClient).setQueryData(['orders'], [data]);
          },
        },
      },
    });
    const page = world.look(['orders'], orders);
    await world.live();
    const before = orders.asked;
    await world.publish('order.updated', { id: 7, status: 'shipped' });
    await world.wait(10_000);
    expect(page.data).toEqual([{ id: 7, status: 'shipped' }]);
    expect(orders.asked).toBe(before);
  });

  test('a patch that says no lets the queries be fetched', async () => {
    const world = worldOf();
    const orders = backend('old');
    world.bind({ rules: { 'order.updated': { keys: [['orders']], patch: () => false } } });
    const page = world.look(['orders'], orders);
    await world.live();
    orders.now = 'new';
    await world.publish('order.updated');
    expect(page.data).toBe('new');
  });

  test('a patch is not overwritten by an older answer that was on its way', async () => {
    const world = worldOf();
    const orders = backend('old');
    world.bind({
      rules: {
        'order.updated': {
          keys: [['orders']],
          patch: (queryClient, { data }) => {
            (queryClient as typeof world.queryClient).setQueryData(['orders'], data);
          },
        },
      },
    });
    const page = world.look(['orders'], orders);
    await world.live();
    await world.publish('order.updated', 'patched');
    orders.latencyMs = 3_000;
    world.look(['orders'], orders, { refetchOnMount: 'always' });
    await world.wait(100);
    orders.latencyMs = 100;
    orders.now = 'new';
    await world.publish('order.updated', 'new');
    expect(page.data).toBe('new');
    await world.wait(10_000);
    expect(page.data).toBe('new');
  });

  test('what this client has published itself can be left out', async () => {
    const world = worldOf();
    const orders = backend();
    world.bind({ rules: { 'order.updated': { keys: [['orders']], channels: ['orders'] } }, skipSelf: true });
    world.look(['orders'], orders);
    await world.live();
    const before = orders.asked;
    await world.client.channel('orders').publish('order.updated', { id: 7 });
    await world.wait(10_000);
    expect(orders.asked).toBe(before);
    await world.publish('order.updated', { id: 7 }, 'channel:orders');
    expect(orders.asked).toBe(before + 1);
  });

  test('a rule that throws is told, and keeps no other from being followed', async () => {
    const world = worldOf();
    const errors: string[] = [];
    vi.spyOn(console, 'error').mockImplementation(() => {});
    world.client.onError(({ code }) => errors.push(code));
    const orders = backend('old');
    world.bind({
      rules: {
        'order.updated': {
          keys: () => {
            throw new Error('a mistake');
          },
          onMissed: [],
        },
        'order.added': [['orders']],
      },
    });
    const page = world.look(['orders'], orders);
    await world.live();
    orders.now = 'new';
    await world.publish('order.updated');
    await world.publish('order.added');
    expect(errors).toEqual(['listener']);
    expect(page.data).toBe('new');
    vi.mocked(console.error).mockRestore();
  });

  test('the binding tells how many queries it keeps and when it has fetched them, and forgets what has left the cache', async () => {
    const world = worldOf();
    const binding = world.bind({ rules: { 'order.updated': [['orders']] } });
    const pages = [1, 2].map((number) => world.look(['orders', number]));
    world.look(['team']);
    await world.live();
    await world.wait(1_000);
    await world.publish('order.updated');
    expect(binding.cacheSize).toBe(2);
    expect(binding.lastRefresh).toEqual({ '["orders",1]': Date.now(), '["orders",2]': Date.now() });
    pages[1]?.off();
    world.queryClient.removeQueries({ queryKey: ['orders', 2] });
    expect(binding.cacheSize).toBe(1);
    expect(Object.keys(binding.lastRefresh)).toEqual(['["orders",1]']);
  });

  test('off undoes everything', async () => {
    const world = worldOf();
    const orders = backend('old');
    const binding = world.bind({ rules: { 'order.updated': { keys: [['orders']], channels: ['orders'] } } });
    const page = world.look(['orders'], orders);
    await world.live();
    await world.publish('order.updated', {}, 'channel:orders');
    await world.publish('order.updated', {}, 'channel:orders');
    binding();
    binding();
    orders.now = 'new';
    await world.publish('order.updated');
    await world.wait(10_000);
    expect(page.data).toBe('old');
    expect(world.channels).toEqual([]);
  });
});

describe('rules with keys of React Query 3 that are plain text', () => {
  const worldOf = worldsOf(versions[2] as (typeof versions)[number]);

  test('`orders` is what `["orders"]` is', async () => {
    const world = worldOf();
    const orders = backend('old');
    world.bind({ rules: { 'order.updated': [['orders']] } });
    const page = world.look('orders' as never, orders);
    await world.live();
    orders.now = 'new';
    await world.publish('order.updated');
    expect(page.data).toBe('new');
  });
});
