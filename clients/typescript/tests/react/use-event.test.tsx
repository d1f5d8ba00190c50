// @vitest-environment jsdom
import type { Message } from '@fanfare/client';
import { useEvent } from '@fanfare/client/react';
import { renderHook } from '@testing-library/react';
import { describe, expect, test, vi } from 'vitest';
import { complaints, newApp, settle, subscribed } from './support/app.tsx';

describe('trap 2: stale closures, throwing handlers, lost messages, re-render storms', () => {
  test('a callback sees the props of the last render, and is no reason to subscribe again', async () => {
    const app = newApp();
    const listen = vi.spyOn(app.client.channel('orders'), 'on');
    const seen: unknown[] = [];
    const { rerender } = renderHook(
      ({ filter }) => useEvent('order.updated', ({ data }) => seen.push([filter, data]), { channel: 'orders' }),
      { ...app, initialProps: { filter: 'open' } },
    );
    await settle();
    app.gateway.publish('channel:orders', { type: 'order.updated', data: 1 });
    await settle();
    const listened = listen.mock.calls.length;
    rerender({ filter: 'late' });
    expect(listen).toHaveBeenCalledTimes(listened);
    app.gateway.publish('channel:orders', { type: 'order.updated', data: 2 });
    await settle();
    expect(seen).toEqual([
      ['open', 1],
      ['late', 2],
    ]);
    expect(subscribed(app)).toEqual(['channel:orders']);
  });

  test('a callback that throws stops no other', async () => {
    const app = newApp();
    const failures = vi.fn();
    app.client.onError(failures);
    const heard = vi.fn();
    renderHook(() => {
      useEvent('order.updated', () => {
        throw new Error('a bug on this page');
      });
      useEvent('order.updated', heard);
    }, app);
    await settle();
    app.gateway.publish('tenant', { type: 'order.updated', data: 1 });
    app.gateway.publish('tenant', { type: 'order.updated', data: 2 });
    await settle();
    expect(heard).toHaveBeenCalledTimes(2);
    expect(failures.mock.calls.map(([{ code, cause }]) => [code, cause.message])).toEqual([
      ['listener', 'a bug on this page'],
      ['listener', 'a bug on this page'],
    ]);
    expect(complaints).toHaveBeenCalledTimes(2);
    complaints.mockClear();
  });

  test('of a thousand messages at once none is dropped, and nothing is rendered', async () => {
    const app = newApp();
    const seen: number[] = [];
    let renders = 0;
    renderHook(() => {
      renders += 1;
      useEvent('order.updated', ({ data }) => seen.push(data), { channel: 'orders' });
    }, app);
    await settle();
    renders = 0;
    const numbers = Array.from({ length: 1_000 }, (_, number) => number);
    for (const data of numbers) {
      app.gateway.publish('channel:orders', { type: 'order.updated', data });
    }
    await settle();
    expect(seen).toEqual(numbers);
    expect(renders).toBe(0);
  });

  test('an outage renders nothing either', async () => {
    const app = newApp();
    let renders = 0;
    renderHook(() => {
      renders += 1;
      useEvent('order.updated', () => {}, { channel: 'orders' });
    }, app);
    await settle();
    renders = 0;
    app.gateway.stop();
    await settle(10_000);
    app.gateway.start();
    await settle(60_000);
    expect(app.gateway.connections).toHaveLength(1);
    expect(renders).toBe(0);
  });
});

describe('useEvent', () => {
  test('hears one type, several, or any', async () => {
    const app = newApp();
    const heard: Record<string, string[]> = { one: [], several: [], any: [] };
    const into = (name: string) => (message: Message) => heard[name]?.push(message.type);
    renderHook(() => {
      useEvent('a', into('one'));
      useEvent(['a', 'b'], into('several'));
      useEvent('*', into('any'));
    }, app);
    await settle();
    for (const type of ['a', 'b', 'c']) {
      app.gateway.publish('user:42', { type, data: null });
    }
    await settle();
    expect(heard).toEqual({ one: ['a'], several: ['a', 'b'], any: ['a', 'b', 'c'] });
  });

  test('other types are heard as soon as they are asked for', async () => {
    const app = newApp();
    const seen: string[] = [];
    const { rerender } = renderHook(({ types }) => useEvent(types, ({ type }) => seen.push(type)), {
      ...app,
      initialProps: { types: ['a', 'b'] },
    });
    await settle();
    rerender({ types: ['b', 'c'] });
    for (const type of ['a', 'b', 'c']) {
      app.gateway.publish('tenant', { type, data: null });
    }
    await settle();
    expect(seen).toEqual(['b', 'c']);
  });

  test('with a channel hears that channel only, and follows it', async () => {
    const app = newApp();
    const seen: unknown[] = [];
    const { rerender } = renderHook(
      ({ team }: { team: number | null }) =>
        useEvent('wallet_update', ({ channel }) => seen.push(channel), {
          channel: team === null ? null : `team:${team}`,
        }),
      { ...app, initialProps: { team: null as number | null } },
    );
    const publish = async () => {
      await settle();
      app.gateway.publish('tenant', { type: 'wallet_update', data: null });
      app.gateway.publish('channel:team:1', { type: 'wallet_update', data: null });
      app.gateway.publish('channel:team:2', { type: 'wallet_update', data: null });
      await settle();
    };
    await publish();
    expect(subscribed(app)).toEqual([]);
    rerender({ team: 1 });
    await publish();
    rerender({ team: 2 });
    await publish();
    expect(seen).toEqual(['team:1', 'team:2']);
    expect(subscribed(app)).toEqual(['channel:team:1', 'channel:team:2']);
  });

  test('enabled: false hears nothing and subscribes to nothing', async () => {
    const app = newApp();
    const heard = vi.fn();
    const { rerender } = renderHook(({ enabled }) => useEvent('a', heard, { channel: 'orders', enabled }), {
      ...app,
      initialProps: { enabled: false },
    });
    await settle();
    expect(subscribed(app)).toEqual([]);
    rerender({ enabled: true });
    await settle();
    app.gateway.publish('channel:orders', { type: 'a', data: null });
    await settle();
    rerender({ enabled: false });
    app.gateway.publish('channel:orders', { type: 'a', data: null });
    await settle();
    expect(heard).toHaveBeenCalledTimes(1);
  });
});
