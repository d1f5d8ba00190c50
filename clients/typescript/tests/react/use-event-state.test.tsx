// @vitest-environment jsdom
import { RealtimeProvider, useEventState } from '@fanfare/client/react';
import { render, renderHook } from '@testing-library/react';
import { describe, expect, test, vi } from 'vitest';
import { type App, complaints, newApp, settle } from './support/app.tsx';

/** Mounts a sum of numbers, and counts what it renders. */
async function sumOf(app: App, everyMs?: number) {
  let renders = 0;
  const { result, rerender, unmount } = renderHook(
    ({ channel, factor }) => {
      renders += 1;
      const sum = (sum: number, { data }: { data: number }) => sum + factor * data;
      return useEventState('added', sum, 0, { channel, everyMs });
    },
    { wrapper: app.wrapper, initialProps: { channel: 'numbers', factor: 1 } },
  );
  await settle();
  const rendersOf = async (change: () => Promise<void>) => {
    renders = 0;
    await change();
    // StrictMode calls components twice.
    return renders / 2;
  };
  const add = (data: number, channel = 'numbers') => app.gateway.publish(`channel:${channel}`, { type: 'added', data });
  return { result, rerender, unmount, rendersOf, add };
}

describe('trap 2: batched messages are dropped, or each renders', () => {
  test('a thousand messages at once: none is dropped, and few renders', async () => {
    const { result, rendersOf, add } = await sumOf(newApp());
    const renders = await rendersOf(async () => {
      for (let at = 0; at < 1_000; at += 1) {
        add(1);
      }
      await settle();
    });
    expect(result.current).toBe(1_000);
    expect(renders).toBeLessThanOrEqual(2);
  });

  test('everyMs: the first at once, at most one render in the time, and the last state for certain', async () => {
    const { result, rendersOf, add } = await sumOf(newApp(), 100);
    const first = await rendersOf(async () => {
      add(1);
      await settle();
    });
    expect([first, result.current]).toEqual([1, 1]);
    const burst = await rendersOf(async () => {
      for (let at = 0; at < 45; at += 1) {
        add(1);
        await settle(10);
      }
    });
    expect(burst).toBe(4);
    const last = await rendersOf(() => settle(1_000));
    expect([last, result.current]).toEqual([1, 46]);
  });

  test('what was shown meanwhile, as its parent rendered, is followed as well', async () => {
    const { result, rerender, add } = await sumOf(newApp(), 100);
    add(1);
    await settle();
    add(1);
    await settle();
    rerender({ channel: 'numbers', factor: 1 });
    expect(result.current).toBe(2);
    add(-1);
    await settle(200);
    expect(result.current).toBe(1);
  });

  test('an event that changes nothing renders nothing', async () => {
    const { rendersOf, add } = await sumOf(newApp(), 100);
    const renders = await rendersOf(async () => {
      add(0);
      await settle(1_000);
    });
    expect(renders).toBe(0);
  });

  test('nor does it delay the next one', async () => {
    const { result, add } = await sumOf(newApp(), 100);
    add(0);
    await settle();
    add(1);
    await settle();
    expect(result.current).toBe(1);
  });
});

describe('useEventState', () => {
  test('reduces by what the last render gave', async () => {
    const { result, rerender, add } = await sumOf(newApp());
    add(1);
    await settle();
    rerender({ channel: 'numbers', factor: 10 });
    add(1);
    await settle();
    expect(result.current).toBe(11);
  });

  test('begins anew on another channel, and takes nothing over', async () => {
    const { result, rerender, add } = await sumOf(newApp(), 100);
    add(1);
    add(1);
    await settle();
    rerender({ channel: 'others', factor: 1 });
    expect(result.current).toBe(0);
    add(5);
    await settle(1_000);
    expect(result.current).toBe(0);
    add(7, 'others');
    await settle();
    expect(result.current).toBe(7);
    rerender({ channel: 'numbers', factor: 1 });
    expect(result.current).toBe(0);
  });

  test('begins anew with another client', async () => {
    const [ana, bo] = [newApp(), newApp()];
    const Sum = () => <p>{useEventState('added', (sum, { data }) => sum + data, 0)}</p>;
    const page = ({ client }: App) => (
      <RealtimeProvider client={client}>
        <Sum />
      </RealtimeProvider>
    );
    const { container, rerender } = render(page(ana));
    await settle();
    ana.gateway.publish('tenant', { type: 'added', data: 1 });
    await settle();
    expect(container.textContent).toBe('1');
    rerender(page(bo));
    expect(container.textContent).toBe('0');
  });

  test('a reducer that throws leaves the state, and the page', async () => {
    const app = newApp();
    const failures = vi.fn();
    app.client.onError(failures);
    const { result } = renderHook(
      () => useEventState('said', (said: string[], { data }) => [...said, data.text.trim()], []),
      app,
    );
    await settle();
    for (const data of [{ text: 'a ' }, null, { text: ' b' }]) {
      app.gateway.publish('tenant', { type: 'said', data });
    }
    await settle();
    expect(result.current).toEqual(['a', 'b']);
    expect(failures.mock.calls.map(([{ code }]) => code)).toEqual(['listener']);
    complaints.mockClear();
  });

  test('an initial state may be computed, once', async () => {
    const app = newApp();
    const begin = vi.fn(() => ['begun']);
    const { result, rerender } = renderHook(() => useEventState('said', (said) => said, begin), app);
    expect(result.current).toEqual(['begun']);
    const calls = begin.mock.calls.length;
    rerender();
    expect(begin).toHaveBeenCalledTimes(calls);
  });

  test('leaves no timer when it unmounts while one runs', async () => {
    const app = newApp();
    const { unmount, add } = await sumOf(app, 60_000);
    add(1);
    await settle();
    unmount();
    await settle(2_500);
    expect(vi.getTimerCount()).toBe(0);
  });
});
