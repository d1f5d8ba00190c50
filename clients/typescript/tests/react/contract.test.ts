import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';

/** An app that has registered a contract: of the compiler's program that runs here, not of the one of all tests. */
const APP = `
import type { EventType, FanfareError, Message, MessageOf } from '@fanfare/client';
import { useChannel, useClient, useEvent, useEventState, usePresence, useRequest, useWebSocket } from '@fanfare/client/react';
import { expectTypeOf } from 'vitest';

interface MyApp {
  events: { 'order.updated': { id: number }; 'order.gone': { id: number; why: string }; 'chat.said': { text: string } };
  channels: { orders: 'order.updated' | 'order.gone'; [room: \`room:\${string}\`]: 'chat.said' };
  methods: { 'orders.get': { input: { id: number }; output: { total: string } }; 'orders.count': { input: undefined; output: number } };
}

declare module '@fanfare/client' {
  interface Register {
    contract: MyApp;
  }
}

/** A hook of the app's own. */
export function useToasts<T extends EventType>(type: T, text: (message: MessageOf<T>) => string) {
  useEvent(type, (message) => console.log(text(message)));
  return useEventState(type, (texts, message) => [...texts, text(message)], (): string[] => []);
}

export function Page({ room, team }: { room: \`room:\${string}\` | null; team: string }) {
  useEvent('order.updated', (message) => {
    expectTypeOf(message.data).toEqualTypeOf<{ id: number }>();
    expectTypeOf(message.type).toEqualTypeOf<'order.updated'>();
  });
  useEvent(['order.updated', 'chat.said'], (message) => {
    if (message.type === 'chat.said') {
      expectTypeOf(message.data).toEqualTypeOf<{ text: string }>();
    } else {
      expectTypeOf(message.data).toEqualTypeOf<{ id: number }>();
    }
  });
  useEvent('*', (message) => expectTypeOf(message.type).toEqualTypeOf<keyof MyApp['events']>());
  useEvent('*', (message) => expectTypeOf(message.type).toEqualTypeOf<'order.updated' | 'order.gone'>(), { channel: 'orders' });
  useEvent('chat.said', (message) => expectTypeOf(message.data.text).toBeString(), { channel: room, enabled: room !== null });
  // @ts-expect-error there is no such event
  useEvent('order.created', () => {});
  // @ts-expect-error not on this channel
  useEvent('chat.said', () => {}, { channel: 'orders' });
  // @ts-expect-error there is no such channel
  useEvent('order.updated', () => {}, { channel: 'invoices' });

  const count = useEventState('order.updated', (count, message) => count + message.data.id, 0, { everyMs: 100 });
  expectTypeOf(count).toEqualTypeOf<number>();
  const last = useEventState('order.gone', (_last, { data }) => data.why, undefined as string | undefined, { channel: 'orders' });
  expectTypeOf(last).toEqualTypeOf<string | undefined>();
  const said = useEventState('chat.said', (said, { data }) => [...said, data.text], (): string[] => []);
  expectTypeOf(said).toEqualTypeOf<string[]>();
  // @ts-expect-error the state is a number
  useEventState('order.updated', () => 'seven', 0);

  useEventState('*', (_last, { type }) => {
    expectTypeOf(type).toEqualTypeOf<'chat.said'>();
    return type;
  }, '', { channel: room });
  useToasts('chat.said', ({ data }) => data.text);

  useChannel('orders', (message) => expectTypeOf(message).toExtend<Message<'order.updated' | 'order.gone', { id: number }>>());
  useChannel(room, (message) => expectTypeOf(message.data).toEqualTypeOf<{ text: string }>());
  useChannel(null);
  // @ts-expect-error there is no such channel
  useChannel('invoices');
  // @ts-expect-error not a name of the contract
  useChannel(team);
  usePresence(room);
  // @ts-expect-error there is no such channel
  usePresence('invoices');

  const get = useRequest('orders.get');
  expectTypeOf(get.data).toEqualTypeOf<{ total: string } | undefined>();
  expectTypeOf(get.error).toEqualTypeOf<FanfareError | undefined>();
  expectTypeOf(get.request).parameter(0).toEqualTypeOf<{ id: number }>();
  // @ts-expect-error it has an input
  get.request();
  useRequest('orders.count').request();
  // @ts-expect-error there is no such method
  useRequest('orders.list');

  const socket = useWebSocket({ channel: 'orders', onMessage: (message) => expectTypeOf(message.data.id).toBeNumber() });
  useWebSocket({ onMessage: (message) => expectTypeOf(message.type).toEqualTypeOf<keyof MyApp['events']>() });
  useWebSocket({ userId: 7, companyId: 'c', enabled: false, onConnect: () => {}, onDisconnect: () => {}, onError: ({ code }) => code });
  socket.subscribe('chat.said', ({ data }) => expectTypeOf(data.text).toBeString());
  socket.subscribeToChannel('room:7');
  // @ts-expect-error there is no such channel
  socket.subscribeToChannel('invoices');

  useClient().on('order.gone', ({ data }) => expectTypeOf(data.why).toBeString());
  return null;
}
`;

const root = fileURLToPath(new URL('../..', import.meta.url));
const app = `${root}tests/react/app-with-a-contract.tsx`;

test('hooks know what the registered contract says, and refuse what it does not', { timeout: 60_000 }, () => {
  const config = ts.getParsedCommandLineOfConfigFile(
    `${root}tsconfig.json`,
    { incremental: false },
    {
      ...ts.sys,
      onUnRecoverableConfigFileDiagnostic: ({ messageText }) => expect.fail(String(messageText)),
    },
  );
  const options = config?.options ?? {};
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile } = host;
  host.fileExists = (file) => file === app || fileExists(file);
  host.readFile = (file) => (file === app ? APP : readFile(file));
  const program = ts.createProgram([app], options, host);
  const found = ts.getPreEmitDiagnostics(program, program.getSourceFile(app));
  const line = ({ start = 0 }: ts.Diagnostic) => APP.slice(0, start).split('\n').length;
  expect(found.map((each) => `${line(each)}: ${ts.flattenDiagnosticMessageText(each.messageText, '\n')}`)).toEqual([]);
});
