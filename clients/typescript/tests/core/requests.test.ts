/** Requests: they wait for a connection, never for ever, and nobody is left in the dark. */

import { FanfareError } from '@fanfare/client';
import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../support/client.ts';
import { stopTime } from '../support/clock.ts';
import { settle } from '../support/settle.ts';

stopTime();

/** What became of a promise, by now. */
function outcomeOf(promise: Promise<unknown>): { value?: unknown; error?: FanfareError } {
  const outcome: { value?: unknown; error?: FanfareError } = {};
  promise.then(
    (value) => {
      outcome.value = value;
    },
    (error) => {
      outcome.error = error;
    },
  );
  return outcome;
}

const requests = (gateway: ReturnType<typeof createFakeGateway>) =>
  gateway.received.filter(({ op }) => op === 'request');

describe('a request', () => {
  test('is answered by a backend, over a connection that it opens if there is none', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('orders.cancel', ({ id }) => ({ cancelled: id }));
    const client = clientOf(gateway);
    const outcome = outcomeOf(client.request('orders.cancel', { id: 7 }));
    await settle();
    expect(outcome).toEqual({ value: { cancelled: 7 } });
    await vi.advanceTimersByTimeAsync(2_500);
    expect(client.state.get()).toEqual({ status: 'idle' });
  });

  test('needs no input, and may be answered with nothing', async () => {
    const gateway = createFakeGateway();
    const inputs: unknown[] = [];
    gateway.onRequest('dashboard.refresh', (input) => {
      inputs.push(input);
    });
    const outcome = outcomeOf(clientOf(gateway).request('dashboard.refresh'));
    await settle();
    expect([outcome, inputs]).toEqual([{ value: null }, [null]]);
    expect(requests(gateway)[0]).not.toHaveProperty('data');
  });

  test('is answered in any order, each with its own answer', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('wait', (ms) => new Promise((resolve) => setTimeout(() => resolve(ms), ms)));
    const client = clientOf(gateway);
    const answers: unknown[] = [];
    for (const ms of [300, 100, 200]) {
      client.request('wait', ms).then((answer) => answers.push(answer));
    }
    await vi.advanceTimersByTimeAsync(300);
    expect(answers).toEqual([100, 200, 300]);
  });

  test('rejects with what the backend says', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('orders.cancel', () => {
      throw new FanfareError('forbidden', 'this order is not yours');
    });
    const outcome = outcomeOf(clientOf(gateway).request('orders.cancel'));
    await settle();
    expect(outcome.error).toBeInstanceOf(FanfareError);
    expect(outcome.error).toMatchObject({
      code: 'forbidden',
      retryable: false,
      message: expect.stringContaining('this order is not yours'),
    });
  });

  test('that nobody takes says so', async () => {
    const outcome = outcomeOf(clientOf(createFakeGateway()).request('orders.cancel'));
    await settle();
    expect(outcome.error).toMatchObject({ code: 'no_backend', retryable: true });
  });

  test('waits for a connection, and tells the node how long is left', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('echo', (input) => input);
    gateway.stop();
    const client = clientOf(gateway, { transports: ['websocket'], reconnect: { intervalMs: 3_000 } });
    const outcome = outcomeOf(client.request('echo', 1, { timeoutMs: 8_000 }));
    await vi.advanceTimersByTimeAsync(1_500);
    gateway.start();
    expect(outcome).toEqual({});
    await vi.advanceTimersByTimeAsync(2_500);
    expect(outcome).toEqual({ value: 1 });
    expect(requests(gateway)[0]?.timeout_ms).toBeGreaterThanOrEqual(4_000);
    expect(requests(gateway)[0]?.timeout_ms).toBeLessThanOrEqual(6_000);
  });

  test('waits no longer than it may, connected or not', async () => {
    const gateway = createFakeGateway();
    gateway.freeze();
    const client = clientOf(gateway);
    const outcomes = [outcomeOf(client.request('echo', 1)), outcomeOf(client.request('echo', 1, { timeoutMs: 500 }))];
    await vi.advanceTimersByTimeAsync(500);
    // Nothing was sent, so it may be repeated.
    expect(outcomes[1]?.error).toMatchObject({ code: 'offline', retryable: true });
    await vi.advanceTimersByTimeAsync(9_499);
    expect(outcomes[0]).toEqual({});
    await vi.advanceTimersByTimeAsync(1);
    expect(outcomes[0]?.error).toMatchObject({ code: 'offline' });
    expect(requests(gateway)).toEqual([]);
  });

  test('lets the node say why there is no answer, if it can', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('slow', () => new Promise(() => {}));
    const client = clientOf(gateway);
    client.connect();
    await settle();
    const told = outcomeOf(client.request('slow', null, { timeoutMs: 500 }));
    await vi.advanceTimersByTimeAsync(500);
    expect(told.error).toMatchObject({ code: 'timeout', message: expect.stringContaining('no backend') });
    gateway.freeze();
    const untold = outcomeOf(client.request('slow', null, { timeoutMs: 500 }));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(untold.error).toMatchObject({ code: 'timeout' });
  });

  test('that was sent and not answered when the connection ends may have been done, and isn’t sent again', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('orders.cancel', () => new Promise(() => {}));
    const client = clientOf(gateway);
    const outcome = outcomeOf(client.request('orders.cancel'));
    await settle();
    gateway.drop();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(outcome.error).toMatchObject({ code: 'connection_lost', retryable: true });
    expect(requests(gateway)).toHaveLength(1);
  });

  test('that waits for a connection goes with the next one, whatever became of this one', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('echo', (input) => input);
    const client = clientOf(gateway);
    client.connect();
    await settle();
    gateway.drop();
    await settle();
    const outcome = outcomeOf(client.request('echo', 1));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(outcome).toEqual({ value: 1 });
  });

  test('is given up by disconnect(), and waits for connect() after it', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('echo', (input) => input);
    const client = clientOf(gateway);
    const before = outcomeOf(client.request('echo', 1));
    client.disconnect();
    await settle();
    expect(before.error).toMatchObject({ code: 'offline' });
    const after = outcomeOf(client.request('echo', 2));
    await vi.advanceTimersByTimeAsync(5_000);
    expect(after).toEqual({});
    client.connect();
    await settle();
    expect(after).toEqual({ value: 2 });
  });

  test('can be aborted, before and after it was sent', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('slow', () => new Promise(() => {}));
    const client = clientOf(gateway);
    client.connect();
    await settle();
    const abort = new AbortController();
    const sent = outcomeOf(client.request('slow', null, { signal: abort.signal }));
    await settle();
    expect(requests(gateway)).toHaveLength(1);
    const reason = new Error('the page was left');
    abort.abort(reason);
    const never = outcomeOf(client.request('slow', null, { signal: abort.signal }));
    await settle();
    expect(sent.error).toMatchObject({ code: 'aborted', retryable: false, cause: reason });
    expect(never.error).toMatchObject({ code: 'aborted' });
    expect(requests(gateway)).toHaveLength(1);
  });

  test('that is aborted at the start opens nothing', async () => {
    const gateway = createFakeGateway();
    const outcome = outcomeOf(clientOf(gateway).request('slow', null, { signal: AbortSignal.abort() }));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(outcome.error).toMatchObject({ code: 'aborted' });
    expect(gateway.opened).toBe(0);
  });

  test('is one of a bounded number', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('echo', (input) => input);
    gateway.stop();
    const client = clientOf(gateway, { maxPendingRequests: 2, transports: ['websocket'] });
    client.connect();
    const outcomes = [1, 2, 3].map((n) => outcomeOf(client.request('echo', n, { timeoutMs: 1_000 })));
    await settle();
    expect(outcomes.map(({ error }) => error?.code)).toEqual([undefined, undefined, 'rate_limited']);
    await vi.advanceTimersByTimeAsync(1_000);
    gateway.start();
    client.reconnect();
    const next = outcomeOf(client.request('echo', 4));
    await settle();
    expect(next).toEqual({ value: 4 });
  });

  test('waits in a number of 256 by default', async () => {
    const gateway = createFakeGateway();
    gateway.stop();
    const client = clientOf(gateway);
    const outcomes = Array.from({ length: 257 }, () => outcomeOf(client.request('echo')));
    await settle();
    expect(outcomes.filter(({ error }) => error).map(({ error }) => error?.code)).toEqual(['rate_limited']);
    client.disconnect();
    await settle();
  });

  test('that is larger than the node takes is refused, and costs nobody the connection', async () => {
    const gateway = createFakeGateway();
    gateway.onRequest('echo', (input) => input);
    const client = clientOf(gateway);
    client.connect();
    await settle();
    const large = outcomeOf(client.request('echo', 'é'.repeat(40_000)));
    const next = outcomeOf(client.request('echo', 1));
    await settle();
    expect(large.error).toMatchObject({ code: 'too_large', retryable: false });
    expect(next).toEqual({ value: 1 });
    expect(client.state.get().status).toBe('connected');
  });

  test.each([true, false])('that can’t be written as a frame is refused alone (connected: %s)', async (isConnected) => {
    const gateway = createFakeGateway();
    gateway.onRequest('echo', (input) => input);
    const client = clientOf(gateway, { maxPendingRequests: 2 });
    const circle: Record<string, unknown> = {};
    circle.self = circle;
    client.channel('orders').subscribe();
    if (isConnected) {
      await settle();
    }
    const bad = [outcomeOf(client.request('echo', circle)), outcomeOf(client.request('echo', 7n))];
    await settle();
    expect(bad.map(({ error }) => error instanceof Error)).toEqual([true, true]);
    expect(client.state.get().status).toBe('connected');
    expect(client.channel('orders').state.get()).toEqual({ status: 'subscribed' });
    const good = [outcomeOf(client.request('echo', 1)), outcomeOf(client.request('echo', 2))];
    await settle();
    expect(good).toEqual([{ value: 1 }, { value: 2 }]);
  });
});
