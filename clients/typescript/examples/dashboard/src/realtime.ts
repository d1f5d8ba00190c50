/** The whole app's one connection, and the queries that it keeps fresh. */

import { createClient } from '@fanfare/client';
import { bindQueryClient } from '@fanfare/client/query';
import { QueryClient } from '@tanstack/react-query';
import { get } from './api.ts';
import { agencyTtl } from './apps/agency/live.ts';
import { auctionRules } from './apps/auction/live.ts';
import { labRules } from './apps/lab/live.ts';
import { shiftRules } from './apps/shifts/live.ts';
import { workshopRules } from './apps/workshops/live.ts';
import type { Contract } from './contract.ts';

declare module '@fanfare/client' {
  interface Register {
    contract: Contract;
  }
}

export const client = createClient({
  url: '/ws',
  getToken: () => get<string>('/token'),
  reconnect: { minDelayMs: 300, maxDelayMs: 3000 },
});

// Where a real app tells its error tracker.
client.onError((error) => console.warn(`fanfare: ${error.code}: ${error.message}`));

export const queryClient = new QueryClient();

export const binding = bindQueryClient(client, queryClient, {
  rules: { ...workshopRules, ...labRules, ...auctionRules, ...shiftRules },
  ttl: agencyTtl,
});
