// @vitest-environment jsdom
import type { Client } from '@fanfare/client';
import { bindQueryClient, liveQueryOptions } from '@fanfare/client/query';
import { RealtimeProvider } from '@fanfare/client/react';
import { useLiveInterval, useRealtimeMutation, useThrottledRefresh } from '@fanfare/client/react-query';
import { createFakeGateway, type FakeGateway } from '@fanfare/client/testing';
import { onlineManager, QueryClient, QueryClientProvider, useQueries, useQuery } from '@tanstack/react-query';
import { act, cleanup, render, screen } from '@testing-library/react';
import { type ReactNode, StrictMode } from 'react';
import { renderToString } from 'react-dom/server';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { clientOf } from '../support/client.ts';
import { backend } from './support/backend.ts';

let gateway: FakeGateway;
let client: Client;
let queryClient: QueryClient;

beforeEach(() => {
  vi.useFakeTimers();
  gateway = createFakeGateway();
  client = clientOf(gateway, { reconnect: { intervalMs: 100 } });
  queryClient = new QueryClient({ defaultOptions: { queries: { retry: false } } });
});

afterEach(() => {
  cleanup();
  client.disconnect();
  queryClient.clear();
  vi.useRealTimers();
});

const wait = (ms = 0) => act(() => vi.advanceTimersByTimeAsync(ms));
const text = () => document.body.textContent;

test('a binding at module scope makes no noise, however late the first query is', async () => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const binding = bindQueryClient(client, queryClient, { rules: { 'order.updated': [['orders']] } });
  await wait(60_000);
  expect(warn).not.toHaveBeenCalled();
  binding();
  warn.mockRestore();
});

describe.each([
  { name: 'React', Mode: ({ children }: { children: ReactNode }) => children },
  { name: 'StrictMode', Mode: StrictMode },
])('hooks in $name', ({ Mode }) => {
  const app = (children: ReactNode) => (
    <Mode>
      <QueryClientProvider client={queryClient}>
        <RealtimeProvider client={client}>{children}</RealtimeProvider>
      </QueryClientProvider>
    </Mode>
  );

  test('ten lines: an existing list is live', async () => {
    const orders = backend('old');
    const binding = bindQueryClient(client, queryClient, {
      rules: { 'order.updated': { keys: [['orders']], channels: ['orders'] } },
    });
    function Orders() {
      return <p>{useQuery({ queryKey: ['orders'], queryFn: orders.get }).data as string}</p>;
    }
    const page = render(app(<Orders />));
    await wait(5_000);
    expect(gateway.opened).toBe(1);
    expect(gateway.received.filter(({ op }) => op === 'subscribe')).toHaveLength(1);
    orders.now = 'new';
    gateway.publish('channel:orders', { type: 'order.updated', data: {} });
    await wait(0);
    expect(text()).toBe('new');
    page.unmount();
    await wait(10_000);
    expect(gateway.connections).toHaveLength(0);
    binding();
  });

  test('useLiveInterval: polls only while nothing is live', async () => {
    const orders = backend(0);
    function Orders() {
      const refetchInterval = useLiveInterval(1_000);
      return <p>{useQuery({ queryKey: ['orders'], queryFn: orders.get, refetchInterval }).data as number}</p>;
    }
    gateway.stop();
    render(app(<Orders />));
    await wait(10_000);
    expect(orders.asked).toBe(11);
    gateway.start();
    await wait(1_000);
    const before = orders.asked;
    await wait(60_000);
    expect(orders.asked).toBe(before);
    gateway.stop();
    await wait(5_000);
    expect(orders.asked).toBeGreaterThanOrEqual(before + 4);
  });

  test('useThrottledRefresh: many clicks fetch at once and once more', async () => {
    const orders = backend(0);
    const functions = new Set<unknown>();
    function Orders() {
      const refresh = useThrottledRefresh(['orders'], 5_000);
      functions.add(refresh);
      const { data } = useQuery({ queryKey: ['orders'], queryFn: orders.get });
      return (
        <button type="button" onClick={refresh}>
          {data as number}
        </button>
      );
    }
    render(app(<Orders />));
    await wait(10_000);
    const before = orders.asked;
    for (let count = 1; count <= 20; count += 1) {
      orders.now = count;
      act(() => screen.getByRole('button').click());
      await wait(100);
    }
    expect(orders.asked - before).toBe(1);
    await wait(5_000);
    expect(text()).toBe('20');
    expect(orders.asked - before).toBe(2);
    expect(functions.size).toBeLessThanOrEqual(2);
  });

  test('useThrottledRefresh: may ask a backend, which pushes', async () => {
    let asked = 0;
    gateway.onRequest('dashboard.metrics', () => 1);
    gateway.onRequest('dashboard.refresh', ({ week }) => {
      asked += 1;
      gateway.publish('user:42', { type: 'dashboard.data_updated', data: week });
    });
    const binding = bindQueryClient(client, queryClient, {});
    function Metrics() {
      const refresh = useThrottledRefresh({ method: 'dashboard.refresh', input: { week: 7 } }, 5_000);
      const options = liveQueryOptions({
        queryKey: ['metrics'],
        method: 'dashboard.metrics',
        patchOn: 'dashboard.data_updated',
      });
      return (
        <button type="button" onClick={refresh}>
          {useQuery(options).data}
        </button>
      );
    }
    render(app(<Metrics />));
    await wait(1_000);
    expect(text()).toBe('1');
    act(() => screen.getByRole('button').click());
    await wait(0);
    expect(text()).toBe('7');
    act(() => screen.getByRole('button').click());
    await wait(1_000);
    expect(asked).toBe(1);
    await wait(5_000);
    expect(asked).toBe(2);
    binding();
  });

  test('liveQueryOptions serve useQueries', async () => {
    gateway.onRequest('dashboard.get', (kind) => `${kind}!`);
    const binding = bindQueryClient(client, queryClient, {});
    const queries = ['metrics', 'team'].map((input) =>
      liveQueryOptions({ queryKey: ['dashboard', input], method: 'dashboard.get', input }),
    );
    function Dashboard() {
      return <p>{useQueries({ queries }).map(({ data }) => data)}</p>;
    }
    render(app(<Dashboard />));
    await wait(1_000);
    expect(text()).toBe('metrics!team!');
    binding();
  });

  test('useRealtimeMutation: shows a change at once, and takes it back when it is refused', async () => {
    const orders = backend(['open']);
    const answers: ((error: unknown) => void)[] = [];
    gateway.onRequest('orders.ship', () => new Promise((_, reject) => answers.push(reject)));
    const settled = vi.fn();
    function Orders() {
      const { data } = useQuery({ queryKey: ['orders'], queryFn: orders.get });
      const ship = useRealtimeMutation({
        method: 'orders.ship',
        optimistic: (id: number) => [
          { queryKey: ['orders'], update: (all: string[]) => all.map((one, at) => (at === id ? 'shipped' : one)) },
        ],
        onError: ({ code }) => settled(code),
      });
      return (
        <button type="button" onClick={() => ship.mutate(0)}>
          {`${data} ${ship.status}`}
        </button>
      );
    }
    render(app(<Orders />));
    await wait(1_000);
    act(() => screen.getByRole('button').click());
    await wait(0);
    expect(text()).toBe('shipped pending');
    answers[0]?.({ code: 'forbidden', message: 'no' });
    await wait(0);
    expect(text()).toBe('open error');
    expect(settled).toHaveBeenCalledExactlyOnceWith('forbidden');
  });

  test('useRealtimeMutation: is not held up because the browser thinks that it is offline', async () => {
    const orders = backend(['open']);
    queryClient.setQueryData(['orders'], ['open']);
    function Ship() {
      const { data } = useQuery({ queryKey: ['orders'], queryFn: orders.get, staleTime: Number.POSITIVE_INFINITY });
      const ship = useRealtimeMutation({
        method: 'orders.ship',
        optimistic: () => [{ queryKey: ['orders'], update: () => ['shipped'] }],
        fallback: () => new Promise(() => {}),
      });
      return (
        <button type="button" onClick={() => ship.mutate(undefined)}>
          {data as string[]}
        </button>
      );
    }
    gateway.stop();
    onlineManager.setOnline(false);
    render(app(<Ship />));
    act(() => screen.getByRole('button').click());
    await wait(0);
    expect(text()).toBe('shipped');
    onlineManager.setOnline(true);
  });

  test('useRealtimeMutation: a component that goes away leaves nothing behind', async () => {
    const orders = backend(['open']);
    function Orders() {
      const { data } = useQuery({ queryKey: ['orders'], queryFn: orders.get });
      return <p>{data as string[]}</p>;
    }
    function Ship() {
      const ship = useRealtimeMutation({
        method: 'orders.ship',
        optimistic: () => [{ queryKey: ['orders'], update: () => ['shipped'] }],
        timeoutMs: 3_000,
      });
      return (
        <button type="button" onClick={() => ship.mutate(undefined)}>
          !
        </button>
      );
    }
    gateway.onRequest('orders.ship', () => new Promise(() => {}));
    const page = render(app([<Orders key="1" />, <Ship key="2" />]));
    await wait(1_000);
    act(() => screen.getByRole('button').click());
    await wait(0);
    expect(text()).toBe('shipped!');
    page.rerender(app([<Orders key="1" />]));
    await wait(5_000);
    expect(text()).toBe('open');
  });
});

test('a server renders all of it, opens nothing, and polls nothing', () => {
  bindQueryClient(client, queryClient, { rules: { 'order.updated': { keys: [['orders']], channels: ['orders'] } } });
  function Orders() {
    const refetchInterval = useLiveInterval(1_000);
    const refresh = useThrottledRefresh(['orders'], 5_000);
    const { status } = useRealtimeMutation({ method: 'orders.ship' });
    const { data } = useQuery({ queryKey: ['orders'], queryFn: () => 1, refetchInterval, initialData: 1 });
    return <p>{`${data} ${status} ${typeof refresh}`}</p>;
  }
  const html = renderToString(
    <QueryClientProvider client={queryClient}>
      <RealtimeProvider client={client}>
        <Orders />
      </RealtimeProvider>
    </QueryClientProvider>,
  );
  expect(html).toBe('<p>1 idle function</p>');
  expect(gateway.opened).toBe(0);
});
