/** Who is there: a list that is read once, and kept up to date. */

import type { Presence } from '@fanfare/client';
import { createFakeGateway, type FakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../support/client.ts';
import { stopTime } from '../support/clock.ts';
import { settle } from '../support/settle.ts';

stopTime();

const TEAM = 'channel:team';

function watching(gateway: FakeGateway) {
  const client = clientOf(gateway, { getToken: () => gateway.token({ user: 'me', info: { name: 'Me' } }) });
  const { presence } = client.channel('team');
  const values: Presence[] = [];
  const off = presence.subscribe((value) => values.push(value));
  const now = () => {
    const { status, users, count } = presence.get();
    return [status, users.map(({ user }) => user).join(' '), count];
  };
  return { client, presence, values, off, now };
}

describe('presence', () => {
  test('is nobody’s business until somebody looks', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.channel('team').subscribe();
    await settle();
    expect(client.channel('team').presence.get()).toEqual({ status: 'idle', users: [], count: 0, error: undefined });
    expect(gateway.received.map(({ op }) => op)).toEqual(['auth', 'subscribe']);
    const watched = watching(gateway);
    await settle();
    expect(watched.now()).toEqual(['ready', 'me', 1]);
  });

  test('is a list of all who are there, then of who comes and goes', async () => {
    const gateway = createFakeGateway();
    gateway.join(TEAM, 'ana', { name: 'Ana' });
    const { values, presence } = watching(gateway);
    await settle();
    gateway.join(TEAM, 'bob');
    await settle();
    gateway.leave(TEAM, 'ana');
    await settle();
    expect(values.map(({ status }) => status)).toEqual(['loading', 'ready', 'ready', 'ready']);
    expect(values[1]?.users).toEqual([
      { user: 'ana', info: { name: 'Ana' } },
      { user: 'me', info: { name: 'Me' } },
    ]);
    expect(presence.get()).toEqual({
      status: 'ready',
      users: [
        { user: 'me', info: { name: 'Me' } },
        { user: 'bob', info: undefined },
      ],
      count: 2,
      error: undefined,
    });
  });

  test('begins when somebody looks and ends when nobody does', async () => {
    const gateway = createFakeGateway();
    const { client, presence, off, now } = watching(gateway);
    const second = presence.subscribe(() => {});
    await settle();
    off();
    off();
    expect(now()).toEqual(['ready', 'me', 1]);
    second();
    expect(now()).toEqual(['idle', '', 0]);
    await vi.advanceTimersByTimeAsync(2_500);
    expect(client.channel('team').state.get()).toEqual({ status: 'idle' });
    expect(gateway.connections).toEqual([]);
  });

  test('is there again when somebody looks again, while the channel is still subscribed', async () => {
    const gateway = createFakeGateway();
    const { client, presence, off, now } = watching(gateway);
    client.channel('team').subscribe();
    await settle();
    off();
    await vi.advanceTimersByTimeAsync(100);
    gateway.join(TEAM, 'ana');
    await settle();
    presence.subscribe(() => {});
    await settle();
    expect(now()).toEqual(['ready', 'me ana', 2]);
    gateway.leave(TEAM, 'ana');
    await settle();
    expect(now()).toEqual(['ready', 'me', 1]);
  });

  test('comes in pages, all of which are read', async () => {
    const gateway = createFakeGateway({ crowd: 5_000 });
    for (let n = 0; n < 2_500; n++) {
      gateway.join(TEAM, `user-${n}`);
    }
    const { presence } = watching(gateway);
    await settle();
    expect(presence.get()).toMatchObject({ status: 'ready', count: 2_501 });
    expect(gateway.received.filter(({ op }) => op === 'presence')).toMatchObject([
      { topic: TEAM },
      { cursor: '1000' },
      { cursor: '2000' },
    ]);
  });

  test.each([
    ['before', 150],
    ['after', 250],
  ])('counts who comes and goes %s a page that knows nothing of it', async (_, atMs) => {
    const gateway = createFakeGateway();
    gateway.join(TEAM, 'ana');
    gateway.join(TEAM, 'bob');
    const { now } = watching(gateway);
    await settle();
    // The gap arrives after 100 ms, the question at 200, and its answer at 300.
    gateway.latencyMs = 100;
    gateway.gap(TEAM);
    await vi.advanceTimersByTimeAsync(atMs);
    const [connection] = gateway.connections;
    connection?.send({ op: 'left', topic: TEAM, user: 'ana' });
    connection?.send({ op: 'joined', topic: TEAM, user: 'eve' });
    await vi.advanceTimersByTimeAsync(1_000);
    const [status, users, count] = now();
    expect([status, String(users).split(' ').sort(), count]).toEqual(['ready', ['bob', 'eve', 'me'], 3]);
  });

  test('is read anew after a gap of its channel', async () => {
    const gateway = createFakeGateway();
    const { client, values, now } = watching(gateway);
    client.channel('other').subscribe();
    await settle();
    gateway.gap('channel:other');
    await settle();
    expect(gateway.received.filter(({ op }) => op === 'presence')).toHaveLength(1);
    gateway.gap(TEAM);
    await settle();
    expect(gateway.received.filter(({ op }) => op === 'presence')).toHaveLength(2);
    expect(values.slice(-2).map(({ status }) => status)).toEqual(['loading', 'ready']);
    expect(now()).toEqual(['ready', 'me', 1]);
  });

  test('is set up again, and read anew, on a new connection', async () => {
    const gateway = createFakeGateway();
    const { values, now } = watching(gateway);
    gateway.join(TEAM, 'ana');
    await settle();
    gateway.drop();
    gateway.leave(TEAM, 'ana');
    gateway.join(TEAM, 'bob');
    await vi.advanceTimersByTimeAsync(500);
    expect(now()).toEqual(['ready', 'bob me', 2]);
    // Nobody sees an empty room in between.
    expect(values.slice(2).every(({ users }) => users.length > 0)).toBe(true);
    gateway.leave(TEAM, 'bob');
    await settle();
    expect(now()).toEqual(['ready', 'me', 1]);
  });

  test('is a number in a crowd, and a list again after it', async () => {
    const gateway = createFakeGateway({ crowd: 3 });
    const { now, presence } = watching(gateway);
    gateway.join(TEAM, 'a');
    gateway.join(TEAM, 'b');
    await settle();
    gateway.join(TEAM, 'c');
    await settle();
    expect(now()).toEqual(['crowded', '', 4]);
    gateway.join(TEAM, 'd');
    await settle();
    expect(now()).toEqual(['crowded', '', 5]);
    gateway.leave(TEAM, 'd');
    gateway.leave(TEAM, 'c');
    await settle();
    expect(presence.get().status).toBe('ready');
    expect(now()).toEqual(['ready', 'a b me', 3]);
  });

  test('is a number from then on, though a page of the list is still on its way', async () => {
    const gateway = createFakeGateway();
    const { now, values } = watching(gateway);
    await settle();
    // As above: the page arrives after 300 ms, the news at 250.
    gateway.latencyMs = 100;
    gateway.gap(TEAM);
    await vi.advanceTimersByTimeAsync(150);
    gateway.connections[0]?.send({ op: 'presence', topic: TEAM, count: 700 });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(now()).toEqual(['crowded', '', 700]);
    expect(values.slice(-2).map(({ status }) => status)).toEqual(['loading', 'crowded']);
  });

  test('says why it can’t be had', async () => {
    const gateway = createFakeGateway();
    const { presence } = watching(gateway);
    const lift = gateway.refuse(TEAM, 'forbidden', 'no presence here');
    await settle();
    expect(presence.get()).toMatchObject({ status: 'failed', users: [], error: { code: 'forbidden' } });
    lift();
  });

  test.each([
    ['before', true],
    ['after', false],
  ])(
    'that an operator’s rule forbids costs nobody the channel (looked at %s it is listened to)',
    async (_, isFirst) => {
      const gateway = createFakeGateway();
      const WebSocket = class extends gateway.WebSocket {
        override send(message: string | Uint8Array<ArrayBuffer>) {
          const { op, id, topics } = JSON.parse(message as string);
          if (op === 'presence' || topics?.[0].presence) {
            const refusal = { code: 'forbidden', message: 'this topic has no presence' };
            gateway.connections[0]?.send({ op: 'error', id, topic: TEAM, ...refusal });
          } else {
            super.send(message);
          }
        }
      };
      const client = clientOf(gateway, { WebSocket });
      const channel = client.channel('team');
      const heard: unknown[] = [];
      const steps = [() => channel.presence.subscribe(() => {}), () => channel.on('*', ({ data }) => heard.push(data))];
      for (const step of isFirst ? steps : steps.reverse()) {
        step();
        await settle();
      }
      gateway.publish(TEAM, { type: 'x', data: 1 });
      await settle();
      expect(heard).toEqual([1]);
      expect(channel.state.get()).toEqual({ status: 'subscribed' });
      expect(channel.presence.get()).toMatchObject({ status: 'failed', error: { code: 'forbidden' } });
      expect(client.state.get().status).toBe('connected');
    },
  );

  test('is the same object until it changes', async () => {
    const gateway = createFakeGateway();
    const { presence } = watching(gateway);
    await settle();
    const before = presence.get();
    gateway.publish(TEAM, { type: 'unrelated' });
    await settle();
    expect(presence.get()).toBe(before);
  });
});
