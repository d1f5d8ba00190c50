// @vitest-environment jsdom

import { createFakeGateway } from '@fanfare/client/testing';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { run } from './run.ts';
import { snippet } from './snippets.ts';

afterEach(() => {
  vi.unstubAllGlobals();
});

test('the lines at the top make the list live', async () => {
  const gateway = createFakeGateway();
  const orders = [{ id: 7, total: '19.90' }];
  const asked: string[] = [];
  vi.stubGlobal('WebSocket', gateway.WebSocket);
  vi.stubGlobal('fetch', async (path: string) => {
    asked.push(path);
    return Response.json(path.startsWith('/dev/token') ? { token: gateway.token() } : orders);
  });

  await run(snippet('README.md', 'src/main.tsx'));
  await vi.waitFor(() => expect(document.body.textContent).toBe('19.90'));
  await vi.waitFor(() => expect(gateway.connections[0]?.topics).toContain('channel:orders'));

  orders.push({ id: 8, total: '7.50' });
  gateway.publish('channel:orders', { type: 'order.updated', data: { id: 8 } });
  await vi.waitFor(() => expect(document.body.textContent).toBe('19.907.50'), { timeout: 5_000 });
  expect(asked.filter((path) => path === '/dev/token?user=42')).toHaveLength(1);
});

describe('the test in the chapter on tests', async () => {
  await run(snippet('README.md', 'test'));
});
