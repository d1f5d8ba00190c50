/** The script for pages without a bundler, as a page runs it: with nothing but what browsers have. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createContext, runInContext } from 'node:vm';
import type { Client, Message } from '@fanfare/client';
import { createFakeGateway, type FakeGateway } from '@fanfare/client/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../support/until.ts';

const directory = mkdtempSync(join(tmpdir(), 'fanfare-'));
const clients: Client[] = [];
let script: string;

beforeAll(() => {
  const file = join(directory, 'fanfare.js');
  execFileSync(process.execPath, [fileURLToPath(new URL('../../scripts/build-browser.js', import.meta.url)), file]);
  script = readFileSync(file, 'utf8');
});

afterAll(() => {
  for (const client of clients) {
    client.disconnect();
  }
  rmSync(directory, { recursive: true });
});

/** The global `fanfare` of a page that has the script. There is no `process`, and nothing to import from. */
function load(): typeof import('../../src/browser.ts') {
  const page = createContext({
    ...{ AbortController, Blob, clearInterval, clearTimeout, console, crypto, performance, queueMicrotask },
    ...{ setInterval, setTimeout, TextDecoder, TextDecoderStream, TextEncoder, URL, URLSearchParams },
  });
  runInContext(script, page);
  return runInContext('fanfare', page);
}

function clientOf(gateway: FakeGateway, transports: readonly ['websocket' | 'sse']): Client {
  const { url, WebSocket, fetch } = gateway;
  const client = load().createClient({ url, WebSocket, fetch, transports, getToken: () => gateway.token() });
  clients.push(client);
  return client;
}

test.each(['websocket', 'sse'] as const)('a page without a bundler is live by %s', async (transport) => {
  const gateway = createFakeGateway();
  const client = clientOf(gateway, [transport]);
  const heard: Message[] = [];
  client.channel('orders').on('order.updated', (message) => heard.push(message));
  await until('it is connected', () => client.state.get().status === 'connected');
  expect(client.state.get()).toMatchObject({ transport });
  gateway.publish('channel:orders', { type: 'order.updated', data: { id: 7 } });
  await until('the event is there', () => heard.length === 1);
  expect(heard).toMatchObject([{ channel: 'orders', data: { id: 7 } }]);
});

test('a page without a bundler sees who is there', async () => {
  const gateway = createFakeGateway();
  gateway.join('channel:orders', 'ben');
  const { presence } = clientOf(gateway, ['websocket']).channel('orders');
  presence.subscribe(() => {});
  await until('the list is there', () => presence.get().users.some(({ user }) => user === 'ben'));
});

test('errors can be told from others', async () => {
  const { createClient, FanfareError } = load();
  const client = createClient({
    url: 'ws://127.0.0.1',
    getToken: () => null,
    WebSocket: createFakeGateway().WebSocket,
  });
  const error = await client
    .channel('orders')
    .publish('order.updated', {})
    .catch((thrown) => thrown);
  expect(error).toBeInstanceOf(FanfareError);
  expect(error.code).toBe('offline');
});

test('the script says whose it is, has no development warnings, and can stand within a page', () => {
  expect(script).toMatch(/^\/\*! @fanfare\/client \d+\.\d+\.\d+ \| Apache-2\.0 \*\/\n/);
  expect(script).not.toMatch(/process\.env|console\.warn/);
  expect(script).not.toMatch(/<\/script|<!--/i);
});
