/** What the compiler says. These tests run in `tsc`; what they do at run time is of no interest. */

import { type Client, createClient, type Message } from '@fanfare/client';
import { createFakeGateway } from '@fanfare/client/testing';
import { describe, expectTypeOf, test } from 'vitest';

interface Shop {
  events: {
    'order.updated': { id: number; total: string };
    'order.deleted': { id: number };
    'cursor.moved': { x: number };
  };
  channels: {
    orders: 'order.updated' | 'order.deleted';
    [team: `team:${string}`]: 'cursor.moved';
  };
  methods: {
    'orders.cancel': { input: { id: number }; output: { cancelled: boolean } };
    'dashboard.refresh': { input: undefined; output: { open: number } };
  };
}

/** Compiles, and is never called. */
function never(_: () => unknown): void {}

const options = { url: '/ws', getToken: () => null };

describe('createClient<Shop>()', () => {
  const client = createClient<Shop>(options);

  test('knows the channels', () => {
    never(() => client.channel('orders'));
    never(() => client.channel('team:7'));
    // @ts-expect-error no such channel
    never(() => client.channel('order'));
    expectTypeOf(client.channel('orders').name).toEqualTypeOf<'orders'>();
  });

  test('knows what a channel brings', () => {
    const channel = client.channel('orders');
    never(() =>
      channel.on('order.updated', (message) => {
        expectTypeOf(message).toEqualTypeOf<Message<'order.updated', { id: number; total: string }>>();
      }),
    );
    never(() =>
      channel.on(['order.updated', 'order.deleted'], (message) => {
        if (message.type === 'order.updated') {
          expectTypeOf(message.data.total).toEqualTypeOf<string>();
        } else {
          expectTypeOf(message.data).toEqualTypeOf<{ id: number }>();
        }
      }),
    );
    never(() =>
      channel.on('*', (message) => {
        expectTypeOf(message.type).toEqualTypeOf<'order.updated' | 'order.deleted'>();
      }),
    );
    // @ts-expect-error an event of another channel
    never(() => channel.on('cursor.moved', () => {}));
    // @ts-expect-error a misspelt event
    never(() => channel.on('order.updatd', () => {}));
  });

  test('knows what the client brings', () => {
    never(() =>
      client.on('*', (message) => {
        expectTypeOf(message.type).toEqualTypeOf<'order.updated' | 'order.deleted' | 'cursor.moved'>();
      }),
    );
    // @ts-expect-error a misspelt event
    never(() => client.on('order.updatd', () => {}));
  });

  test('knows what may be published', () => {
    never(() => client.channel('team:7').publish('cursor.moved', { x: 1 }));
    // @ts-expect-error the data of another event
    never(() => client.channel('team:7').publish('cursor.moved', { id: 1 }));
    // @ts-expect-error an event of another channel
    never(() => client.channel('team:7').publish('order.deleted', { id: 1 }));
  });

  test('knows what methods take and answer', () => {
    expectTypeOf(client.request<'orders.cancel'>).returns.resolves.toEqualTypeOf<{ cancelled: boolean }>();
    never(async () => {
      const answer = await client.request('orders.cancel', { id: 7 });
      expectTypeOf(answer).toEqualTypeOf<{ cancelled: boolean }>();
    });
    never(() => client.request('dashboard.refresh'));
    never(() => client.request('dashboard.refresh', undefined, { timeoutMs: 1 }));
    // @ts-expect-error needs an input
    never(() => client.request('orders.cancel'));
    // @ts-expect-error another input
    never(() => client.request('orders.cancel', { id: '7' }));
    // @ts-expect-error no such method
    never(() => client.request('orders.cancle', { id: 7 }));
  });

  test('knows what history has', () => {
    never(async () => {
      const { messages } = await client.channel('orders').history();
      expectTypeOf(messages[0]?.type).toEqualTypeOf<'order.updated' | 'order.deleted' | undefined>();
    });
  });

  test('knows which schemas there may be', () => {
    const id = { '~standard': { validate: () => ({ value: { id: 1 } }) } };
    never(() => createClient<Shop>({ ...options, schemas: { 'order.deleted': id } }));
    // @ts-expect-error it makes something else of it
    never(() => createClient<Shop>({ ...options, schemas: { 'order.updated': id } }));
    // @ts-expect-error no such event
    never(() => createClient<Shop>({ ...options, schemas: { 'order.gone': id } }));
  });
});

describe('createFakeGateway<Shop>()', () => {
  test('knows the same', () => {
    const gateway = createFakeGateway<Shop>();
    never(() => gateway.publish('channel:orders', { type: 'order.deleted', data: { id: 7 } }));
    never(() => gateway.publish('user:42', { type: 'order.deleted', data: { id: 7 } }));
    // @ts-expect-error no such channel
    never(() => gateway.publish('channel:order', { type: 'order.deleted', data: { id: 7 } }));
    // @ts-expect-error the data of another event
    never(() => gateway.publish('channel:orders', { type: 'order.deleted', data: { x: 7 } }));
    // @ts-expect-error without data
    never(() => gateway.publish('channel:orders', { type: 'order.deleted' }));
    never(() => gateway.onRequest('orders.cancel', ({ id }) => ({ cancelled: id > 0 })));
    // @ts-expect-error another answer
    never(() => gateway.onRequest('orders.cancel', () => ({ open: 1 })));
    never(() => gateway.onRequest('dashboard.refresh', async () => ({ open: 1 })));
  });
});

describe('without a contract', () => {
  test('anything goes', () => {
    const client = createClient(options);
    never(() => client.channel('whatever').publish('any.event', { of: 'any kind' }));
    never(() => client.channel('whatever').on('any.event', ({ data }) => data.anything));
    never(() => client.request('any.method'));
    never(async () => expectTypeOf(await client.request('any.method', 7)).toBeAny());
  });

  test('parts may be left out of a contract', () => {
    const client = createClient<{ events: { ping: { n: number } } }>(options);
    never(() => client.channel('whatever').on('ping', ({ data }) => expectTypeOf(data.n).toBeNumber()));
    never(() => client.request('any.method', 7));
    // @ts-expect-error no such event
    never(() => client.channel('whatever').on('pong', () => {}));
  });

  test('options are checked', () => {
    // @ts-expect-error no url
    never(() => createClient({ getToken: () => null }));
    // @ts-expect-error a misspelt option
    never(() => createClient({ ...options, reconect: {} }));
    never(() => createClient({ url: async () => '/ws', getToken: async ({ reason }) => reason }));
    expectTypeOf(createClient(options)).toEqualTypeOf<Client>();
  });
});
