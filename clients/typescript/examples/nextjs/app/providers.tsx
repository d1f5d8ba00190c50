'use client';

import { createClient } from '@fanfare/client';
import { bindQueryClient, type Rules } from '@fanfare/client/query';
import { RealtimeProvider } from '@fanfare/client/react';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { type ReactNode, useEffect, useState } from 'react';
import '../lib/contract';

// This module runs on the server, too: a client opens nothing until a component has mounted.
const client = createClient({
  url: process.env.NEXT_PUBLIC_REALTIME_URL ?? 'ws://127.0.0.1:8080/ws',
  getToken: async () => {
    const answer = await fetch('/api/realtime-token');
    if (!answer.ok) {
      throw new Error(`no token: ${answer.status}`);
    }
    return answer.text();
  },
});

export function Providers({ children }: { children: ReactNode }) {
  // With a stale time the list isn't fetched when it is mounted, but once, when its events can come.
  const [queryClient] = useState(() => new QueryClient({ defaultOptions: { queries: { staleTime: 60_000 } } }));
  useEffect(() => {
    const rules: Rules = { 'order.created': { channels: ['orders'], keys: [['orders']] } };
    return bindQueryClient(client, queryClient, { rules });
  }, [queryClient]);
  return (
    <RealtimeProvider client={client}>
      <QueryClientProvider client={queryClient}>{children}</QueryClientProvider>
    </RealtimeProvider>
  );
}
