/**
 * `@fanfare/server`: publish to Fanfare through Redis, and answer its clients' requests. For publishing by HTTP, without
 * Redis and without Node, there is `@fanfare/server/http`; for tokens, `@fanfare/server/token`.
 */

export { FanfareError, type FanfareErrorCode, InvalidArgumentError } from './errors.ts';
export type { AnyEvents, EventFields, EventOf, EventOfType } from './event.ts';
export { createPublisher, type Publisher, type PublisherOptions, type RedisDurableOptions } from './publisher.ts';
export type { BatchItem, BatchResult, DurableOptions, EphemeralOptions, Position } from './publishing.ts';
export type { IoRedisLike, NodeRedisClusterLike, NodeRedisLike, RedisLike } from './redis/client.ts';
export { channel, TENANT, type Topic, user } from './topic.ts';
export type { WorkerErrorContext, WorkerOptions } from './worker/options.ts';
export { type AnyMethods, type Handler, RequestError, type WorkerRequest } from './worker/request.ts';
export { createWorker, type Worker, type WorkerStats } from './worker/worker.ts';
