/** The client that a tree of components works with. */

import { createContext, type ReactNode, useContext, useEffect } from 'react';
import type { Client, RegisteredContract } from '../index.ts';

const ClientContext = createContext<Client | undefined>(undefined);

export interface RealtimeProviderProps<C = RegisteredContract> {
  /** Made by `createClient` at module scope, or kept for as long as the provider is mounted. */
  client: Client<C>;
  children?: ReactNode;
}

/** Gives the client to the hooks below, and keeps it connected while mounted. On a server it opens nothing. */
export function RealtimeProvider<C = RegisteredContract>({ client, children }: RealtimeProviderProps<C>): ReactNode {
  useEffect(() => client.retain(), [client]);
  // One context serves the clients of every contract; `useClient<MyApp>()` says which it is.
  return <ClientContext.Provider value={client as unknown as Client}>{children}</ClientContext.Provider>;
}

/** The client of the `<RealtimeProvider>` above. Throws where there is none. */
export function useClient<C = RegisteredContract>(): Client<C> {
  const client = useContext(ClientContext);
  if (!client) {
    throw new Error('Fanfare: there is no <RealtimeProvider client={…}> above this component');
  }
  return client as unknown as Client<C>;
}
