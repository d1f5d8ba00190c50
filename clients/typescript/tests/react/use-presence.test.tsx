// @vitest-environment jsdom
import { usePresence } from '@fanfare/client/react';
import { renderHook } from '@testing-library/react';
import { expect, test } from 'vitest';
import { LINGER_MS, newApp, settle } from './support/app.tsx';

test('who comes and goes is shown, and so is oneself', async () => {
  const app = newApp();
  app.gateway.join('channel:docs', 'ana', { name: 'Ana' });
  const { result } = renderHook(() => usePresence('docs'), app);
  expect(result.current).toMatchObject({ status: 'loading', users: [] });
  await settle();
  const users = () => result.current.users.map(({ user }) => user);
  expect([result.current.status, result.current.count, ...users()]).toEqual(['ready', 2, 'ana', '42']);
  expect(result.current.users[0]?.info).toEqual({ name: 'Ana' });
  app.gateway.join('channel:docs', 'bo');
  app.gateway.leave('channel:docs', 'ana');
  await settle();
  expect(users()).toEqual(['42', 'bo']);
});

test('from page to page the list is there again', async () => {
  const app = newApp();
  app.gateway.join('channel:docs', 'ana');
  const first = renderHook(() => usePresence('docs'), app);
  await settle();
  first.unmount();
  await settle(LINGER_MS - 1);
  const second = renderHook(() => usePresence('docs'), app);
  await settle();
  expect(second.result.current).toMatchObject({ status: 'ready', count: 2 });
});

test('a name that is not known yet is waited for', async () => {
  const app = newApp();
  const { result, rerender, unmount } = renderHook(({ name }) => usePresence(name), {
    wrapper: app.wrapper,
    initialProps: { name: null as string | null },
  });
  await settle();
  expect(result.current).toEqual({ status: 'idle', users: [], count: 0, error: undefined });
  rerender({ name: 'docs' });
  await settle();
  expect(result.current).toMatchObject({ status: 'ready', count: 1 });
  unmount();
  await settle(LINGER_MS);
  expect(app.gateway.connections).toEqual([]);
});
