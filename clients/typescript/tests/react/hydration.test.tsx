// @vitest-environment jsdom
import { act, render } from '@testing-library/react';
import { hydrateRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { expect, test, vi } from 'vitest';
import { LINGER_MS, newApp, settle, subscribed } from './support/app.tsx';
import { Page } from './support/page.tsx';

/** A page as it came from a server, which has a client of its own, hydrated. */
async function hydrate({ wrapper: App }: ReturnType<typeof newApp>) {
  const { wrapper: AppOnServer } = newApp();
  const container = document.createElement('div');
  container.innerHTML = renderToString(
    <AppOnServer>
      <Page />
    </AppOnServer>,
  );
  const page = (
    <App>
      <Page />
    </App>
  );
  const fromServer = container.textContent;
  const mismatch = vi.fn();
  const root = await act(async () => hydrateRoot(container, page, { onRecoverableError: mismatch }));
  await settle();
  return { container, fromServer, mismatch, root };
}

test('a page from a server is hydrated without a mismatch, and is live then', async () => {
  const app = newApp();
  const { container, fromServer, mismatch, root } = await hydrate(app);
  expect(fromServer).toContain('not live');
  expect(mismatch).not.toHaveBeenCalled();
  expect(container.textContent).toContain('Live');
  expect(container.textContent).toContain('subscribed, 0 updates, 1 present');
  expect([app.gateway.opened, subscribed(app)]).toEqual([1, ['channel:orders']]);
  act(() => root.unmount());
  await settle(LINGER_MS);
  expect(app.gateway.connections).toEqual([]);
});

test.each([
  ['is there', () => {}],
  ['was lost', ({ gateway }: ReturnType<typeof newApp>) => gateway.disconnect({ code: 1012, after_ms: 5_000 })],
])('also when the connection %s before', async (_how, change) => {
  const app = newApp();
  render(<Page />, app);
  await settle();
  change(app);
  await settle();
  const { container, mismatch, root } = await hydrate(app);
  expect(mismatch).not.toHaveBeenCalled();
  expect(container.textContent).toMatch(/Live|Reconnecting \(5 s\)/);
  expect(app.gateway.opened).toBe(1);
  act(() => root.unmount());
});
