import { createHttpPublisher } from '@fanfare/server/http';
import type { Order } from '../../../lib/contract';
import { addOrder, listOrders } from '../../../lib/orders';

export async function GET(): Promise<Response> {
  return Response.json(await listOrders());
}

/** Takes an order, and tells everybody who looks at the list. */
export async function POST(request: Request): Promise<Response> {
  const { total } = (await request.json()) as { total: string };
  const order = await addOrder(total);
  const publisher = createHttpPublisher<{ 'order.created': Order }>({
    url: process.env.FANFARE_API_URL ?? 'http://127.0.0.1:9090',
    apiKey: process.env.FANFARE_API_KEY ?? '',
  });
  await publisher.publish('acme', 'channel:orders', { type: 'order.created', data: order }, { durable: true });
  return Response.json(order, { status: 201 });
}
