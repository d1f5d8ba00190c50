/** What other SDKs get wrong. Those traps of pages and of queries have their tests where pages and queries are. */

import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expect, test, vi } from 'vitest';
import { clientOf } from '../../support/client.ts';
import { stopTime } from '../../support/clock.ts';
import { settle } from '../../support/settle.ts';

stopTime();

describe('10. a page on plain http:// lacks what only secure pages have', () => {
  test('it connects, subscribes, publishes and asks without it', async () => {
    const whole = crypto;
    vi.stubGlobal('crypto', { getRandomValues: (array: Uint8Array<ArrayBuffer>) => whole.getRandomValues(array) });
    vi.stubGlobal('isSecureContext', false);
    vi.stubGlobal('navigator', { onLine: true });
    const gateway = createFakeGateway();
    gateway.onRequest('echo', (input) => input);
    const client = clientOf(gateway);
    const own: boolean[] = [];
    client.channel('orders').on('*', (message) => own.push(message.own));
    await settle();
    const [published, answer] = [client.channel('orders').publish('order.touched', 1), client.request('echo', 2)];
    await settle();
    expect(await published).toEqual({ position: undefined });
    expect(await answer).toBe(2);
    expect(own).toEqual([true]);
  });
});
