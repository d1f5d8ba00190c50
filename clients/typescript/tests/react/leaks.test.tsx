// @vitest-environment jsdom
import { act, render } from '@testing-library/react';
import { expect, test, vi } from 'vitest';
import { LINGER_MS, newApp, settle } from './support/app.tsx';
import { Page } from './support/page.tsx';

test.each([
  ['while live', async () => {}],
  [
    'while updates wait to be shown',
    async ({ gateway }: ReturnType<typeof newApp>) => {
      gateway.publish('channel:orders', { type: 'order.updated', data: 1 });
      gateway.publish('channel:orders', { type: 'order.updated', data: 2 });
      await settle();
    },
  ],
  [
    'during an outage',
    async ({ gateway }: ReturnType<typeof newApp>) => {
      gateway.disconnect({ code: 1012, after_ms: 60_000 });
      await settle(500);
    },
  ],
  [
    'after an outage',
    async ({ gateway }: ReturnType<typeof newApp>) => {
      gateway.drop();
      await settle(30_000);
    },
  ],
  [
    'after a logout',
    async ({ client }: ReturnType<typeof newApp>) => {
      await act(async () => client.disconnect());
    },
  ],
])('a page that unmounts %s leaves no timer, no listener, no socket', async (_when, change) => {
  let listeners = 0;
  const lifecycle = {
    onWake: () => {
      listeners += 1;
      return () => {
        listeners -= 1;
      };
    },
  };
  const app = newApp({ lifecycle });
  const { unmount } = render(<Page />, app);
  await settle();
  expect([app.gateway.connections.length, listeners]).toEqual([1, 1]);
  await change(app);
  unmount();
  await settle(LINGER_MS);
  expect(app.gateway.connections).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
  expect(listeners).toBe(0);
});
