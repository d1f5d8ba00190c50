/** What other SDKs get wrong. Those traps of pages and of queries have their tests where pages and queries are. */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../../support/client.ts';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';
import { errorsOf } from '../../support/watch.ts';

stopTime();

describe('2. one listener stops the others', () => {
  test('all are called, whatever one throws, and the error is told', async () => {
    const printed = vi.spyOn(console, 'error').mockImplementation(() => {});
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const errors = errorsOf(client);
    const heard: string[] = [];
    const bug = new Error('a bug');
    const faulty = () => {
      throw bug;
    };
    client.channel('orders').on('*', faulty);
    client.channel('orders').on('order.updated', () => heard.push('channel'));
    client.on('order.updated', faulty);
    client.on('*', () => heard.push('client'));
    client.onGap(faulty);
    client.onGap(() => heard.push('gap'));
    client.state.subscribe(faulty);
    client.state.subscribe(({ status }) => heard.push(status));
    await settle();
    gateway.publish('channel:orders', { type: 'order.updated' });
    gateway.gap('channel:orders');
    await settle();
    expect(heard).toEqual(['idle', 'connecting', 'connected', 'channel', 'client', 'gap'].slice(1));
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(['listener']));
    expect(errors.every(({ cause }) => cause === bug)).toBe(true);
    expect(printed).toHaveBeenCalledWith(bug);
  });

  test('an error listener that throws stops nobody either', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => {});
    const gateway = createFakeGateway();
    gateway.stop();
    const client = clientOf(gateway);
    client.onError(() => {
      throw new Error('a bug');
    });
    const errors = errorsOf(client);
    client.connect();
    await settle();
    gateway.start();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(errors.length).toBeGreaterThan(0);
    expect(client.state.get().status).toBe('connected');
  });

  test('no message is lost to another one that comes at the same moment', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const seen: unknown[] = [];
    client.channel('orders').on('*', ({ data }) => seen.push(data));
    await settle();
    for (const data of [1, 2, 3]) {
      gateway.publish('channel:orders', { type: 'order.updated', data });
    }
    await settle();
    expect(seen).toEqual([1, 2, 3]);
  });

  test('a listener that takes off another one is the last who is heard by it', async () => {
    const gateway = createFakeGateway();
    const client = clientOf(gateway);
    const heard: string[] = [];
    client.channel('orders').on('*', () => {
      heard.push('first');
      off();
    });
    const off = client.channel('orders').on('*', () => heard.push('second'));
    await settle();
    gateway.publish('channel:orders', { type: 'order.updated' });
    await settle();
    expect(heard).toEqual(['first']);
  });
});
