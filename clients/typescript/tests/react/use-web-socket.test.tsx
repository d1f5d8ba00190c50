// @vitest-environment jsdom
import type { ConnectionState, FanfareError, Message } from '@fanfare/client';
import { useWebSocket } from '@fanfare/client/react';
import { act, render, renderHook, screen } from '@testing-library/react';
import { useEffect } from 'react';
import { describe, expect, test, vi } from 'vitest';
import { LINGER_MS, newApp, settle, subscribed } from './support/app.tsx';

describe('the hooks that people wrote by hand', () => {
  test('an auction: a team, as soon as it is known, with callbacks for what arrives', async () => {
    const app = newApp();
    const toasts: string[] = [];
    function Dashboard({ teamId, currency }: { teamId: number | undefined; currency: string }) {
      const { isConnected } = useWebSocket({
        channel: teamId === undefined ? null : `team:${teamId}`,
        enabled: true,
        onMessage: (message) => {
          if (message.type === 'wallet_update') {
            toasts.push(`${message.data.new_balance} ${currency}`);
          }
        },
      });
      return <p>{isConnected ? 'Live' : 'Offline'}</p>;
    }
    const { rerender } = render(<Dashboard teamId={undefined} currency="£" />, app);
    await settle();
    expect(screen.getByText('Offline')).toBeTruthy();
    rerender(<Dashboard teamId={7} currency="£" />);
    await settle();
    expect(screen.getByText('Live')).toBeTruthy();
    app.gateway.publish('channel:team:7', { type: 'wallet_update', data: { new_balance: 50 } });
    await settle();
    rerender(<Dashboard teamId={7} currency="€" />);
    app.gateway.publish('channel:team:7', { type: 'wallet_update', data: { new_balance: 40 } });
    app.gateway.publish('channel:team:8', { type: 'wallet_update', data: { new_balance: 0 } });
    app.gateway.publish('tenant', { type: 'wallet_update', data: { new_balance: 0 } });
    await settle();
    expect(toasts).toEqual(['50 £', '40 €']);
    expect(subscribed(app)).toEqual(['channel:team:7']);
  });

  test('shifts: subscribe in an effect, which ends with it', async () => {
    const app = newApp();
    const started: unknown[] = [];
    const { unmount } = renderHook(() => {
      const { subscribe } = useWebSocket({ userId: 42, companyId: 'acme' });
      useEffect(() => subscribe('shift.started', ({ data }) => started.push(data)), [subscribe]);
    }, app);
    await settle();
    app.gateway.publish('tenant', { type: 'shift.started', data: 'early' });
    await settle();
    app.client.connect();
    unmount();
    app.gateway.publish('tenant', { type: 'shift.started', data: 'late' });
    await settle();
    expect(started).toEqual(['early']);
  });

  test('shifts: channels by name, each as often as it was asked for, and none after the component', async () => {
    const app = newApp();
    app.client.connect();
    const { result, unmount } = renderHook(() => {
      const socket = useWebSocket();
      const { subscribeToChannel, unsubscribeFromChannel } = socket;
      useEffect(() => {
        subscribeToChannel('violations');
        return () => unsubscribeFromChannel('violations');
      }, [subscribeToChannel, unsubscribeFromChannel]);
      return socket;
    }, app);
    await settle(LINGER_MS);
    const channels = () => app.gateway.connections[0]?.topics.filter((topic) => topic.startsWith('channel:'));
    expect(subscribed(app)).toEqual(['channel:violations']);
    await act(async () => {
      result.current.subscribeToChannel('violations');
      result.current.subscribeToChannel('employees');
      result.current.unsubscribeFromChannel('never-asked-for');
    });
    await settle();
    expect(channels()).toEqual(['channel:violations', 'channel:employees']);
    await act(async () => {
      result.current.unsubscribeFromChannel('violations');
      result.current.unsubscribeFromChannel('employees');
    });
    await settle(LINGER_MS);
    expect(channels()).toEqual(['channel:violations']);
    await act(async () => result.current.subscribeToChannel('employees'));
    unmount();
    await settle(LINGER_MS);
    expect(channels()).toEqual([]);
    expect(app.gateway.opened).toBe(1);
  });

  test('onConnect and onDisconnect tell each time that the connection comes and goes, and the latest is called', async () => {
    const app = newApp();
    const calls: string[] = [];
    const { rerender } = renderHook(
      ({ page }) =>
        useWebSocket({
          onConnect: () => calls.push(`${page} on`),
          onDisconnect: ({ status }: ConnectionState) => calls.push(`${page} off: ${status}`),
        }),
      { wrapper: app.wrapper, initialProps: { page: 'first' } },
    );
    await settle();
    rerender({ page: 'second' });
    app.gateway.drop();
    await settle(30_000);
    await act(async () => app.client.disconnect());
    expect(calls).toEqual(['first on', 'second off: reconnecting', 'second on', 'second off: closed']);
  });

  test('who comes later finds the connection there, and is told of no new one', async () => {
    const app = newApp();
    app.client.connect();
    await settle();
    const onConnect = vi.fn();
    const { result } = renderHook(() => useWebSocket({ onConnect }), app);
    expect(result.current.isConnected).toBe(true);
    await settle();
    expect(onConnect).not.toHaveBeenCalled();
  });

  test('a button reconnects after the tries are used up', async () => {
    const app = newApp({ reconnect: { intervalMs: 1_000, maxAttempts: 2 } });
    app.gateway.stop();
    const { result } = renderHook(() => useWebSocket(), app);
    await settle(10_000);
    expect(result.current.state).toMatchObject({ status: 'failed', reason: 'attempts' });
    expect(result.current.error).toMatchObject({ code: 'connection_lost', retryable: true });
    app.gateway.start();
    await act(async () => result.current.reconnect());
    await settle();
    expect(result.current).toMatchObject({ isConnected: true, error: undefined });
  });

  test('disconnect closes it for the whole app', async () => {
    const app = newApp();
    const { result } = renderHook(() => useWebSocket(), app);
    await settle();
    await act(async () => result.current.disconnect());
    await settle();
    expect(result.current).toMatchObject({ isConnected: false, state: { status: 'closed' } });
    expect(app.gateway.connections).toEqual([]);
  });

  test('enabled: false is not connected, hears nothing, and subscribes to nothing', async () => {
    const app = newApp();
    const heard = vi.fn();
    const options = { channel: 'orders', onMessage: heard, onConnect: heard, onDisconnect: heard, onError: heard };
    const { result, rerender } = renderHook(({ enabled }) => useWebSocket({ ...options, enabled }), {
      wrapper: app.wrapper,
      initialProps: { enabled: false },
    });
    app.gateway.refuse('channel:others', 'forbidden');
    await settle();
    app.client.channel('others').subscribe();
    await settle();
    expect(result.current.isConnected).toBe(false);
    expect(heard).not.toHaveBeenCalled();
    expect(subscribed(app)).toEqual(['channel:others']);
    const anything = renderHook(() => useWebSocket({ enabled: false }), app);
    expect(anything.result.current).toMatchObject({ isConnected: false, state: { status: 'connected' } });
    rerender({ enabled: true });
    await settle();
    expect(result.current.isConnected).toBe(true);
  });
});

describe('what is live is not said to be when it is not', () => {
  test('a channel that is refused is not connected, and says why', async () => {
    const app = newApp();
    app.gateway.refuse('channel:orders', 'forbidden', 'not your orders');
    const onError = vi.fn<(error: FanfareError) => void>();
    const { result } = renderHook(() => useWebSocket({ channel: 'orders', onError }), app);
    await settle();
    expect(result.current.state.status).toBe('connected');
    expect(result.current.isConnected).toBe(false);
    expect(result.current.error).toMatchObject({ code: 'forbidden', topic: 'channel:orders', retryable: false });
    expect(onError.mock.calls.map(([{ code, topic }]) => [code, topic])).toEqual([['forbidden', 'channel:orders']]);
  });

  test('onError is told what is about its channel and about the connection, not what is about others', async () => {
    const app = newApp();
    const of = (channel?: string) => {
      const errors: string[] = [];
      renderHook(() => useWebSocket({ channel, onError: ({ code }) => errors.push(code) }), app);
      return errors;
    };
    const [orders, others, all] = [of('orders'), of('others'), of()];
    app.gateway.refuse('channel:orders', 'forbidden');
    await settle();
    app.gateway.drop();
    await settle();
    expect([orders, others, all]).toEqual([
      ['forbidden', 'connection_lost'],
      ['connection_lost'],
      ['forbidden', 'connection_lost'],
    ]);
  });
});

describe('trap 2: re-render storms', () => {
  test('messages render nothing, and the functions stay the same through an outage', async () => {
    const app = newApp();
    const seen: Message[] = [];
    const handles: ReturnType<typeof useWebSocket>[] = [];
    renderHook(() => {
      const handle = useWebSocket({ channel: 'orders', onMessage: (message) => seen.push(message) });
      useEffect(() => {
        handles.push(handle);
      });
    }, app);
    await settle();
    const renders = handles.length;
    for (let at = 0; at < 100; at += 1) {
      app.gateway.publish('channel:orders', { type: 'order.updated', data: at });
    }
    await settle();
    expect([seen.length, handles.length]).toEqual([100, renders]);
    app.gateway.drop();
    await settle(30_000);
    const functions = ({ isConnected: _, state: _state, error: _error, ...rest }: (typeof handles)[number]) => rest;
    const [first] = handles;
    for (const handle of handles) {
      expect(functions(handle)).toEqual(first && functions(first));
    }
  });
});
