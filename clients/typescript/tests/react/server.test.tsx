import { renderToString } from 'react-dom/server';
import { expect, test, vi } from 'vitest';
import { newApp, settle } from './support/app.tsx';
import { Page } from './support/page.tsx';

test('rendered on a server it opens nothing, asks for nothing, and leaves no timer', async () => {
  const url = vi.fn(() => 'wss://fanfare.test/ws');
  const getToken = vi.fn(() => 'token');
  const { gateway, wrapper: App } = newApp({ url, getToken });
  const html = renderToString(
    <App>
      <Page />
    </App>,
  );
  await settle(60_000);
  expect(html).toContain('not live');
  expect(html).toContain('Offline');
  expect([gateway.opened, url.mock.calls.length, getToken.mock.calls.length]).toEqual([0, 0, 0]);
  expect(vi.getTimerCount()).toBe(0);
});
