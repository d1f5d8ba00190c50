/** Stands for your database. */

import type { Order } from './contract';

// Next.js loads a module once for pages and once for routes.
const shared = globalThis as { orders?: Order[] };
shared.orders ??= [{ id: 1, total: '19.90' }];
const orders = shared.orders;

/** Newest first. */
export async function listOrders(): Promise<Order[]> {
  return orders.toReversed();
}

export async function addOrder(total: string): Promise<Order> {
  const order = { id: orders.length + 1, total };
  orders.push(order);
  return order;
}
