/** A page that uses everything there is. */

import {
  ConnectionStatus,
  useChannel,
  useConnectionHealth,
  useEvent,
  useEventState,
  usePresence,
  useReconnectToast,
  useRequest,
  useWebSocket,
} from '@fanfare/client/react';

export function Page() {
  const { isConnected } = useWebSocket({ channel: 'orders', onMessage: () => {}, onError: () => {} });
  const { status } = useChannel('orders');
  useEvent(['order.updated', 'order.gone'], () => {}, { channel: 'orders' });
  const count = useEventState('order.updated', (count) => count + 1, 0, { channel: 'orders', everyMs: 1_000 });
  const presence = usePresence('orders');
  const { subscriptions } = useConnectionHealth();
  const { isPending } = useRequest('orders.get');
  useReconnectToast({ onLost: () => {}, onRestored: () => {} });
  return (
    <section>
      <ConnectionStatus />
      <p>{isConnected ? 'live' : 'not live'}</p>
      <p>
        {status}, {count} updates, {presence.count} present, {subscriptions} subscriptions, {String(isPending)}
      </p>
    </section>
  );
}
