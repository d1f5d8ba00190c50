/** What every page has: a client, a query client, and a list of all that the client was told, for the test. */

import { type Client, type ClientOptions, type ConnectionState, createClient } from '@fanfare/client';
import { RealtimeProvider } from '@fanfare/client/react';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { type ReactNode, StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import type { Entry } from '../support/ledger.ts';

declare global {
  interface Window {
    /** For the test that opened the page. */
    page?: {
      client: Client;
      queryClient: QueryClient;
      /** Events and gaps, in the order in which they came. */
      heard: Entry[];
      /** All states of the connection, the first one included. */
      states: ConnectionState[];
    };
  }
}

/** What the test says in the page's address. */
export const visit = new URLSearchParams(location.search);

/** As the node says, or a time of the test's own. */
const silenceMs = visit.get('silenceMs');

/** The client and query client of a page, as an app makes them at module scope. */
export function setUp(options: Partial<ClientOptions> = {}): NonNullable<Window['page']> {
  const client = createClient({
    url: visit.get('realtime') ?? '',
    getToken: async () => {
      const answer = await fetch(`/token?${new URLSearchParams({ user: visit.get('user') ?? '' })}`);
      return answer.text();
    },
    // Faults are over soon in the tests.
    reconnect: { minDelayMs: 50, maxDelayMs: 500, stableAfterMs: 1000 },
    heartbeat: { ...(silenceMs && { silenceMs: Number(silenceMs) }), timeoutMs: 1000 },
    ...options,
  });
  const queryClient = new QueryClient();
  const page: NonNullable<Window['page']> = { client, queryClient, heard: [], states: [] };
  client.on('*', ({ id, topic, recovered }) => page.heard.push({ event: id ?? '', topic, recovered }));
  client.onGap(({ lost, topic, reason }) => page.heard.push({ gap: lost, topic, reason }));
  client.state.subscribe((state) => page.states.push(state));
  window.page = page;
  return page;
}

/** Renders the page's content with all providers around it. */
export function render({ client, queryClient }: NonNullable<Window['page']>, content: ReactNode): void {
  const root = document.getElementById('root');
  if (root) {
    createRoot(root).render(
      <StrictMode>
        <RealtimeProvider client={client}>
          <QueryClientProvider client={queryClient}>{content}</QueryClientProvider>
        </RealtimeProvider>
      </StrictMode>,
    );
  }
}

/** Asks the app's API. */
export async function api<T>(path: string): Promise<T> {
  const answer = await fetch(`/api/${path}`);
  if (!answer.ok) {
    throw new Error(`${path}: ${answer.status}`);
  }
  return answer.json();
}
