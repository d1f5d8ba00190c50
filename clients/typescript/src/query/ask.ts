/** Requests that queries share. */

import type { Client } from '../index.ts';
import { throttle } from './throttle.ts';

/** So many requests of a client are told apart; the ones that were made first are forgotten. */
const REQUESTS_MAX = 256;
const requests = new WeakMap<Client, Map<string, () => Promise<unknown>>>();

/** What is asked for. */
interface Request {
  method: string;
  input?: unknown;
  throttleMs?: number;
  timeoutMs?: number;
}

/** Asks, at most once in `throttleMs`: who asks for the same meanwhile, or at the same time, gets the same answer. */
export function ask(client: Client, request: Request): Promise<unknown> {
  const { method, input, throttleMs = 0 } = request;
  const known = requests.get(client) ?? new Map();
  requests.set(client, known);
  const key = JSON.stringify([method, input]);
  const send = known.get(key) ?? throttle(() => client.request(method, input, request), throttleMs);
  if (known.set(key, send).size > REQUESTS_MAX) {
    known.delete(known.keys().next().value);
  }
  return send();
}
