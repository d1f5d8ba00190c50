/** Requests that queries share. */

import type { Client } from '../index.ts';
import { throttle } from './throttle.ts';

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
  let forgetting: ReturnType<typeof setTimeout>;
  const send = () => {
    clearTimeout(forgetting);
    // Later than whoever waits for its turn.
    forgetting = setTimeout(() => known.delete(key), throttleMs + 1);
    return client.request(method, input, request);
  };
  known.set(key, known.get(key) ?? throttle(send, throttleMs));
  return known.get(key)();
}
