import type { ChannelState } from '@fanfare/client';
import { describe, expect, test } from 'vitest';
import { backend } from './support/backend.ts';
import { versions } from './support/versions.ts';
import { worldsOf } from './support/world.ts';

const forever = Number.POSITIVE_INFINITY;

describe.each(versions)('channels of rules with $name', (version) => {
  const worldOf = worldsOf(version);
  const rules = { 'order.updated': { keys: [['orders']], channels: ['orders'] } };

  test('a list is live although nothing on the page subscribes', async () => {
    const world = worldOf();
    const orders = backend('old');
    world.bind({ rules });
    const page = world.look(['orders'], orders);
    await world.wait(0);
    expect(world.channels).toEqual(['channel:orders']);
    orders.now = 'new';
    await world.publish('order.updated', {}, 'channel:orders');
    await world.wait(1_000);
    expect(page.data).toBe('new');
  });

  test('so is one that was mounted before the binding', async () => {
    const world = worldOf();
    const orders = backend('old');
    const page = world.look(['orders'], orders);
    await world.live();
    orders.now = 'new';
    world.bind({ rules });
    await world.wait(0);
    expect(world.channels).toEqual(['channel:orders']);
    expect(page.data).toBe('new');
  });

  test('nothing is connected as long as no query is there', async () => {
    const world = worldOf();
    world.bind({ rules });
    world.look(['team']);
    await world.wait(10_000);
    expect(world.gateway.opened).toBe(0);
  });

  test('a channel is left a while after the last query that needs it', async () => {
    const world = worldOf();
    world.bind({ rules });
    const pages = [world.look(['orders', 1]), world.look(['orders', 2])];
    await world.live();
    pages[0]?.off();
    await world.wait(10_000);
    expect(world.channels).toEqual(['channel:orders']);
    pages[1]?.off();
    await world.wait(2_000);
    expect(world.channels).toEqual(['channel:orders']);
    await world.wait(1_000);
    expect(world.channels).toEqual([]);
  });

  test('from page to page nothing is subscribed anew, and nothing fetched twice', async () => {
    const world = worldOf({ queries: { staleTime: forever } });
    const orders = backend();
    world.bind({ rules });
    const page = world.look(['orders'], orders);
    await world.live();
    const before = orders.asked;
    page.off();
    await world.wait(1_000);
    world.look(['orders'], orders);
    await world.wait(10_000);
    expect(orders.asked).toBe(before);
    expect(world.gateway.received.filter(({ op }) => op === 'subscribe')).toHaveLength(1);
  });

  test('names may come from the keys of the queries that are looked at', async () => {
    const world = worldOf();
    const squad = backend('old');
    world.bind({
      rules: {
        squad_update: {
          keys: ({ channel }) => [['squad', channel?.split(':')[1]]],
          channels: ([, team]) => (team ? [`team:${team}`] : []),
        },
      },
    });
    const page = world.look(['squad', '7'], squad);
    const other = world.look(['squad', '8']);
    world.look(['squad']);
    await world.live();
    expect(world.channels).toEqual(['channel:team:7', 'channel:team:8']);
    squad.now = 'new';
    await world.publish('squad_update', {}, 'channel:team:7');
    expect(page.data).toBe('new');
    other.off();
    await world.wait(3_000);
    expect(world.channels).toEqual(['channel:team:7']);
  });

  test('what a function of keys concerns is found out, unless the rule says it', async () => {
    const world = worldOf();
    world.bind({
      rules: {
        a: {
          keys: ({ data }) => [
            ['list', `${data.list}`],
            ['detail', data.order.id],
          ],
          channels: ['a'],
        },
        b: { keys: ({ data }) => data.ids.map((id: number) => ['batch', id]), channels: ['b'] },
        c: { keys: ({ data }) => [['said', data.id]], onMissed: [['more']], channels: ['c'] },
        d: { keys: ({ data }) => data.map(({ kind }: { kind: string }) => [kind]), channels: ['d'] },
      },
    });
    const channelsFor = async (key: readonly unknown[]) => {
      const page = world.look(key);
      await world.wait(0);
      const { channels } = world;
      page.off();
      await world.wait(10_000);
      return channels;
    };
    expect(await channelsFor(['detail', 7])).toEqual(['channel:a', 'channel:d']);
    expect(await channelsFor(['batch'])).toEqual(['channel:b', 'channel:d']);
    expect(await channelsFor(['more'])).toEqual(['channel:c', 'channel:d']);
    expect(await channelsFor(['said', 1])).toEqual(['channel:d']);
  });

  test('a function whose keys can not be found out concerns everything', async () => {
    const world = worldOf();
    world.bind({
      rules: {
        'orders.updated': {
          keys({ data }) {
            const keys: unknown[][] = [];
            for (const id of data.ids) {
              keys.push(['order', id]);
            }
            return keys;
          },
          channels: ['orders'],
        },
      },
    });
    world.look(['order', 7]);
    await world.wait(0);
    expect(world.channels).toEqual(['channel:orders']);
  });

  test('keys of a kind that was not foreseen are remembered', async () => {
    const world = worldOf();
    world.bind({
      rules: {
        status_update: {
          keys: ({ data }) => [[data.entity_type === 'workshop' ? 'workshop' : 'attendee', data.entity_id]],
          channels: ['workshops'],
        },
      },
    });
    world.look(['workshop', 7]);
    await world.live();
    expect(world.channels).toEqual([]);
    await world.publish('status_update', { entity_type: 'workshop', entity_id: 7 });
    await world.wait(0);
    expect(world.channels).toEqual(['channel:workshops']);
  });

  test('what changed between the fetch and the subscription is not missed', async () => {
    const world = worldOf({ queries: { staleTime: forever } });
    const orders = backend('old');
    world.gateway.latencyMs = 200;
    world.bind({ rules });
    const page = world.look(['orders'], orders);
    await world.wait(100);
    expect(page.data).toBe('old');
    orders.now = 'new';
    await world.publish('order.updated', {}, 'channel:orders');
    await world.wait(5_000);
    expect(page.data).toBe('new');
    expect(orders.asked).toBe(2);
  });

  test('nor what changed while the server rendered the page and the browser started', async () => {
    const world = worldOf({ queries: { staleTime: forever } });
    const orders = backend('new');
    world.queryClient.setQueryData(['orders'], 'rendered');
    world.bind({ rules });
    const page = world.look(['orders'], orders);
    await world.wait(0);
    expect(page.data).toBe('new');
    expect(orders.asked).toBe(1);
  });

  test('nor what changed while the page was closed and its channel left', async () => {
    const world = worldOf({ queries: { staleTime: forever, refetchOnMount: false } });
    const orders = backend('old');
    world.bind({ rules });
    world.client.connect();
    const page = world.look(['orders'], orders);
    await world.live();
    page.off();
    await world.wait(60_000);
    orders.now = 'new';
    await world.publish('order.updated', {}, 'channel:orders');
    const again = world.look(['orders'], orders);
    expect(again.data).toBe('old');
    await world.wait(1_000);
    expect(again.data).toBe('new');
  });

  test('a page whose channel is live already is fetched once', async () => {
    const world = worldOf();
    const detail = backend();
    world.bind({ rules: { 'order.updated': { keys: [['orders'], ['order']], channels: ['orders'] } } });
    world.look(['orders']);
    await world.live();
    world.look(['order', 7], detail);
    await world.wait(10_000);
    expect(detail.asked).toBe(1);
  });

  test('of many channels the last one counts', async () => {
    const world = worldOf();
    const orders = backend();
    world.bind({ rules: { 'order.updated': { keys: [['orders']], channels: ['a', 'b', 'c'] } } });
    world.look(['orders'], orders);
    await world.wait(10_000);
    expect(orders.asked).toBe(2);
  });

  test("a refused channel is the app's to see, and the query is fetched as if there were none", async () => {
    const world = worldOf();
    const states: ChannelState['status'][] = [];
    world.gateway.refuse('channel:orders', 'forbidden');
    world.client.channel('orders').state.subscribe(({ status }) => states.push(status));
    const orders = backend();
    world.bind({ rules, ttl: [{ queryKey: ['orders'], staleTime: 1_000 }] });
    const page = world.look(['orders'], orders);
    await world.live();
    expect(states).toContain('failed');
    expect(orders.asked).toBe(1);
    page.off();
    world.look(['orders'], orders);
    await world.wait(0);
    expect(orders.asked).toBe(2);
  });
});
