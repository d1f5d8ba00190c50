/** From an envelope off the wire to listeners: schemas, traces, listeners of the client, and the warning for those who forget. */

import type { Schema } from '@fanfare/client';
import { createFakeGateway } from '@fanfare/client/testing';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { clientOf } from '../support/client.ts';
import { settle } from '../support/settle.ts';
import { errorsOf } from '../support/watch.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_767_225_600_000 });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** Takes `{ at: string }` and makes a date of it. */
const dated: Schema<{ at: Date }> = {
  '~standard': {
    validate(value) {
      const { at } = value as { at?: unknown };
      const issues = [{ message: 'at must be a date' }, { message: 'and nothing else' }];
      return typeof at === 'string' ? { value: { at: new Date(at) } } : { issues };
    },
  },
};

describe('schemas', () => {
  test('convert what matches', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway, { schemas: { dated } });
    const heard: unknown[] = [];
    client.channel('orders').on('*', ({ data, envelope }) => heard.push(data, envelope.data));
    await settle();
    gateway.publish('channel:orders', { type: 'dated', data: { at: '2026-01-01T00:00:00Z' } });
    gateway.publish('channel:orders', { type: 'unchecked', data: 7 });
    await settle();
    expect(heard).toEqual([{ at: new Date('2026-01-01T00:00:00Z') }, { at: '2026-01-01T00:00:00Z' }, 7, 7]);
  });

  test('keep back what doesn’t, and say why; what comes after is not held up', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway, { schemas: { dated } });
    const errors = errorsOf(client);
    const heard: unknown[] = [];
    client.channel('orders').on('*', ({ type }) => heard.push(type));
    await settle();
    gateway.publish('channel:orders', { type: 'dated', data: { at: 7 } }, { durable: true });
    gateway.publish('channel:orders', { type: 'next' });
    await settle();
    expect(heard).toEqual(['next']);
    expect(errors).toMatchObject([
      {
        code: 'invalid_data',
        topic: 'channel:orders',
        message: 'channel:orders: event dated: at must be a date; and nothing else',
      },
    ]);
    gateway.drop();
    await vi.advanceTimersByTimeAsync(500);
    expect(errors.filter(({ code }) => code === 'invalid_data')).toHaveLength(1);
  });

  test('that throw are told like those that refuse', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => {});
    const gateway = createFakeGateway();
    const faulty: Schema = {
      '~standard': {
        validate() {
          throw new Error('a bug');
        },
      },
    };
    const client = clientOf(gateway, { schemas: { faulty } });
    const errors = errorsOf(client);
    const heard: string[] = [];
    client.channel('orders').on('*', ({ type }) => heard.push(type));
    await settle();
    gateway.publish('channel:orders', { type: 'faulty' });
    gateway.publish('channel:orders', { type: 'next' });
    await settle();
    expect(heard).toEqual(['next']);
    expect(errors).toMatchObject([{ message: expect.stringContaining('a bug') }]);
    expect(client.state.get().status).toBe('connected');
  });

  test('check what a history has, too', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway, { schemas: { dated } });
    gateway.publish('channel:orders', { type: 'dated', data: { at: 7 } }, { durable: true });
    gateway.publish('channel:orders', { type: 'dated', data: { at: '2026-01-01' } }, { durable: true });
    client.connect();
    await settle();
    const [{ messages }] = await Promise.all([client.channel('orders').history(), settle()]);
    expect(messages.map(({ data }) => data)).toEqual([{ at: new Date('2026-01-01') }]);
  });
});

describe('traces', () => {
  const PARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const NODES = '00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-01';

  test('are carried on with what the client sends', async () => {
    const gateway = createFakeGateway();
    const seen: unknown[] = [];
    gateway.onRequest('echo', (input, { traceparent }) => {
      seen.push(traceparent);
      return input;
    });
    const spans = [PARENT, undefined];
    const client = clientOf(gateway, { trace: { inject: () => spans.shift() } });
    client.request('echo', 1);
    client.request('echo', 2);
    await settle();
    expect(seen).toEqual([PARENT, undefined]);
    spans.push(PARENT);
    client.channel('board').publish('card.moved', 1);
    await settle();
    expect(gateway.received.at(-1)).toMatchObject({ event: { traceparent: PARENT } });
    client.channel('board').publish('card.moved', 1);
    await settle();
    expect(gateway.received.at(-1)?.event).not.toHaveProperty('traceparent');
  });

  test('surround listeners of what arrives: the node’s span, or else the publisher’s', async () => {
    const gateway = createFakeGateway();
    const log: string[] = [];
    const extract = (traceparent: string, deliver: () => void) => {
      log.push(`span ${traceparent}`);
      deliver();
      log.push('end');
    };
    const client = clientOf(gateway, { trace: { extract } });
    client.channel('orders').on('*', ({ data, traceparent }) => log.push(`${data} ${traceparent}`));
    await settle();
    gateway.publish('channel:orders', { type: 'a', data: 1, traceparent: PARENT });
    gateway.publish('channel:orders', { type: 'a', data: 2 });
    const event = { type: 'a', data: 3, traceparent: PARENT };
    gateway.connections[0]?.send({ op: 'event', topic: 'channel:orders', traceparent: NODES, event });
    await settle();
    expect(log).toEqual([`span ${PARENT}`, `1 ${PARENT}`, 'end', '2 undefined', `span ${NODES}`, `3 ${NODES}`, 'end']);
  });
});

describe('listeners of the client', () => {
  test('hear all topics, the own ones and those of channels', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const heard: unknown[] = [];
    client.connect();
    client.on('*', ({ topic, channel }) => heard.push([topic, channel]));
    client.channel('orders').subscribe();
    await settle();
    for (const topic of ['tenant', 'user:42', 'channel:orders', 'channel:unasked'] as const) {
      gateway.publish(topic, { type: 'x' });
    }
    await settle();
    expect(heard).toEqual([
      ['tenant', undefined],
      ['user:42', undefined],
      ['channel:orders', 'orders'],
    ]);
  });

  describe('in a page', () => {
    /** As after the page was loaded: nobody has been warned. */
    async function freshly() {
      vi.resetModules();
      vi.stubGlobal('document', new EventTarget());
      const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
      const { createClient } = await import('@fanfare/client');
      const make = () => createClient({ url: 'wss://fanfare.test/ws', getToken: () => null });
      return { warn, make };
    }

    test('are warned, once, when nothing is connected some seconds later', async () => {
      const { warn, make } = await freshly();
      make().on('a', () => {});
      make().on('b', () => {});
      expect(warn).not.toHaveBeenCalled();
      await vi.advanceTimersByTimeAsync(10_000);
      expect(warn).toHaveBeenCalledTimes(1);
      expect(warn.mock.calls[0]?.[0]).toContain('client.on()');
    });

    test('are not warned when something is connected by then, or when they have gone', async () => {
      const { warn, make } = await freshly();
      const client = make();
      client.on('a', () => {});
      client.retain();
      make().on('a', () => {})();
      await vi.advanceTimersByTimeAsync(10_000);
      expect(warn).not.toHaveBeenCalled();
    });

    test('are not warned in production, nor where there is no process, as without a bundler', async () => {
      const { warn, make } = await freshly();
      vi.stubEnv('NODE_ENV', 'production');
      make().on('a', () => {});
      vi.stubGlobal('process', undefined);
      make().on('a', () => {});
      vi.unstubAllGlobals();
      await vi.advanceTimersByTimeAsync(10_000);
      expect(warn).not.toHaveBeenCalled();
    });
  });

  test('are not warned on a server', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    clientOf(createFakeGateway()).on('a', () => {});
    await vi.advanceTimersByTimeAsync(10_000);
    expect(warn).not.toHaveBeenCalled();
    expect(vi.getTimerCount()).toBe(0);
  });
});
