// @vitest-environment jsdom

import { createClient } from '@fanfare/client';
import { bindQueryClient } from '@fanfare/client/query';
import { createFakeGateway, type FakeGateway } from '@fanfare/client/testing';
import * as solid from '@tanstack/solid-query';
import * as vueQuery from '@tanstack/vue-query';
import { compile } from 'svelte/compiler';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { effectScope } from 'vue';
import { run } from './run.ts';
import { snippet, snippetsOf } from './snippets.ts';

let gateway: FakeGateway;
let user: string;

beforeEach(() => {
  gateway = createFakeGateway();
  user = 'ana';
  vi.stubGlobal('WebSocket', gateway.WebSocket);
  vi.stubGlobal('fetch', async () => new Response(gateway.token({ user })));
});
afterEach(() => {
  vi.unstubAllGlobals();
});

const isSubscribed = () => vi.waitFor(() => expect(gateway.connections[0]?.topics).toContain('channel:orders'));

test.each([
  ['Vue', vueQuery],
  ['Solid', solid],
])("%s's query client is kept fresh", async (_name, { QueryClient, QueryObserver }) => {
  const client = createClient({ url: gateway.url, getToken: () => gateway.token() });
  const queryClient = new QueryClient();
  let stock = 1;
  const off = bindQueryClient(client, queryClient as vueQuery.QueryClient, {
    rules: { 'order.updated': { channels: ['orders'], keys: [['orders']], everyMs: 0 } },
  });
  const options = { queryKey: ['orders'], queryFn: async () => stock };
  const observer = new QueryObserver(queryClient as vueQuery.QueryClient, options);
  const stop = observer.subscribe(() => {});
  await isSubscribed();
  await vi.waitFor(() => expect(observer.getCurrentResult().data).toBe(1));

  stock = 2;
  gateway.publish('channel:orders', { type: 'order.updated', data: {} });
  await vi.waitFor(() => expect(observer.getCurrentResult().data).toBe(2));
  stop();
  off();
});

test("Vue's stores and events live as long as their component", async () => {
  const { useConnectionState, useOrderEvents } = (await run(snippet('docs/recipes.md', 'vue stores'))) as {
    useConnectionState(): { value: { status: string } };
    useOrderEvents(listener: (id: number) => void): void;
  };
  const component = effectScope();
  const heard: number[] = [];
  const state = component.run(() => {
    useOrderEvents((id) => heard.push(id));
    return useConnectionState();
  });
  await vi.waitFor(() => expect(state?.value.status).toBe('connected'));
  gateway.publish('channel:orders', { type: 'order.updated', data: { id: 7 } });
  await vi.waitFor(() => expect(heard).toEqual([7]));

  component.stop();
  gateway.publish('channel:orders', { type: 'order.updated', data: { id: 8 } });
  await vi.waitFor(() => expect(gateway.connections).toEqual([]), { timeout: 5_000 });
  expect(heard).toEqual([7]);
});

test("Svelte's component compiles, with the connection's state as a store", () => {
  const [component] = snippetsOf('docs/recipes.md').filter(({ language }) => language === 'svelte');
  const { js, warnings } = compile(component?.text ?? '', { filename: 'App.svelte' });
  expect(js.code).toContain('store_get');
  expect(warnings).toEqual([]);
});

test('who logs in after a logout gets nothing of whoever was there before', async () => {
  const { logOut, loggedIn } = (await run(snippet('docs/recipes.md', 'logout'))) as {
    logOut(queryClient: { clear(): void }): Promise<void>;
    loggedIn(): void;
  };
  const clear = vi.fn();
  loggedIn();
  await vi.waitFor(() => expect(gateway.connections.map((one) => one.user)).toEqual(['ana']));
  await logOut({ clear });
  expect(clear).toHaveBeenCalled();
  expect(gateway.connections).toEqual([]);

  user = 'ben';
  loggedIn();
  await vi.waitFor(() => expect(gateway.connections.map((one) => one.user)).toEqual(['ben']));
  const [hello] = gateway.received.filter(({ op }) => op === 'auth').slice(-1);
  expect(hello?.since ?? {}).toEqual({});
  await logOut({ clear });
});
