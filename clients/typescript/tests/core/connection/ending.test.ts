/** When there is a connection, and how it comes back. */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../../support/client.ts';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { errorsOf, statusesOf } from '../../support/watch.ts';

stopTime();

describe('when it ends', () => {
  const returning = [1001, 1005, 1006, 1011, 1012, 1013, 3999, 4408, 4409, 4413, 4429, 4999];
  const final = [
    [1000, 'ended'],
    [1002, 'protocol'],
    [1003, 'protocol'],
    [1007, 'protocol'],
    [1009, 'protocol'],
    [4400, 'protocol'],
    [4403, 'forbidden'],
  ] as const;

  test.each(returning)('with %i, it comes back', async (code) => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const errors = errorsOf(client);
    const statuses = statusesOf(client);
    client.connect();
    await vi.advanceTimersByTimeAsync(6_000);
    gateway.drop(code, 'why');
    await vi.advanceTimersByTimeAsync(500);
    expect(statuses).toEqual(['idle', 'connecting', 'connected', 'reconnecting', 'connected']);
    expect(errors).toMatchObject([{ message: expect.stringContaining(`${code}`) }]);
  });

  test.each(final)('with %i, it does not (%s), until somebody wants it', async (code, reason) => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const errors = errorsOf(client);
    client.connect();
    await settle();
    gateway.drop(code, 'why');
    await vi.advanceTimersByTimeAsync(600_000);
    expect(client.state.get()).toMatchObject({ status: 'failed', reason, error: { message: expect.any(String) } });
    expect(gateway.opened).toBe(1);
    expect(errors).toHaveLength(1);
    client.retain();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(gateway.opened).toBe(1);
    client.connect();
    await settle();
    expect(client.state.get().status).toBe('connected');
  });

  test('with 4401, it comes back with a new token', async () => {
    const gateway = createFakeGateway();
    const getToken = vi.fn(() => gateway.token());
    const client = clientOf(gateway, { getToken });
    client.connect();
    await settle();
    gateway.drop(4401, 'revoked key');
    await settle();
    expect(client.state.get().status).toBe('connected');
    expect(getToken.mock.calls).toEqual([[{ reason: 'connect' }], [{ reason: 'refused' }]]);
  });

  test('what the farewell says counts more than the code', async () => {
    const gateway = createFakeGateway();
    const [leaving, staying] = [clientOf(gateway), clientOf(gateway)];
    leaving.connect();
    staying.connect();
    await settle();
    const [one, other] = gateway.connections;
    one?.disconnect({ code: 1012, reconnect: false });
    other?.disconnect({ code: 4403, reconnect: true, after_ms: 700 });
    await vi.advanceTimersByTimeAsync(600_000);
    expect(leaving.state.get()).toMatchObject({ status: 'failed', reason: 'ended' });
    expect(staying.state.get().status).toBe('connected');
  });

  test('the state says when the next try is, and why', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    await settle();
    gateway.drop(1011, 'broken');
    await settle();
    expect(client.state.get()).toEqual({
      status: 'reconnecting',
      attempt: 1,
      retryAt: Date.now() + 250,
      error: expect.objectContaining({ code: 'connection_lost', message: expect.stringContaining('1011: broken') }),
    });
  });

  test('reconnect() doesn’t wait', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    client.connect();
    await settle();
    gateway.disconnect({ code: 1013, after_ms: 8_000 });
    await settle();
    client.reconnect();
    await settle();
    expect(client.state.get().status).toBe('connected');
  });
});
