/** The smallest live page: one list, and what each event of its channel said. */

import { msgpack } from '@fanfare/client/msgpack';
import { bindQueryClient } from '@fanfare/client/query';
import { ConnectionStatus, useEventState } from '@fanfare/client/react';
import { useQuery } from '@tanstack/react-query';
import { api, render, setUp, visit } from './shell.tsx';

const page = setUp(visit.has('msgpack') ? { codec: msgpack() } : {});
bindQueryClient(page.client, page.queryClient, {
  rules: { 'order.updated': { channels: ['orders'], keys: [['orders']] } },
});

function Orders() {
  const { data } = useQuery({ queryKey: ['orders'], queryFn: () => api<{ total: number }>('orders') });
  return <p id="orders">{data?.total} orders</p>;
}

function Events() {
  const ids = useEventState('order.updated', (ids: number[], { data }) => [...ids, data.id], [], { channel: 'orders' });
  return <p id="events">{ids.join(' ')}</p>;
}

render(
  page,
  <>
    <ConnectionStatus />
    <Orders />
    <Events />
  </>,
);
