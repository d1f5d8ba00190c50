// @vitest-environment jsdom
import {
  ConnectionStatus,
  useChannel,
  useConnectionHealth,
  useEvent,
  usePresence,
  useWebSocket,
} from '@fanfare/client/react';
import { act, render, renderHook, screen } from '@testing-library/react';
import { describe, expect, test, vi } from 'vitest';
import { LINGER_MS, newApp, settle, subscribed } from './support/app.tsx';

/** A promise that the test keeps. */
function later<T>() {
  let keep: (value: T) => void = () => {};
  const promise = new Promise<T>((resolve) => {
    keep = resolve;
  });
  return { promise, keep };
}

/** A page that uses everything. */
function Page() {
  const { isConnected } = useWebSocket({ channel: 'orders' });
  useChannel('orders');
  useEvent('order.updated', () => {}, { channel: 'orders' });
  usePresence('orders');
  useConnectionHealth();
  return <p>{isConnected ? 'live' : 'not live'}</p>;
}

describe('trap 1: React StrictMode opens two sockets, or leaks one', () => {
  test('one socket and one subscribe frame, however many components use the channel', async () => {
    const app = newApp();
    render(
      <>
        <Page />
        <Page />
        <ConnectionStatus />
      </>,
      app,
    );
    await settle();
    expect(screen.getAllByText('live')).toHaveLength(2);
    expect(app.gateway.opened).toBe(1);
    expect(subscribed(app)).toEqual(['channel:orders']);
  });

  test('also while the address is still being fetched', async () => {
    const { promise, keep } = later<string>();
    const url = vi.fn(() => promise);
    const app = newApp({ url });
    const { unmount } = render(<Page />, app);
    await settle();
    expect(app.gateway.opened).toBe(0);
    keep(app.gateway.url);
    await settle();
    expect(screen.getByText('live')).toBeTruthy();
    expect([app.gateway.opened, url.mock.calls.length]).toEqual([1, 1]);
    unmount();
    await settle(LINGER_MS);
    expect(app.gateway.connections).toEqual([]);
  });

  test('also while the token is still being fetched', async () => {
    const { promise, keep } = later<string>();
    const getToken = vi.fn(() => promise);
    const app = newApp({ getToken });
    render(<Page />, app);
    await settle();
    keep(app.gateway.token());
    await settle();
    expect(screen.getByText('live')).toBeTruthy();
    expect([app.gateway.opened, getToken.mock.calls.length]).toEqual([1, 1]);
    expect(subscribed(app)).toEqual(['channel:orders']);
  });

  test.each(['url', 'getToken'])('who leaves while %s is being fetched leaves no socket behind', async (what) => {
    const { promise, keep } = later<string>();
    const app = newApp({ [what]: () => promise });
    const { unmount } = render(<Page />, app);
    await settle();
    unmount();
    await settle(LINGER_MS);
    keep(what === 'url' ? app.gateway.url : app.gateway.token());
    await settle(60_000);
    expect(app.gateway.connections).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('from page to page the connection and the channels stay', async () => {
    const app = newApp();
    const first = renderHook(() => useChannel('orders'), app);
    await settle();
    first.unmount();
    await settle(LINGER_MS - 1);
    const second = renderHook(() => useChannel('orders'), app);
    await settle(LINGER_MS);
    expect(second.result.current).toEqual({ status: 'subscribed' });
    expect(app.gateway.opened).toBe(1);
    expect(subscribed(app)).toEqual(['channel:orders']);
  });

  test('the provider alone keeps the connection', async () => {
    const app = newApp();
    const { unmount } = render(<p>a page without hooks</p>, app);
    await settle();
    expect(app.gateway.connections).toHaveLength(1);
    unmount();
    await settle(LINGER_MS);
    expect(app.gateway.connections).toEqual([]);
  });

  test('after the last page the connection is closed', async () => {
    const app = newApp();
    const { unmount } = render(<Page />, app);
    await settle();
    unmount();
    await settle(LINGER_MS - 1);
    expect(app.gateway.connections).toHaveLength(1);
    await settle(1);
    expect(app.gateway.connections).toEqual([]);
  });

  test('another client in the same provider takes over', async () => {
    const app = newApp();
    const other = newApp();
    const { rerender } = render(
      <app.wrapper>
        <Page />
      </app.wrapper>,
    );
    await settle();
    rerender(
      <other.wrapper>
        <Page />
      </other.wrapper>,
    );
    await settle(LINGER_MS);
    expect(app.gateway.connections).toEqual([]);
    expect(other.gateway.connections.map(({ topics }) => topics)).toEqual([['tenant', 'user:42', 'channel:orders']]);
    expect(screen.getByText('live')).toBeTruthy();
  });

  test('after a logout hooks wait for connect()', async () => {
    const app = newApp();
    render(<Page />, app);
    await settle();
    await act(async () => app.client.disconnect());
    await settle(LINGER_MS);
    expect(app.gateway.connections).toEqual([]);
    await act(async () => app.client.connect());
    await settle();
    expect(screen.getByText('live')).toBeTruthy();
  });
});
