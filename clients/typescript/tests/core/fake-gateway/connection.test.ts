/** The fake gateway says what a node would say (docs/protocol.md, docs/sse.md). */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { welcomed, wireTo } from '../../support/wire.ts';

stopTime();

describe('a connection', () => {
  test('is welcomed to the tenant and to its own topic', async () => {
    const gateway = createFakeGateway({ tenant: 'acme' });
    const wire = await wireTo(gateway);
    await wire.send({ op: 'auth', token: gateway.token({ user: 'ana', subscribe: ['channel:news'], ttlMs: 60_000 }) });
    const [welcome] = wire.frames;
    expect(welcome).toMatchObject({ op: 'welcome', version: 1, tenant: 'acme', user: 'ana', ping_ms: 25_000 });
    expect(welcome.expires_at - welcome.server_time).toBe(60_000);
    expect(welcome.topics.map(({ topic }: { topic: string }) => topic)).toEqual(['tenant', 'user:ana', 'channel:news']);
    expect(gateway.connections).toMatchObject([{ id: welcome.connection, user: 'ana', transport: 'websocket' }]);
  });

  test('takes the token from a subprotocol, too, and never sends it back', async () => {
    const gateway = createFakeGateway();
    const socket = new gateway.WebSocket(gateway.url, ['fanfare.v1.json', 'fanfare.token.x']);
    await settle();
    expect(socket.protocol).toBe('fanfare.v1.json');
    expect(gateway.connections).toMatchObject([{ user: '42' }]);
  });

  test('may only send auth before it is known, and has five seconds for it', async () => {
    const gateway = createFakeGateway();
    const wire = await wireTo(gateway);
    await wire.send({ op: 'subscribe', id: 1, topic: 'channel:orders' });
    expect(wire.news()).toMatchObject([{ op: 'error', id: 1, code: 'unauthenticated' }]);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(wire.news()).toMatchObject([{ op: 'disconnect', code: 4401, reconnect: false }]);
    expect(wire.closes).toMatchObject([{ code: 4401 }]);
    expect(gateway.connections).toEqual([]);
  });

  test('is closed when its token is refused', async () => {
    const gateway = createFakeGateway();
    gateway.refuseTokens(1);
    const refused = await wireTo(gateway);
    await refused.send({ op: 'auth', token: 'x' });
    expect(refused.frames).toMatchObject([{ op: 'disconnect', code: 4401, reconnect: false }]);
    const wire = await welcomed(gateway);
    expect(wire.closes).toEqual([]);
  });

  test('is closed when its token expires, unless it renews it', async () => {
    const gateway = createFakeGateway({ tokenTtlMs: 60_000 });
    const wire = await welcomed(gateway);
    await vi.advanceTimersByTimeAsync(50_000);
    await wire.send({ op: 'auth', token: gateway.token() });
    expect(wire.news()).toContainEqual({ op: 'renewed', expires_at: Date.now() + 60_000 });
    await vi.advanceTimersByTimeAsync(30_000);
    await wire.send({ op: 'pong' });
    expect(wire.closes).toEqual([]);
    await vi.advanceTimersByTimeAsync(40_000);
    expect(wire.closes).toEqual([{ code: 4409, reason: 'token_expired' }]);
  });

  test('keeps its old token when the new one is refused, or is another user’s', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    await wire.send({ op: 'auth', token: gateway.token({ user: 'eve' }) });
    expect(wire.news()).toMatchObject([{ op: 'error', code: 'forbidden' }]);
    gateway.refuseTokens();
    await wire.send({ op: 'auth', token: 'x' });
    expect(wire.news()).toMatchObject([{ op: 'error', code: 'unauthenticated' }]);
    expect(wire.closes).toEqual([]);
  });

  test('loses the topics that a renewed token no longer allows', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    await wire.send({ op: 'subscribe', id: 1, topic: 'channel:team.7' });
    wire.news();
    await wire.send({ op: 'auth', token: gateway.token({ channels: ['orders'] }) });
    expect(wire.news()).toMatchObject([
      { op: 'renewed' },
      { op: 'unsubscribed', topic: 'channel:team.7', code: 'forbidden' },
    ]);
  });

  test('is pinged when it is quiet, and closed when it leaves two pings unanswered', async () => {
    const gateway = createFakeGateway({ pingMs: 10_000 });
    const wire = await welcomed(gateway);
    await vi.advanceTimersByTimeAsync(10_000);
    await wire.send({ op: 'pong' });
    expect(wire.news()).toEqual([{ op: 'ping' }]);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(wire.news()).toEqual([{ op: 'ping' }, { op: 'ping' }]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(wire.news()).toMatchObject([{ op: 'disconnect', code: 4408, reconnect: true }]);
  });

  test('is closed for what is no frame, and told of what is none that the gateway knows', async () => {
    const gateway = createFakeGateway();
    const wire = await welcomed(gateway);
    await wire.send({ op: 'dance', id: 7 });
    expect(wire.news()).toMatchObject([{ op: 'error', id: 7, code: 'bad_frame' }]);
    await wire.send({ op: 'subscribe', id: 'seven', topic: 'channel:orders' });
    expect(wire.news()).toMatchObject([{ op: 'error', topic: 'channel:orders', code: 'bad_frame' }]);
    await wire.send([] as never);
    expect(wire.news()).toMatchObject([{ op: 'disconnect', code: 4400, reconnect: false }]);
  });

  test('closes as a browser has it: with its own code, or 1005 without one', async () => {
    const gateway = createFakeGateway();
    const [one, other] = [await welcomed(gateway), await welcomed(gateway)];
    expect(() => one.close(1001)).toThrow('1001');
    gateway.publish('tenant', { type: 'too.late' });
    one.close(4000);
    other.close();
    expect(one.closes).toEqual([]);
    await settle();
    expect(one.news()).toEqual([]);
    expect([one.closes, other.closes]).toMatchObject([[{ code: 4000 }], [{ code: 1005 }]]);
    expect(gateway.connections).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
