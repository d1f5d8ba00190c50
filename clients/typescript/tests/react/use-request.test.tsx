// @vitest-environment jsdom
import { FanfareError } from '@fanfare/client';
import { useRequest } from '@fanfare/client/react';
import { act, renderHook } from '@testing-library/react';
import { expect, test, vi } from 'vitest';
import { newApp, settle } from './support/app.tsx';

test('shows that a request is pending, and its answer', async () => {
  const app = newApp();
  app.gateway.onRequest('orders.get', ({ id }) => ({ total: `${id}.90` }));
  const { result } = renderHook(() => useRequest('orders.get'), app);
  await settle();
  expect(result.current).toMatchObject({ data: undefined, error: undefined, isPending: false });
  let answer: Promise<unknown> | undefined;
  act(() => {
    answer = result.current.request({ id: 7 });
  });
  expect(result.current.isPending).toBe(true);
  await settle();
  expect(result.current).toMatchObject({ data: { total: '7.90' }, error: undefined, isPending: false });
  await expect(answer).resolves.toEqual({ total: '7.90' });
});

test('shows why it failed, keeps the last answer, and leaves no rejection unhandled', async () => {
  const app = newApp();
  const unhandled = vi.fn();
  process.on('unhandledRejection', unhandled);
  const { result } = renderHook(() => useRequest('orders.get'), app);
  const backend = app.gateway.onRequest('orders.get', () => 'once');
  await act(async () => void result.current.request({ id: 7 }));
  await settle();
  backend();
  await act(async () => void result.current.request({ id: 7 }));
  await settle();
  expect(result.current.error).toBeInstanceOf(FanfareError);
  expect(result.current).toMatchObject({ data: 'once', error: { code: 'no_backend' }, isPending: false });
  vi.useRealTimers();
  // Node tells of unhandled rejections once all microtasks are done.
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', unhandled);
  expect(unhandled).not.toHaveBeenCalled();
});

test('of several in flight only the last one counts', async () => {
  const app = newApp();
  const answers: ((value: string) => void)[] = [];
  app.gateway.onRequest('search', () => new Promise((resolve) => answers.push(resolve)));
  const { result } = renderHook(() => useRequest('search'), app);
  await settle();
  const first = result.current.request({ text: 'f' });
  const second = result.current.request({ text: 'fa' });
  await settle();
  answers[1]?.('of fa');
  await settle();
  answers[0]?.('of f');
  await settle();
  expect(result.current).toMatchObject({ data: 'of fa', isPending: false });
  await expect(Promise.all([first, second])).resolves.toEqual(['of f', 'of fa']);
});

test('another method shows nothing of the one before', async () => {
  const app = newApp();
  app.gateway.onRequest('a', () => 'of a');
  const { result, rerender } = renderHook(({ method }) => useRequest(method), {
    wrapper: app.wrapper,
    initialProps: { method: 'a' },
  });
  const { request } = result.current;
  await act(async () => void request());
  await settle();
  expect(result.current.data).toBe('of a');
  rerender({ method: 'a' });
  expect(result.current.request).toBe(request);
  rerender({ method: 'b' });
  expect(result.current).toMatchObject({ data: undefined, error: undefined, isPending: false });
});

test('goes on when the component unmounts, and ends by its signal', async () => {
  const app = newApp();
  const done = vi.fn();
  app.gateway.onRequest('orders.cancel', done);
  const { result, unmount } = renderHook(() => useRequest('orders.cancel'), app);
  await settle();
  const answer = result.current.request({ id: 7 });
  const stop = new AbortController();
  app.gateway.onRequest('slow', () => new Promise(() => {}));
  const slow = app.client.request('slow', undefined, { signal: stop.signal });
  unmount();
  stop.abort();
  await expect(slow).rejects.toMatchObject({ code: 'aborted' });
  await settle();
  await answer;
  expect(done).toHaveBeenCalledTimes(1);
});
