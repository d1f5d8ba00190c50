import { dehydrate, HydrationBoundary, QueryClient } from '@tanstack/react-query';
import { connection } from 'next/server';
import { listOrders } from '../lib/orders';
import { OrderList } from './order-list';

/** The list as it stands now, rendered on the server. */
export default async function Page() {
  await connection();
  const queryClient = new QueryClient();
  await queryClient.prefetchQuery({ queryKey: ['orders'], queryFn: listOrders });
  return (
    <HydrationBoundary state={dehydrate(queryClient)}>
      <OrderList />
    </HydrationBoundary>
  );
}
