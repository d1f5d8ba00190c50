import { describe, expect, test, vi } from 'vitest';
import { backend } from './support/backend.ts';
import { versions } from './support/versions.ts';
import { worldsOf } from './support/world.ts';

describe.each(versions)('what may have been missed with $name', (version) => {
  const worldOf = worldsOf(version);
  const rules = {
    'order.updated': { keys: [['orders']], channels: ['orders'] },
    'squad.updated': {
      keys: ({ channel }: { channel: string | undefined }) => [['squad', channel?.slice(5)]],
      onMissed: [['squad']],
      channels: ([, team]: readonly string[]) => [`team:${team}`],
    },
    'plan.updated': [['plan']],
  };

  test('a gap lets those queries be fetched that its topic keeps up to date', async () => {
    const world = worldOf();
    const [orders, seven, eight, plan] = Array.from({ length: 4 }, () => backend()) as [never, never, never, never];
    const sources: { asked: number }[] = [orders, seven, eight, plan];
    world.bind({ rules });
    world.look(['orders'], orders);
    world.look(['squad', '7'], seven);
    world.look(['squad', '8'], eight);
    world.look(['plan'], plan);
    await world.live();
    const fetchedAfter = async (topic: `channel:${string}` | 'tenant') => {
      const before = sources.map(({ asked }) => asked);
      world.gateway.gap(topic);
      await world.wait(10_000);
      return sources.map(({ asked }, at) => asked - (before[at] as number));
    };
    // Events of a rule without channels may come on any topic.
    expect(await fetchedAfter('channel:orders')).toEqual([1, 0, 0, 1]);
    expect(await fetchedAfter('channel:team:7')).toEqual([0, 1, 0, 1]);
    expect(await fetchedAfter('tenant')).toEqual([0, 0, 0, 1]);
  });

  test('what is fetched after a gap may be less than what events concern, or more', async () => {
    const world = worldOf();
    const [orders, dashboard, plan] = [backend(), backend(), backend()];
    const keys = [['orders'], ['dashboard']];
    world.bind({ rules: { 'order.updated': { keys, onMissed: [['orders'], ['plan']], channels: ['orders'] } } });
    world.look(['dashboard'], dashboard);
    await world.live();
    expect(world.channels).toEqual(['channel:orders']);
    world.look(['orders'], orders);
    world.look(['plan'], plan);
    await world.live();
    const before = [orders.asked, dashboard.asked, plan.asked];
    world.gateway.gap('channel:orders');
    await world.wait(10_000);
    const after = [orders.asked, dashboard.asked, plan.asked];
    expect(after.map((count, at) => count - (before[at] as number))).toEqual([1, 0, 1]);
  });

  test('trap 7: after a gap the fetches are spread, so that not all browsers ask at once', async () => {
    const world = worldOf();
    const sources = Array.from({ length: 40 }, () => backend());
    world.bind({ rules, spreadMs: 4_000 });
    sources.forEach((source, at) => {
      world.look(['orders', at], source);
    });
    await world.live();
    const before = sources.map(({ asked }) => asked);
    const done = () => sources.filter(({ asked }, at) => asked > (before[at] as number)).length;
    world.gateway.gap('channel:orders');
    await world.wait(0);
    expect(done()).toBeLessThan(20);
    await world.wait(2_000);
    expect(done()).toBeGreaterThan(5);
    expect(done()).toBeLessThan(35);
    await world.wait(2_000);
    expect(done()).toBe(40);
    expect(sources.reduce((sum, { asked }, at) => sum + asked - (before[at] as number), 0)).toBe(40);
  });

  test('an event takes a query out of the queue: it is fetched at once, and only once', async () => {
    const world = worldOf();
    vi.spyOn(Math, 'random').mockReturnValue(0.9);
    const orders = backend('old');
    world.bind({ rules });
    const page = world.look(['orders'], orders);
    await world.live();
    const before = orders.asked;
    world.gateway.gap('channel:orders');
    await world.wait(0);
    orders.now = 'new';
    await world.publish('order.updated', {}, 'channel:orders');
    expect(page.data).toBe('new');
    await world.wait(10_000);
    expect(orders.asked - before).toBe(1);
    vi.mocked(Math.random).mockRestore();
  });

  test('who fetches it meanwhile takes it out of the queue as well', async () => {
    const world = worldOf();
    vi.spyOn(Math, 'random').mockReturnValue(0.9);
    const orders = backend();
    world.bind({ rules });
    world.look(['orders'], orders);
    await world.live();
    const before = orders.asked;
    world.gateway.gap('channel:orders');
    await world.wait(100);
    world.look(['orders'], orders, { refetchOnMount: 'always' });
    await world.wait(10_000);
    expect(orders.asked - before).toBe(1);
    vi.mocked(Math.random).mockRestore();
  });

  test('a gap can be left to the app: then it only marks', async () => {
    const world = worldOf({ queries: { staleTime: Number.POSITIVE_INFINITY } });
    const orders = backend();
    world.bind({ rules, refetchAfterGap: false });
    world.look(['orders'], orders);
    await world.live();
    expect(orders.asked).toBe(1);
    world.gateway.gap('channel:orders');
    await world.wait(10_000);
    expect(orders.asked).toBe(1);
    expect(world.queryClient.getQueryState(['orders'])?.isInvalidated).toBe(true);
  });

  test('after a reconnect that recovered everything nothing is fetched but what has changed', async () => {
    const world = worldOf({ gateway: { durable: ['channel:orders', 'channel:team:7', 'tenant', 'user:42'] } });
    const [orders, squad] = [backend('old'), backend()];
    world.bind({ rules });
    const page = world.look(['orders'], orders);
    world.look(['squad', '7'], squad);
    await world.live();
    const before = { orders: orders.asked, squad: squad.asked };
    await world.interruption(10_000, () => {
      orders.now = 'new';
      for (let count = 0; count < 10; count += 1) {
        world.gateway.publish('channel:orders', { type: 'order.updated', data: {} }, { durable: true });
      }
    });
    await world.wait(10_000);
    expect(page.data).toBe('new');
    expect(orders.asked - before.orders).toBe(1);
    expect(squad.asked - before.squad).toBe(0);
  });

  test('after one that could not know of ephemeral events they are fetched, and soon', async () => {
    const world = worldOf();
    const orders = backend('old');
    world.bind({ rules });
    const page = world.look(['orders'], orders);
    await world.live();
    const before = orders.asked;
    await world.interruption(10_000, () => {
      orders.now = 'new';
    });
    expect(page.data).toBe('new');
    await world.wait(10_000);
    expect(orders.asked - before).toBe(1);
  });

  test('after a logout and a login everything is fetched anew', async () => {
    const world = worldOf({ gateway: { durable: ['channel:orders', 'tenant', 'user:42'] } });
    const [orders, plan] = [backend('old'), backend('old')];
    world.bind({ rules });
    const pages = [world.look(['orders'], orders), world.look(['plan'], plan)];
    await world.live();
    const before = orders.asked + plan.asked;
    world.client.disconnect();
    orders.now = plan.now = 'new';
    await world.wait(60_000);
    await world.live();
    expect(pages.map(({ data }) => data)).toEqual(['new', 'new']);
    expect(orders.asked + plan.asked - before).toBe(2);
  });

  describe("the library's own refetch when the browser is online again", () => {
    const blink = (world: ReturnType<typeof worldOf>) => {
      world.setOnline(false);
      world.setOnline(true);
    };

    test('is left out for queries that are live, and for no others', async () => {
      const world = worldOf();
      const [orders, team] = [backend(), backend()];
      world.bind({ rules });
      world.look(['orders'], orders);
      world.look(['team'], team);
      await world.live();
      const before = { orders: orders.asked, team: team.asked };
      blink(world);
      await world.wait(10_000);
      expect(orders.asked - before.orders).toBe(0);
      expect(team.asked - before.team).toBe(1);
    });

    test('is left out when the connection comes back as well, so that nothing is fetched twice', async () => {
      const world = worldOf();
      const orders = backend();
      world.bind({ rules });
      world.look(['orders'], orders);
      await world.live();
      const before = orders.asked;
      world.setOnline(false);
      world.gateway.stop();
      await world.wait(10_000);
      world.setOnline(true);
      world.gateway.start();
      await world.wait(10_000);
      expect(orders.asked - before).toBe(1);
    });

    test('is made up for when the connection does not come back', async () => {
      const world = worldOf();
      const orders = backend('old');
      world.bind({ rules });
      const page = world.look(['orders'], orders);
      await world.live();
      world.gateway.stop();
      await world.wait(1_000);
      orders.now = 'new';
      blink(world);
      await world.wait(5_000);
      expect(page.data).toBe('new');
    });

    test('happens as ever while nothing is live, and after off', async () => {
      const world = worldOf();
      const orders = backend();
      const binding = world.bind({ rules });
      world.gateway.stop();
      world.look(['orders'], orders);
      await world.wait(1_000);
      blink(world);
      await world.wait(0);
      expect(orders.asked).toBe(2);
      world.gateway.start();
      await world.live();
      const before = orders.asked;
      binding();
      blink(world);
      await world.wait(0);
      expect(orders.asked - before).toBe(1);
    });

    test('is what the app has set, where it has set something', async () => {
      const world = worldOf({ queries: { refetchOnReconnect: false } });
      const orders = backend();
      const binding = world.bind({ rules: {} });
      world.look(['orders'], orders);
      await world.live();
      blink(world);
      await world.wait(0);
      expect(orders.asked).toBe(1);
      binding();
      expect(world.queryClient.getDefaultOptions().queries).toMatchObject({ refetchOnReconnect: false });
    });
  });
});
