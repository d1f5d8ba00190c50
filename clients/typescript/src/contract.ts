/** What an app's events, channels and methods are, said once by the app and checked everywhere. */

/**
 * Where an app registers its contract:
 *
 * ```ts
 * declare module '@fanfare/client' {
 *   interface Register {
 *     contract: {
 *       events: { 'order.updated': { id: number } };
 *       channels: { orders: 'order.updated'; [team: `team:${string}`]: 'order.updated' };
 *       methods: { 'orders.cancel': { input: { id: number }; output: { ok: boolean } } };
 *     };
 *   }
 * }
 * ```
 *
 * `createClient<MyApp>()` does the same for one client.
 */
// biome-ignore lint/suspicious/noEmptyInterface: apps augment it
export interface Register {}

/** What holds where nothing is registered, and for the parts that a contract leaves out: anything goes. */
export interface AnyContract {
  // biome-ignore lint/suspicious/noExplicitAny: nobody has said what the data is
  events: Record<string, any>;
  channels: Record<string, string>;
  // biome-ignore lint/suspicious/noExplicitAny: nobody has said what goes in and comes out
  methods: Record<string, { input: any; output: any }>;
}

/** The app's contract, or {@link AnyContract}. */
export type RegisteredContract = Register extends { contract: infer C } ? C : AnyContract;

type Part<C, Name extends keyof AnyContract> = C extends { [key in Name]: infer P } ? P : AnyContract[Name];

/** The types of all events. */
export type EventType<C = RegisteredContract> = keyof Part<C, 'events'> & string;
/** What events of a type carry. */
export type EventData<T extends EventType<C>, C = RegisteredContract> = Part<C, 'events'>[T];

/** The names of all channels: `orders`, `team:7`. */
export type ChannelName<C = RegisteredContract> = keyof Part<C, 'channels'> & string;
/** The types of the events of a channel. */
export type ChannelEventType<N extends ChannelName<C>, C = RegisteredContract> = Part<C, 'channels'>[N] & EventType<C>;

/** The names of all methods that backends answer. */
export type MethodName<C = RegisteredContract> = keyof Part<C, 'methods'> & string;
/** What a method takes. */
export type MethodInput<M extends MethodName<C>, C = RegisteredContract> = Part<C, 'methods'>[M] extends {
  input: infer I;
}
  ? I
  : undefined;
/** What a method answers. */
export type MethodOutput<M extends MethodName<C>, C = RegisteredContract> = Part<C, 'methods'>[M] extends {
  output: infer O;
}
  ? O
  : unknown;
