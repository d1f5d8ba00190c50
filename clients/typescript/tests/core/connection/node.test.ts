/** When there is a connection, and how it comes back. */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../../support/client.ts';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { errorsOf, statusesOf } from '../../support/watch.ts';

stopTime();

describe('the node', () => {
  test('is answered when it pings', async () => {
    const gateway = createFakeGateway({ pingMs: 10_000 });
    const client = clientOf(gateway);
    client.connect();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(gateway.received.at(-1)).toEqual({ op: 'pong' });
  });

  test('may say what this client doesn’t know: it is ignored', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const errors = errorsOf(client);
    const statuses = statusesOf(client);
    const heard: unknown[] = [];
    client.channel('orders').on('*', ({ data }) => heard.push(data));
    await settle();
    const [connection] = gateway.connections;
    connection?.send({ op: 'confetti', topic: 'channel:orders', colours: 7 });
    connection?.send({ op: 'toString' });
    connection?.send({ op: '__proto__' });
    connection?.send({ op: 'subscribed', topic: 'channel:never-asked-for', position: '1-1' });
    connection?.send({ op: 'published', id: 999 });
    connection?.send({ op: 'reply', id: 999, data: null });
    connection?.send({ op: 'joined', topic: 'channel:orders', user: 'eve' });
    connection?.send({ op: 'event', topic: 'channel:orders', event: { type: 'order.updated', data: 1, hue: 3 }, x: 1 });
    await settle();
    expect(heard).toEqual([1]);
    expect(errors).toEqual([]);
    expect(statuses).toEqual(['idle', 'connecting', 'connected']);
  });

  test('may say what is no frame: it is told, and the connection goes on', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const errors = errorsOf(client);
    client.connect();
    await settle();
    for (const odd of [{}, { op: 7 }, null, 'hello']) {
      gateway.connections[0]?.send(odd as { op: string });
    }
    await settle();
    expect(errors.map(({ code }) => code)).toEqual(Array(4).fill('unexpected_frame'));
    expect(client.state.get().status).toBe('connected');
  });

  test('may refuse a frame that nobody waits for: it is told', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const errors = errorsOf(client);
    client.connect();
    await settle();
    gateway.connections[0]?.send({ op: 'error', code: 'rate_limited', message: '600 frames a minute' });
    await settle();
    expect(errors).toMatchObject([{ code: 'rate_limited', message: '600 frames a minute', retryable: true }]);
  });
});
