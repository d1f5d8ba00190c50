/** The fake gateway says what a node would say (docs/protocol.md, docs/sse.md). */

import { createFakeGateway, type FakeGateway } from '@fanfare/client/testing';
import { describe, expect, test } from 'vitest';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { welcomed } from '../../support/wire.ts';

stopTime();

describe('presence', () => {
  async function watching(gateway: FakeGateway, user: string) {
    const wire = await welcomed(gateway, gateway.token({ user, info: { name: user } }));
    await wire.send({ op: 'subscribe', id: 1, topic: 'channel:team', presence: true });
    wire.news();
    return wire;
  }

  test('is told to those who watch, but nobody is told of herself', async () => {
    const gateway = createFakeGateway();
    const ana = await watching(gateway, 'ana');
    const bob = await watching(gateway, 'bob');
    const again = await watching(gateway, 'bob');
    expect(ana.news()).toEqual([{ op: 'joined', topic: 'channel:team', user: 'bob', info: { name: 'bob' } }]);
    bob.close();
    await settle();
    expect(ana.news()).toEqual([]);
    await again.send({ op: 'unsubscribe', id: 2, topic: 'channel:team' });
    expect(ana.news()).toEqual([{ op: 'left', topic: 'channel:team', user: 'bob', info: { name: 'bob' } }]);
    gateway.join('channel:team', 'eve');
    gateway.leave('channel:team', 'eve');
    await settle();
    expect(ana.news()).toEqual([
      { op: 'joined', topic: 'channel:team', user: 'eve' },
      { op: 'left', topic: 'channel:team', user: 'eve' },
    ]);
  });

  test('comes in pages', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    for (const user of ['a', 'b', 'c']) {
      gateway.join('channel:team', user);
    }
    await wire.send({ op: 'presence', id: 1, topic: 'channel:team', limit: 2 });
    const [{ cursor, ...page }] = wire.news();
    const topic = 'channel:team';
    expect(page).toEqual({ op: 'presence', id: 1, topic, count: 3, users: [{ user: 'a' }, { user: 'b' }] });
    await wire.send({ op: 'presence', id: 2, topic, limit: 2, cursor });
    expect(wire.news()).toEqual([{ op: 'presence', id: 2, topic, count: 3, users: [{ user: 'c' }] }]);
  });

  test('is only a number in a crowd', async () => {
    const gateway = createFakeGateway({ crowd: 2 });
    const wire = await watching(gateway, 'ana');
    gateway.join('channel:team', 'b');
    gateway.join('channel:team', 'c');
    gateway.leave('channel:team', 'c');
    await settle();
    expect(wire.news()).toMatchObject([{ op: 'joined' }, { op: 'presence', count: 3 }, { op: 'left', user: 'c' }]);
  });
});
