// @vitest-environment jsdom
import { useChannel } from '@fanfare/client/react';
import { renderHook } from '@testing-library/react';
import { expect, test } from 'vitest';
import { LINGER_MS, newApp, settle, subscribed } from './support/app.tsx';

test('a channel is subscribed while a component needs it, and heard', async () => {
  const app = newApp();
  app.client.connect();
  const seen: unknown[] = [];
  const states: string[] = [];
  const { rerender, unmount } = renderHook(
    ({ prefix }) => {
      const { status } = useChannel('orders', ({ type, data }) => seen.push([prefix, type, data]));
      states.push(status);
    },
    { wrapper: app.wrapper, initialProps: { prefix: 'a' } },
  );
  await settle();
  expect([...new Set(states)]).toEqual(['idle', 'subscribing', 'subscribed']);
  app.gateway.publish('channel:orders', { type: 'order.updated', data: 1 });
  await settle();
  rerender({ prefix: 'b' });
  app.gateway.publish('channel:orders', { type: 'order.gone', data: 2 });
  await settle();
  expect(seen).toEqual([
    ['a', 'order.updated', 1],
    ['b', 'order.gone', 2],
  ]);
  expect(subscribed(app)).toEqual(['channel:orders']);
  unmount();
  await settle(LINGER_MS);
  expect(app.gateway.connections[0]?.topics).toEqual(['tenant', 'user:42']);
});

test('a name that is not known yet is waited for, and another one takes its place', async () => {
  const app = newApp();
  const { result, rerender } = renderHook(({ name }) => useChannel(name), {
    wrapper: app.wrapper,
    initialProps: { name: null as string | null },
  });
  await settle();
  expect(result.current).toEqual({ status: 'idle' });
  expect(subscribed(app)).toEqual([]);
  for (const name of ['team:1', 'team:2']) {
    rerender({ name });
    await settle();
    expect(result.current).toEqual({ status: 'subscribed' });
  }
  await settle(LINGER_MS);
  expect(app.gateway.connections[0]?.topics).toEqual(['tenant', 'user:42', 'channel:team:2']);
  rerender({ name: null });
  await settle(LINGER_MS);
  expect(result.current).toEqual({ status: 'idle' });
  expect(app.gateway.connections[0]?.topics).toEqual(['tenant', 'user:42']);
});

test('a channel that is refused says why, and recovers by itself when that may pass', async () => {
  const app = newApp();
  const allow = app.gateway.refuse('channel:orders', 'unavailable');
  const { result } = renderHook(() => useChannel('orders'), app);
  await settle();
  expect(result.current).toMatchObject({ status: 'failed', error: { code: 'unavailable', topic: 'channel:orders' } });
  allow();
  await settle(60_000);
  expect(result.current).toEqual({ status: 'subscribed' });
});

test('after an outage it is subscribed again', async () => {
  const app = newApp();
  const { result } = renderHook(() => useChannel('orders'), app);
  await settle();
  app.gateway.stop();
  await settle();
  expect(result.current).toEqual({ status: 'subscribing' });
  app.gateway.start();
  await settle(60_000);
  expect(result.current).toEqual({ status: 'subscribed' });
  expect(app.gateway.connections[0]?.topics).toContain('channel:orders');
});
