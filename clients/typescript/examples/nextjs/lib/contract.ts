export interface Order {
  id: number;
  total: string;
}

declare module '@fanfare/client' {
  interface Register {
    contract: {
      events: { 'order.created': Order };
      channels: { orders: 'order.created' };
    };
  }
}
