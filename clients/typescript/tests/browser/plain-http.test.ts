import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { App } from './support/app.ts';
import { Backend } from './support/backend.ts';
import { launch, shows } from './support/chromium.ts';
import { Namespace } from './support/namespace.ts';
import { FanfareNode } from './support/node.ts';
import { RedisServer } from './support/redis.ts';
import { live } from './support/stage.ts';

const TENANT = 'acme';

let namespace: Namespace;
let browser: Browser;
let app: App;
let backend: Backend;
let node: FanfareNode;

beforeAll(async () => {
  const redis = await RedisServer.start();
  namespace = await Namespace.make();
  node = await FanfareNode.start(redis.url, {}, namespace.address);
  backend = await Backend.start(redis, TENANT);
  app = await App.start(TENANT, `ws://${namespace.address}:${node.port}/ws`, namespace.address);
  browser = await launch(namespace.entry('/usr/bin/chromium'));
});

afterAll(async () => {
  await browser?.close();
  await namespace?.remove();
});

test('trap 10: on plain http at a private address, without randomUUID, locks and subtle, all works', async () => {
  let total = 1;
  app.serve('orders', () => ({ total }));
  const tab = await browser.newPage();
  await tab.goto(await app.pageUrl('orders'));
  await live(tab);
  const missing = await tab.evaluate(() => ({
    isSecureContext: window.isSecureContext,
    randomUUID: typeof crypto.randomUUID,
    locks: typeof navigator.locks,
    subtle: typeof crypto.subtle,
  }));
  expect(missing).toEqual({
    isSecureContext: false,
    randomUUID: 'undefined',
    locks: 'undefined',
    subtle: 'undefined',
  });

  // Events come, and what they are about is fetched again.
  await shows(tab, '#orders', '1 orders');
  total = 2;
  await backend.keep('channel:orders', 'order.updated', { id: 1 });
  await shows(tab, '#orders', '2 orders');
  await shows(tab, '#events', /^1$/);

  // What needs ids of the client's own: events and requests.
  const own = await tab.evaluate(async () => {
    const channel = window.page?.client.channel('orders');
    const heard = new Promise<boolean>((resolve) => channel?.on('order.noted', (message) => resolve(message.own)));
    await channel?.publish('order.noted', { id: 1 });
    return heard;
  });
  expect(own).toBe(true);
  backend.answer('orders.count', () => ({ total }));
  expect(await tab.evaluate(() => window.page?.client.request('orders.count'))).toEqual({ total: 2 });

  // And coming back.
  await node.kill();
  await tab.waitForFunction(() => window.page?.client.state.get().status === 'reconnecting');
  await backend.keep('channel:orders', 'order.updated', { id: 2 });
  await node.restart();
  await shows(tab, '#events', /^1 2$/);
});
