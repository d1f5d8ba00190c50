/** The fake gateway says what a node would say (docs/protocol.md, docs/sse.md). */

import { createFakeGateway, type FakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { stopTime } from '../../support/clock.ts';
import { welcomed } from '../../support/wire.ts';

stopTime();

describe('requests', () => {
  async function asking(gateway: FakeGateway, frame: object) {
    const wire = await welcomed(gateway);
    await wire.send({ op: 'request', id: 1, ...frame });
    return wire;
  }

  test('are answered by whoever takes them', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('orders.cancel', async (input, { user }) => ({ cancelled: input.id, by: user }));
    const wire = await asking(gateway, { method: 'orders.cancel', data: { id: 7 } });
    expect(wire.news()).toEqual([{ op: 'reply', id: 1, data: { cancelled: 7, by: '42' } }]);
    expect(gateway.received).toMatchObject([{ op: 'auth' }, { op: 'request', method: 'orders.cancel' }]);
  });

  test('are refused in the backend’s words', async () => {
    const gateway = createFakeGateway();
    const errors = [{ code: 'forbidden', message: 'not yours' }, { code: 'gone', message: 'odd' }, new Error('a bug')];
    gateway.onRequest('orders.cancel', () => {
      throw errors.shift();
    });
    const told = [];
    for (let n = 0; n < 3; n++) {
      told.push(...(await asking(gateway, { method: 'orders.cancel' })).news());
    }
    expect(told).toEqual([
      { op: 'error', id: 1, code: 'forbidden', message: 'not yours' },
      { op: 'error', id: 1, code: 'internal', message: 'odd' },
      { op: 'error', id: 1, code: 'internal', message: 'a bug' },
    ]);
  });

  test('that nobody takes, or answers in time, fail', async () => {
    const gateway = createFakeGateway();
    const untaken = await asking(gateway, { method: 'orders.cancel' });
    expect(untaken.news()).toMatchObject([{ op: 'error', id: 1, code: 'no_backend' }]);
    const off = gateway.onRequest('orders.cancel', () => new Promise(() => {}));
    const unanswered = await asking(gateway, { method: 'orders.cancel', timeout_ms: 500 });
    await vi.advanceTimersByTimeAsync(499);
    expect(unanswered.news()).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(unanswered.news()).toMatchObject([{ op: 'error', id: 1, code: 'timeout' }]);
    off();
    expect((await asking(gateway, { method: 'orders.cancel' })).news()).toMatchObject([{ code: 'no_backend' }]);
  });
});
