/** The fake gateway says what a node would say (docs/protocol.md, docs/sse.md). */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { welcomed, wireTo } from '../../support/wire.ts';

stopTime();

describe('faults', () => {
  test('a gateway that is down breaks its connections and refuses new ones', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    gateway.stop();
    await settle();
    expect(wire.closes).toEqual([{ code: 1006, reason: '' }]);
    const refused = await wireTo(gateway);
    expect(refused.closes).toMatchObject([{ code: 1006 }]);
    await expect(gateway.fetch('https://fanfare.test/sse')).rejects.toThrow(TypeError);
    gateway.start();
    expect((await welcomed(gateway)).closes).toEqual([]);
    expect(gateway.opened).toBe(3);
  });

  test('a proxy lets no WebSocket through', async () => {
    const gateway = createFakeGateway();
    gateway.blocksWebSockets = true;
    expect((await wireTo(gateway)).closes).toMatchObject([{ code: 1006 }]);
  });

  test('a connection in a dead network hears nothing, not even its end', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    gateway.freeze();
    gateway.publish('tenant', { type: 'x' });
    await wire.send({ op: 'ping' });
    wire.close(1000);
    const unborn = await wireTo(gateway);
    gateway.thaw();
    await vi.advanceTimersByTimeAsync(200_000);
    expect([...wire.news(), ...wire.closes, ...unborn.news(), ...unborn.closes]).toEqual([]);
    expect(gateway.connections).toEqual([]);
    expect((await welcomed(gateway)).closes).toEqual([]);
  });

  test('a slow network keeps the order', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    gateway.latencyMs = 300;
    gateway.publish('tenant', { type: 'first' });
    gateway.latencyMs = 0;
    gateway.publish('tenant', { type: 'second' });
    await vi.advanceTimersByTimeAsync(300);
    expect(wire.news()).toMatchObject([{ event: { type: 'first' } }, { event: { type: 'second' } }]);
  });

  test('one says farewell with a code', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    gateway.disconnect({ code: 1012, after_ms: 1_840 });
    await settle();
    expect(wire.frames.at(-1)).toEqual({
      op: 'disconnect',
      code: 1012,
      reason: 'draining',
      reconnect: true,
      after_ms: 1_840,
    });
    expect(wire.closes).toEqual([{ code: 1012, reason: 'draining' }]);
  });

  test('minted tokens expire all at once', async () => {
    const gateway = createFakeGateway();
    const token = gateway.token();
    const wire = await welcomed(gateway, token);
    gateway.expireTokens();
    await settle();
    expect(wire.closes).toMatchObject([{ code: 4409 }]);
    expect((await welcomed(gateway, token)).closes).toMatchObject([{ code: 4401 }]);
    expect((await welcomed(gateway)).closes).toEqual([]);
  });
});
