import type { ChannelState, ConnectionState, FanfareError, Health, Presence } from '@fanfare/client';
import {
  ConnectionStatus,
  useChannel,
  useConnectionHealth,
  useEvent,
  useEventState,
  usePresence,
  useRequest,
  useWebSocket,
} from '@fanfare/client/react';
import { expectTypeOf, test } from 'vitest';

/** An app without a contract: nothing here runs. */
function Page({ team }: { team: number | undefined }) {
  const channel = team === undefined ? null : `team:${team}`;
  useEvent(['wallet_update', 'squad_update'], ({ data }) => expectTypeOf(data).toBeAny(), { channel });
  useEvent('*', ({ type }) => type === 'wallet_update');
  expectTypeOf(useEventState('bid', (bids, { data }) => bids + data.amount, 0)).toEqualTypeOf<number>();
  expectTypeOf(useChannel(channel, ({ type }) => type === 'wallet_update')).toEqualTypeOf<ChannelState>();
  expectTypeOf(usePresence(channel)).toEqualTypeOf<Presence>();
  expectTypeOf(useConnectionHealth()).toEqualTypeOf<Health>();
  const { request, data, error } = useRequest('bids.list');
  void request();
  void request({ team }, { timeoutMs: 1_000 });
  expectTypeOf(data).toBeAny();
  expectTypeOf(error).toEqualTypeOf<FanfareError | undefined>();
  const socket = useWebSocket({ channel, onMessage: ({ type }) => type === 'wallet_update' });
  expectTypeOf(socket.isConnected).toEqualTypeOf<boolean>();
  // @ts-expect-error how to reconnect is said once, to createClient
  useWebSocket({ maxReconnectAttempts: 10 });
  return (
    <ConnectionStatus>
      {({ label, retryInSec, state }) => {
        expectTypeOf(label).toEqualTypeOf<string>();
        expectTypeOf(retryInSec).toEqualTypeOf<number | undefined>();
        expectTypeOf(state).toEqualTypeOf<ConnectionState>();
        return label;
      }}
    </ConnectionStatus>
  );
}

test('without a contract anything goes, and what the hooks themselves give has its types', () => {
  expectTypeOf(Page).parameter(0).toEqualTypeOf<{ team: number | undefined }>();
});
