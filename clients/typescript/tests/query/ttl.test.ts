import { describe, expect, test } from 'vitest';
import { backend } from './support/backend.ts';
import { versions } from './support/versions.ts';
import { worldsOf } from './support/world.ts';

describe.each(versions)('time to live by kind of data with $name', (version) => {
  const worldOf = worldsOf(version);
  const rules = { 'metrics.updated': [['metrics']], 'team.updated': { keys: [['team']], channels: ['team'] } };
  const ttl = [
    { queryKey: ['metrics'], staleTime: 300_000 },
    { queryKey: ['team'], staleTime: 180_000, whileLive: 3_600_000 },
  ];

  test('cached data is shown at once, and fetched anew when its time is over', async () => {
    const world = worldOf();
    const metrics = backend();
    world.gateway.stop();
    world.bind({ rules, ttl });
    world.look(['metrics', 'week'], metrics).off();
    await world.wait(299_000);
    const page = world.look(['metrics', 'week'], metrics);
    expect(page.data).toBe(1);
    await world.wait(0);
    expect(metrics.asked).toBe(1);
    page.off();
    await world.wait(1_000);
    expect(world.look(['metrics', 'week'], metrics).data).toBe(1);
    await world.wait(0);
    expect(metrics.asked).toBe(2);
  });

  test('while the data is live its time is never over', async () => {
    const world = worldOf();
    const metrics = backend();
    world.bind({ rules, ttl });
    world.look(['metrics'], metrics);
    await world.live();
    const before = metrics.asked;
    await world.wait(400_000);
    world.look(['metrics'], metrics);
    await world.wait(0);
    expect(metrics.asked).toBe(before);
  });

  test('or as late as the app says', async () => {
    const world = worldOf();
    const team = backend();
    world.bind({ rules, ttl });
    world.look(['team'], team);
    await world.live();
    const before = team.asked;
    await world.wait(3_500_000);
    world.look(['team'], team);
    await world.wait(0);
    expect(team.asked).toBe(before);
    await world.wait(100_000);
    world.look(['team'], team);
    await world.wait(0);
    expect(team.asked).toBe(before + 1);
  });

  test('when the connection is lost it counts again, for what is mounted, too', async () => {
    const world = worldOf();
    const metrics = backend();
    world.bind({ rules, ttl });
    const page = world.look(['metrics'], metrics);
    await world.live();
    await world.wait(400_000);
    expect(page.isStale).toBe(false);
    world.gateway.stop();
    await world.wait(1_000);
    expect(page.isStale).toBe(true);
    const before = metrics.asked;
    world.look(['metrics'], metrics);
    await world.wait(0);
    expect(metrics.asked).toBe(before + 1);
  });

  test('data that nothing keeps up to date is never live', async () => {
    const world = worldOf();
    const clients = backend();
    world.bind({ rules, ttl: [{ queryKey: ['clients'], staleTime: 600_000 }] });
    world.look(['clients'], clients);
    await world.live();
    await world.wait(600_000);
    world.look(['clients'], clients);
    await world.wait(0);
    expect(clients.asked).toBe(2);
  });

  test("a query's own time has precedence, other defaults stay, and off puts back what was there", async () => {
    const world = worldOf({ queries: { staleTime: 7 } });
    world.queryClient.setQueryDefaults(['team'], { staleTime: 9, retryDelay: 3 });
    const own = backend();
    const binding = world.bind({ rules, ttl });
    const mine = world.look(['metrics', 'own'], own, { staleTime: 1_000 });
    const page = world.look(['metrics'], backend());
    await world.live();
    expect(world.queryClient.getQueryDefaults(['team'])).toEqual({ staleTime: 180_000, retryDelay: 3 });
    expect(world.queryClient.getQueryDefaults(['metrics', 'x'])).toEqual({ staleTime: Number.POSITIVE_INFINITY });
    expect([mine.staleTime, page.staleTime]).toEqual([1_000, Number.POSITIVE_INFINITY]);
    const before = own.asked;
    world.look(['metrics', 'own'], own, { staleTime: 1_000 });
    await world.wait(0);
    expect(own.asked).toBe(before + 1);
    binding();
    expect(world.queryClient.getQueryDefaults(['team'])).toEqual({ staleTime: 9, retryDelay: 3 });
    expect(world.queryClient.getQueryDefaults(['metrics', 'x']) ?? {}).toEqual({});
    await world.wait(10);
    const fresh = world.look(['metrics'], backend());
    await world.wait(0);
    expect(fresh.isStale || page.isStale).toBe(false);
  });
});
