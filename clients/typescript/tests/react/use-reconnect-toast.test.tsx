// @vitest-environment jsdom
import { type ReconnectToastOptions, useReconnectToast } from '@fanfare/client/react';
import { act, renderHook } from '@testing-library/react';
import { expect, test, vi } from 'vitest';
import { LINGER_MS, newApp, settle } from './support/app.tsx';

/** Mounts the hook and keeps what it tells. */
async function toasted(app: ReturnType<typeof newApp>, options: ReconnectToastOptions = {}) {
  const toasts: unknown[] = [];
  let renders = 0;
  const view = renderHook(
    ({ page }) => {
      renders += 1;
      useReconnectToast({
        onLost: ({ status }) => toasts.push(`${page} lost: ${status}`),
        onRestored: (restored) => toasts.push(restored),
        ...options,
      });
    },
    { wrapper: app.wrapper, initialProps: { page: 'first' } },
  );
  await settle();
  renders = 0;
  return { toasts, ...view, renders: () => renders };
}

/** So that the times are those of the test. */
const steady = { reconnect: { intervalMs: 20 } };

test('a loss is told after a grace, and its end with how long it was', async () => {
  const app = newApp(steady);
  const { toasts, renders } = await toasted(app);
  app.gateway.stop();
  await settle(999);
  expect(toasts).toEqual([]);
  await settle(1);
  expect(toasts).toEqual(['first lost: reconnecting']);
  app.gateway.start();
  await settle(100);
  expect(toasts).toHaveLength(2);
  const { downMs, resumed } = toasts[1] as { downMs: number; resumed: boolean };
  expect(downMs).toBeGreaterThanOrEqual(1_000);
  expect(downMs).toBeLessThanOrEqual(1_100);
  expect(resumed).toBe(false);
  expect(renders()).toBe(0);
  app.gateway.drop();
  await settle(900);
  expect(toasts).toHaveLength(2);
});

test('a quick reconnect shows nothing, and the next loss has the whole grace again', async () => {
  const app = newApp(steady);
  const { toasts } = await toasted(app);
  app.gateway.drop();
  await settle(900);
  expect(app.gateway.connections).toHaveLength(1);
  app.gateway.stop();
  await settle(999);
  expect(toasts).toEqual([]);
  await settle(1);
  expect(toasts).toEqual(['first lost: reconnecting']);
});

test('a connection that never was is not lost', async () => {
  const app = newApp(steady);
  app.gateway.stop();
  const { toasts } = await toasted(app);
  await settle(10_000);
  app.gateway.start();
  await settle(10_000);
  expect(app.gateway.connections).toHaveLength(1);
  expect(toasts).toEqual([]);
});

test('a logout is not a loss, not even within the grace', async () => {
  const app = newApp(steady);
  const { toasts } = await toasted(app);
  app.gateway.stop();
  await settle(500);
  await act(async () => app.client.disconnect());
  await settle(10_000);
  expect(toasts).toEqual([]);
});

test('nor is it a loss that nobody is logged in any more', async () => {
  const getToken = vi.fn((): string | null => 'a token');
  const app = newApp({ ...steady, getToken });
  const { toasts } = await toasted(app);
  getToken.mockReturnValue(null);
  app.gateway.expireTokens();
  await settle(10_000);
  expect(app.client.state.get().status).toBe('idle');
  expect(toasts).toEqual([]);
});

test('a connection that is lost for good is told as such', async () => {
  const app = newApp({ reconnect: { enabled: false } });
  const { toasts } = await toasted(app);
  app.gateway.stop();
  await settle(1_000);
  expect(toasts).toEqual(['first lost: failed']);
  app.gateway.start();
  await act(async () => app.client.reconnect());
  await settle();
  expect(toasts).toEqual(['first lost: failed', { resumed: false, downMs: 1_000 }]);
});

test('the callbacks and the grace of the last render count', async () => {
  const app = newApp(steady);
  const { toasts, rerender } = await toasted(app, { graceMs: 5_000 });
  rerender({ page: 'second' });
  app.gateway.stop();
  await settle(4_999);
  expect(toasts).toEqual([]);
  rerender({ page: 'third' });
  await settle(1);
  expect(toasts).toEqual(['third lost: reconnecting']);
});

test('nothing is told after the component is gone, and no timer is left', async () => {
  const app = newApp(steady);
  const { toasts, unmount } = await toasted(app, { graceMs: 60_000 });
  app.gateway.stop();
  await settle(500);
  unmount();
  await settle(LINGER_MS);
  expect(vi.getTimerCount()).toBe(0);
  expect(toasts).toEqual([]);
});
