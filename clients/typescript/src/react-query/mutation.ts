/** Changes that are shown at once, asked for over the socket, and confirmed or taken back. */

import {
  type Client,
  type EventType,
  FanfareError,
  type Message,
  type MessageOf,
  type MethodInput,
  type MethodName,
  type MethodOutput,
  type Off,
  type RegisteredContract,
} from '../index.ts';
import { type QueryClientLike, refetch } from '../query/query-core.ts';
import { type Layer, Layers } from './layers.ts';

/** An event that says what became of a change. */
export interface Confirmation<T extends EventType<C>, C = RegisteredContract> {
  event: T;
  /** The id of the change that the event is about, as `input` was given it. */
  id: (message: MessageOf<T, C>) => unknown;
  /** Whether the change was made. Default: yes. */
  isAccepted?: (message: MessageOf<T, C>) => boolean;
}

export interface RealtimeMutation<
  M extends MethodName<C>,
  C = RegisteredContract,
  V = MethodInput<M, C>,
  T extends EventType<C> = EventType<C>,
> {
  method: M;
  /** What the method is asked with. Default: the variables. The id is unique for each change, for `confirm`. */
  input?: (variables: V, id: string) => MethodInput<M, C>;
  /** What is shown until the server has spoken. */
  optimistic?: (variables: V) => readonly Layer[];
  /**
   * When the change counts as made: `reply`, when the method has answered; `event`, when in addition an event has come whose own
   * id (`message.id`) is the change's; or when one has come that says so in another way. Default `reply`.
   */
  confirm?: 'reply' | 'event' | Confirmation<T, C>;
  /** How long that may take, in ms. Then the change is taken back, and the promise rejects. Default 10,000. */
  timeoutMs?: number;
  /** Makes the change over HTTP: while there is no connection. Its answer confirms. */
  fallback?: (variables: V, context: { id: string; signal: AbortSignal }) => Promise<MethodOutput<M, C>>;
}

/** Errors after which nothing was done and nothing will be. */
const NOT_DONE: unknown[] = ['offline', 'unavailable'];

/**
 * A `mutationFn`. Whatever it ends with, queries that showed the change are fetched anew. Rejects with what the method or the fallback
 * rejects with, `timeout`, or `rejected` when the confirming event says so.
 */
export function realtimeMutation<
  M extends MethodName<C>,
  C = RegisteredContract,
  V = MethodInput<M, C>,
  T extends EventType<C> = EventType<C>,
>(
  client: Client<C>,
  queryClient: QueryClientLike,
  options: RealtimeMutation<M, C, V, T>,
): (variables: V) => Promise<MethodOutput<M, C>> {
  // The contract exists for the compiler alone: inside, a method is a string and its input is anything.
  return mutation(client as unknown as Client, queryClient, options as unknown as RealtimeMutation<string>) as (
    variables: V,
  ) => Promise<MethodOutput<M, C>>;
}

function mutation(client: Client, queryClient: QueryClientLike, options: RealtimeMutation<string>) {
  const { method, input, optimistic, confirm = 'reply', timeoutMs = 10_000, fallback } = options;
  return async (variables: unknown): Promise<unknown> => {
    const layers = optimistic?.(variables) ?? [];
    const id = Date.now().toString(36) + Math.random().toString(36).slice(1);
    const aborting = new AbortController();
    const { signal } = aborting;
    const ends: Off[] = [() => aborting.abort()];
    const overHttp = () => fallback?.(variables, { id, signal });
    const overSocket = async () => {
      const confirmed = confirm === 'reply' ? undefined : confirmation(client, confirm, id, ends);
      try {
        const asked = client.request(method, input ? input(variables, id) : variables, { timeoutMs, signal });
        return (await Promise.all([asked, confirmed]))[0];
      } catch (error) {
        if (fallback && NOT_DONE.includes((error as FanfareError).code)) {
          return overHttp();
        }
        throw error;
      }
    };
    const late = new Promise<never>((_, reject) => {
      const words = `${method}: the change was not confirmed within ${timeoutMs} ms`;
      const timer = setTimeout(() => reject(new FanfareError('timeout', words)), timeoutMs);
      ends.push(() => clearTimeout(timer));
    });
    const takeOff = Layers.of(queryClient).add(layers);
    let isConfirmed = false;
    try {
      const isLive = client.state.get().status === 'connected';
      const output = await Promise.race([fallback && !isLive ? overHttp() : overSocket(), late]);
      isConfirmed = true;
      return output;
    } finally {
      for (const end of ends) {
        end();
      }
      for (const query of takeOff(isConfirmed)) {
        refetch(queryClient, query, 1);
      }
    }
  };
}

/** Resolves when an event says that the change was made. */
function confirmation(client: Client, confirm: 'event' | Confirmation<string>, id: string, ends: Off[]): Promise<void> {
  const {
    event,
    id: idOf,
    isAccepted,
  } = confirm === 'event' ? { event: '*', id: (message: Message) => message.id, isAccepted: undefined } : confirm;
  return new Promise<void>((resolve, reject) => {
    const hear = (message: Message) => {
      if (idOf(message) === id) {
        if (isAccepted?.(message) ?? true) {
          resolve();
        } else {
          reject(new FanfareError('rejected', `${message.type}: the change was refused`, { topic: message.topic }));
        }
      }
    };
    ends.push(client.on(event, hear));
  });
}
