/** A client on a fake gateway. */

import { type Client, type ClientOptions, createClient } from '@fanfare/client';
import type { FakeGateway } from '@fanfare/client/testing';

/** A client that knows no other way than to this gateway. */
export function clientOf<C>(gateway: FakeGateway<C>, options: Partial<ClientOptions<C>> = {}): Client<C> {
  const { url, WebSocket, fetch } = gateway;
  return createClient<C>({ url, WebSocket, fetch, getToken: () => gateway.token(), ...options });
}
