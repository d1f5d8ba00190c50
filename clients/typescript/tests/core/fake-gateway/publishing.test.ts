/** The fake gateway says what a node would say (docs/protocol.md, docs/sse.md). */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test } from 'vitest';
import { stopTime } from '../../support/clock.ts';
import { welcomed } from '../../support/wire.ts';

stopTime();

describe('what clients publish', () => {
  test('reaches all who are subscribed, the publisher too unless it says otherwise', async () => {
    const gateway = createFakeGateway();
    const [ana, bob] = [await welcomed(gateway), await welcomed(gateway)];
    for (const wire of [ana, bob]) {
      await wire.send({ op: 'subscribe', id: 1, topic: 'channel:board' });
      wire.news();
    }
    const event = { type: 'card.moved', data: { card: 3 } };
    await ana.send({ op: 'publish', id: 2, topic: 'channel:board', event });
    expect(ana.news()).toEqual([
      { op: 'published', id: 2 },
      { op: 'event', topic: 'channel:board', event },
    ]);
    const except = gateway.connections[0]?.id;
    await ana.send({ op: 'publish', id: 3, topic: 'channel:board', event: { ...event, except }, durable: true });
    expect(ana.news()).toMatchObject([{ op: 'published', id: 3, position: expect.stringMatching(/-1$/) }]);
    expect(bob.news()).toMatchObject([{ op: 'event' }, { op: 'event', event: { type: 'card.moved' } }]);
  });

  test('is refused when it isn’t allowed, or is no event', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway, gateway.token({ publish: ['channel:cursors:*'] }));
    const publish = async (topic: string, event: object) => {
      await wire.send({ op: 'publish', id: 1, topic, event });
      return wire.news();
    };
    expect(await publish('channel:board', { type: 'x' })).toMatchObject([{ code: 'forbidden' }]);
    expect(await publish('channel:cursors:7:8', { type: 'x' })).toMatchObject([{ code: 'forbidden' }]);
    expect(await publish('channel:cursors:7', { data: 1 })).toMatchObject([{ code: 'bad_frame' }]);
    expect(await publish('channel:cursors:7', { type: 'x', except: 'b' })).toMatchObject([{ code: 'forbidden' }]);
    expect(await publish('channel:cursors:7', { type: 'x' })).toEqual([{ op: 'published', id: 1 }]);
  });

  test('is kept where all events are', async () => {
    const gateway = createFakeGateway({ durable: ['channel:ledger'] });
    const wire = await welcomed(gateway);
    await wire.send({ op: 'publish', id: 1, topic: 'channel:ledger', event: { type: 'x' } });
    expect(wire.news()).toMatchObject([{ op: 'published', position: expect.stringMatching(/-1$/) }]);
  });
});
