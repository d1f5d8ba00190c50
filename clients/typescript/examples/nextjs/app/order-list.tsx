'use client';

import { ConnectionStatus } from '@fanfare/client/react';
import { useMutation, useQuery } from '@tanstack/react-query';
import type { Order } from '../lib/contract';

/** Live from the moment at which the page has its connection: the rule in `providers.tsx` names the list's key. */
export function OrderList() {
  const orders = useQuery({
    queryKey: ['orders'],
    queryFn: async (): Promise<Order[]> => (await fetch('/api/orders')).json(),
  });
  const add = useMutation({
    mutationFn: (total: string) => fetch('/api/orders', { method: 'POST', body: JSON.stringify({ total }) }),
  });
  return (
    <main>
      <h1>Orders</h1>
      <ConnectionStatus />
      <ul>
        {orders.data?.map((order) => (
          <li key={order.id}>
            {order.id}: {order.total}
          </li>
        ))}
      </ul>
      <button type="button" disabled={add.isPending} onClick={() => add.mutate('7.50')}>
        Order something
      </button>
    </main>
  );
}
