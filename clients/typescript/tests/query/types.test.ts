import { createClient } from '@fanfare/client';
import { bindQueryClient, liveQueryOptions } from '@fanfare/client/query';
import { QueryClient as QueryClient5, QueryObserver } from '@tanstack/query-core';
import { QueryClient as QueryClient4 } from 'query-core4';
import { QueryClient as QueryClient3 } from 'react-query3/core';
import { expect, expectTypeOf, test } from 'vitest';
import { realtimeMutation } from '../../src/react-query/mutation.ts';

interface App {
  events: {
    'order.updated': { id: number };
    'squad.updated': { player: string };
    'metrics.updated': { open: number };
  };
  channels: { orders: 'order.updated'; [team: `team:${string}`]: 'squad.updated' };
  methods: {
    'orders.cancel': { input: { id: number }; output: { ok: boolean } };
    'metrics.get': { input: undefined; output: { open: number } };
  };
}

const client = createClient<App>({ url: 'ws://127.0.0.1:9/ws', getToken: () => null });

test('query clients of all versions can be bound', () => {
  for (const binding of [
    bindQueryClient(client, new QueryClient5(), {}),
    bindQueryClient(client, new QueryClient4(), {}),
    bindQueryClient(client, new QueryClient3(), {}),
  ]) {
    expectTypeOf(binding).toBeFunction();
    expectTypeOf(binding.cacheSize).toEqualTypeOf<number>();
    expect(binding.cacheSize).toBe(0);
    binding();
  }
});

test('rules know the events, the channels, and the query client', () => {
  const queryClient = new QueryClient5();
  bindQueryClient(client, queryClient, {
    rules: {
      'order.updated': [['orders']],
      'squad.updated': {
        keys: (message) => {
          expectTypeOf(message.data).toEqualTypeOf<{ player: string }>();
          return [['squad', message.data.player]];
        },
        channels: ([, team]) => [`team:${team}`],
        patch: (bound, message) => {
          expectTypeOf(bound).toEqualTypeOf<QueryClient5>();
          expectTypeOf(message.type).toEqualTypeOf<'squad.updated'>();
        },
      },
    },
  })();
  // @ts-expect-error there is no such event
  bindQueryClient(client, queryClient, { rules: { 'order.lost': [['orders']] } })();
  // @ts-expect-error there is no such channel
  bindQueryClient(client, queryClient, { rules: { 'order.updated': { keys: [], channels: ['order'] } } })();
});

test('live queries know what methods take and answer', () => {
  const options = liveQueryOptions({ client, queryKey: ['metrics'], method: 'metrics.get' });
  expectTypeOf(options.queryFn).returns.resolves.toEqualTypeOf<{ open: number }>();
  const observer = new QueryObserver(new QueryClient5(), options);
  expectTypeOf(observer.getCurrentResult().data).toEqualTypeOf<{ open: number } | undefined>();
  liveQueryOptions({
    client,
    queryKey: ['metrics'],
    method: 'metrics.get',
    patchOn: {
      'metrics.updated': ({ data }, old) => {
        expectTypeOf(old).toEqualTypeOf<{ open: number } | undefined>();
        return data;
      },
    },
  });
  // @ts-expect-error there is no such method
  liveQueryOptions({ client, queryKey: ['metrics'], method: 'metrics.lose' });
  // @ts-expect-error it takes an id
  liveQueryOptions({ client, queryKey: ['metrics'], method: 'orders.cancel', input: { name: 7 } });
});

test('mutations know what methods take and answer, or take what the app says', () => {
  const queryClient = new QueryClient5();
  const cancel = realtimeMutation(client, queryClient, {
    method: 'orders.cancel',
    confirm: { event: 'order.updated', id: ({ data }) => data.id },
  });
  expectTypeOf(cancel).toEqualTypeOf<(variables: { id: number }) => Promise<{ ok: boolean }>>();
  const cancelByName = realtimeMutation(client, queryClient, {
    method: 'orders.cancel',
    input: (name: string) => ({ id: Number(name) }),
    optimistic: (name) => [
      { queryKey: ['orders'], update: (orders: string[]) => orders.filter((one) => one !== name) },
    ],
  });
  expectTypeOf(cancelByName).parameter(0).toEqualTypeOf<string>();
});
