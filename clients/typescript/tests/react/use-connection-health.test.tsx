// @vitest-environment jsdom
import { useChannel, useConnectionHealth } from '@fanfare/client/react';
import { renderHook } from '@testing-library/react';
import { expect, test } from 'vitest';
import { newApp, settle } from './support/app.tsx';

test('figures for a health panel, rendered once a second at most', async () => {
  const app = newApp();
  let renders = 0;
  const { result } = renderHook(() => {
    renders += 1;
    useChannel('orders');
    return useConnectionHealth();
  }, app);
  await settle(1_000);
  expect(result.current).toMatchObject({ subscriptions: 3, reconnects: 0, gaps: 0 });
  const { received } = result.current;
  renders = 0;
  for (let at = 0; at < 100; at += 1) {
    app.gateway.publish('channel:orders', { type: 'order.updated', data: at });
    await settle(20);
  }
  // Two seconds; StrictMode calls components twice.
  expect(renders).toBeLessThanOrEqual(2 * 2);
  expect(result.current.received).toBeGreaterThanOrEqual(received + 100);
  app.gateway.drop();
  await settle(60_000);
  expect(result.current).toMatchObject({ reconnects: 1, subscriptions: 3 });
});
