/** The fake gateway says what a node would say (docs/protocol.md, docs/sse.md). */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test } from 'vitest';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { welcomed, wireTo } from '../../support/wire.ts';

stopTime();

/** The number of a position. */
const seqOf = (position: string) => Number(position.split('-')[1]);

describe('topics', () => {
  test('are subscribed in their order, and what is refused doesn’t stop the others', async () => {
    const gateway = createFakeGateway({ durable: ['channel:ledger'] });
    const wire = await welcomed(gateway, gateway.token({ channels: ['orders', 'ledger', 'busy'] }));
    const lift = gateway.refuse('channel:busy', 'unavailable');
    const topics = ['channel:orders', 'channel:secret', 'nonsense', 'channel:ledger', 'channel:busy'];
    await wire.send({ op: 'subscribe', id: 1, topics: topics.map((topic) => ({ topic })) });
    expect(wire.news()).toMatchObject([
      { op: 'subscribed', id: 1, topic: 'channel:orders' },
      { op: 'error', id: 1, topic: 'channel:secret', code: 'forbidden' },
      { op: 'error', id: 1, topic: 'nonsense', code: 'invalid_topic' },
      { op: 'subscribed', id: 1, topic: 'channel:ledger', durable: true },
      { op: 'error', id: 1, topic: 'channel:busy', code: 'unavailable' },
    ]);
    lift();
    await wire.send({ op: 'subscribe', id: 2, topic: 'channel:busy' });
    expect(wire.news()).toMatchObject([{ op: 'subscribed', id: 2, topic: 'channel:busy' }]);
    gateway.refuse('channel:busy', 'too_large');
    await wire.send({ op: 'publish', id: 3, topic: 'channel:busy', event: { type: 'x' } });
    await wire.send({ op: 'history', id: 4, topic: 'channel:busy', limit: 1 });
    expect(wire.news()).toMatchObject([
      { op: 'error', id: 3, code: 'too_large' },
      { op: 'error', id: 4, code: 'too_large' },
    ]);
  });

  test('bring events after their answer and until they are left', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    await wire.send({ op: 'subscribe', id: 1, topic: 'channel:orders' });
    gateway.publish('channel:orders', { type: 'order.touched', data: { id: 7 } });
    const position = gateway.publish('channel:orders', { type: 'order.updated' }, { durable: true });
    gateway.publish('channel:other', { type: 'order.updated' });
    gateway.publish('user:42', { type: 'export.ready' });
    await settle();
    expect(wire.news()).toEqual([
      expect.objectContaining({ op: 'subscribed' }),
      { op: 'event', topic: 'channel:orders', event: { type: 'order.touched', data: { id: 7 } } },
      { op: 'event', topic: 'channel:orders', position, event: { type: 'order.updated' } },
      { op: 'event', topic: 'user:42', event: { type: 'export.ready' } },
    ]);
    await wire.send({ op: 'unsubscribe', id: 2, topic: 'channel:orders' });
    gateway.publish('channel:orders', { type: 'order.touched' });
    await wire.send({ op: 'unsubscribe', id: 3, topic: 'tenant' });
    expect(wire.news()).toMatchObject([
      { op: 'unsubscribed', id: 2, topic: 'channel:orders' },
      { op: 'error', id: 3, code: 'forbidden' },
    ]);
  });

  describe('for a client that comes back', () => {
    async function withHistory(options: Parameters<typeof createFakeGateway>[0] = {}) {
      const gateway = createFakeGateway(options);
      const positions = [1, 2, 3, 4].map(
        (n) => gateway.publish('channel:orders', { type: 'order.updated', data: n }, { durable: true }) as string,
      );
      const wire = await welcomed(gateway);
      const back = async (since: string | undefined) => {
        await wire.send({ op: 'subscribe', id: 1, topic: 'channel:orders', ...(since && { since }) });
        const [answer] = wire.news();
        return { ...answer, data: answer.events?.map(({ event }: { event: { data: number } }) => event.data) };
      };
      return { gateway, positions, back };
    }

    test('tell nothing of the past to who asks for none', async () => {
      const { positions, back } = await withHistory();
      const answer = await back(undefined);
      expect(answer.position).toBe(positions[3]);
      expect(answer).not.toHaveProperty('recovered');
    });

    test('have what was missed', async () => {
      const { positions, back } = await withHistory();
      expect(await back(positions[1])).toMatchObject({ position: positions[3], recovered: true, data: [3, 4] });
      expect(await back(positions[3])).toMatchObject({ recovered: true, data: [] });
    });

    test('have it piece by piece when it doesn’t fit', async () => {
      const { positions, back } = await withHistory({ answerEvents: 2 });
      const first = await back(positions[0]);
      expect(first).toMatchObject({ recovered: true, more: true, data: [2, 3], position: positions[3] });
      const second = await back(first.events[1].position);
      expect(second).toMatchObject({ recovered: true, data: [4] });
      expect(second).not.toHaveProperty('more');
    });

    test('say so when the history doesn’t go back that far', async () => {
      const { gateway, positions, back } = await withHistory();
      gateway.trim('channel:orders', 1);
      expect(await back(positions[1])).toMatchObject({ recovered: false, reason: 'expired', data: [4] });
      expect(await back(positions[2])).toMatchObject({ recovered: true, data: [4] });
      expect(await back('0-0')).toMatchObject({ recovered: false, reason: 'expired', data: [4] });
      const ahead = positions[3]?.replace(/-4$/, '-5');
      expect(await back(ahead)).toMatchObject({ recovered: false, reason: 'epoch', data: [] });
    });

    test('say so when the history is another one', async () => {
      const { gateway, positions, back } = await withHistory();
      gateway.forget('channel:orders');
      gateway.publish('channel:orders', { type: 'order.updated', data: 5 }, { durable: true });
      const answer = await back(positions[3]);
      expect(answer).toMatchObject({ recovered: false, reason: 'epoch', data: [5] });
      expect(seqOf(answer.position)).toBe(1);
      expect(await back('nonsense')).toMatchObject({ op: 'error', code: 'bad_frame', topic: 'channel:orders' });
    });
  });

  test('bring what was missed of the own ones with the welcome', async () => {
    const gateway = createFakeGateway();
    const first = await wireTo(gateway);
    await first.send({ op: 'auth', token: 'x' });
    const seen = first.frames[0].topics[1].position;
    gateway.drop();
    const position = gateway.publish('user:42', { type: 'export.ready' }, { durable: true });
    const wire = await wireTo(gateway);
    await wire.send({ op: 'auth', token: 'x', since: { 'user:42': seen, 'channel:ignored': 'whatever' } });
    const [tenant, own] = wire.frames[0].topics;
    expect(tenant).not.toHaveProperty('recovered');
    expect(own).toEqual({
      topic: 'user:42',
      position,
      recovered: true,
      events: [{ position, event: { type: 'export.ready' } }],
    });
  });

  test('keep a thousand events, and let the oldest go', async () => {
    const gateway = createFakeGateway();
    const publish = () => gateway.publish('channel:orders', { type: 'x' }, { durable: true }) as string;
    const [first] = Array.from({ length: 1_001 }, publish);
    const wire = await welcomed(gateway);
    await wire.send({ op: 'subscribe', id: 1, topic: 'channel:orders', since: first as string });
    publish();
    await wire.send({ op: 'subscribe', id: 2, topic: 'channel:orders', since: first as string });
    expect(wire.news()).toMatchObject([
      { id: 1, recovered: true },
      { op: 'event' },
      { id: 2, recovered: false, reason: 'expired' },
    ]);
  });

  test('are told of gaps', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    await wire.send({ op: 'subscribe', id: 1, topic: 'channel:orders' });
    const [{ position }] = wire.news();
    gateway.gap('channel:orders');
    gateway.gap('channel:orders', { lost: 'all', reason: 'epoch' });
    gateway.gap('channel:other');
    await settle();
    expect(wire.news()).toEqual([
      { op: 'gap', topic: 'channel:orders', lost: 'ephemeral', reason: 'backplane' },
      { op: 'gap', topic: 'channel:orders', lost: 'all', reason: 'epoch', position },
    ]);
  });

  test('have a history to leaf through, the newest page first', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    for (const data of [1, 2, 3]) {
      gateway.publish('channel:orders', { type: 'order.updated', data }, { durable: true });
    }
    await wire.send({ op: 'history', id: 1, topic: 'channel:orders', limit: 2 });
    const [page] = wire.news();
    expect(page).toMatchObject({ op: 'history', id: 1, more: true, events: [{ event: { data: 2 } }, {}] });
    const before = page.events[0].position;
    await wire.send({ op: 'history', id: 2, topic: 'channel:orders', limit: 2, before });
    expect(wire.news()).toMatchObject([{ id: 2, more: false, events: [{ event: { data: 1 } }] }]);
    await wire.send({ op: 'history', id: 3, topic: 'channel:orders' });
    expect(wire.news()).toMatchObject([{ op: 'error', id: 3, code: 'bad_frame' }]);
  });
});
