/** `@fanfare/client`: live pages from Fanfare, over one connection for the whole app. */

export { createClient } from './client.ts';
export type {
  AnyContract,
  ChannelEventType,
  ChannelName,
  EventData,
  EventType,
  MethodInput,
  MethodName,
  MethodOutput,
  Register,
  RegisteredContract,
} from './contract.ts';
export { type ErrorCode, FanfareError } from './error.ts';
export type { Gap, Message, MessageOf } from './message.ts';
export type {
  ClientOptions,
  Codec,
  HeartbeatOptions,
  Lifecycle,
  ReconnectOptions,
  Schema,
  TokenRequest,
  TraceOptions,
  WebSocketConstructor,
  WebSocketLike,
} from './options.ts';
export type {
  ChannelState,
  ConnectionState,
  FailureReason,
  Health,
  Presence,
  Present,
  TransportName,
} from './states.ts';
export type { Off, Store } from './store.ts';
export type { Channel, Client, HistoryOptions, PublishOptions, RequestOptions } from './types.ts';
