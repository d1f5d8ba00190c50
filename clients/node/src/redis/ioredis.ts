/** ioredis behind the common shape. Deliberately without its typed commands, which differ between its versions. */

import { InvalidArgumentError } from '../errors.ts';
import type { Command, IoRedisLike, OwnConnection, RedisClient } from './client.ts';

interface WithOptions {
  options?: { keyPrefix?: string; redisOptions?: object & { keyPrefix?: string } };
}

export function fromIoRedis(redis: IoRedisLike): RedisClient {
  const { options } = redis as WithOptions;
  if (options?.keyPrefix || options?.redisOptions?.keyPrefix) {
    throw new InvalidArgumentError(
      'redis',
      'has a keyPrefix, which would change the keys that nodes know: give a client without it, and the option `prefix`',
    );
  }
  const send = ({ args: [name = '', ...args] }: Command) => redis.call(name, args);
  return {
    isCluster: redis.isCluster,
    send,
    // A pipeline of ioredis can't span the slots of a cluster. Single commands of one tick leave together all the same.
    sendAll: (commands) => (redis.isCluster ? Promise.allSettled(commands.map(send)) : pipelined(redis, commands)),
  };
}

async function pipelined(redis: IoRedisLike, commands: Command[]): Promise<PromiseSettledResult<unknown>[]> {
  const pipeline = redis.pipeline(commands.map(({ args }) => ['call', ...args]));
  const answers = await pipeline.exec();
  return commands.map((_, at) => {
    const [reason, value] = answers?.[at] ?? [new Error('the pipeline gave no answer'), undefined];
    return reason ? { status: 'rejected', reason } : { status: 'fulfilled', value };
  });
}

export function openIoRedis(redis: IoRedisLike): { connection: OwnConnection; connected: Promise<unknown> } {
  // The owner of the connection decides when another is opened, and how long a read may take.
  const own = {
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    retryStrategy: () => null,
    sentinelRetryStrategy: () => null,
    commandTimeout: undefined,
    blockingTimeout: undefined,
  };
  const { options } = redis as WithOptions;
  const connection = redis.isCluster
    ? redis.duplicate([], {
        lazyConnect: true,
        clusterRetryStrategy: () => null,
        redisOptions: { ...options?.redisOptions, commandTimeout: undefined, blockingTimeout: undefined },
      })
    : redis.duplicate(own);
  // What fails is told by the command; without a listener it would be printed as well.
  connection.on('error', () => {});
  return {
    connection: {
      send: ({ args: [name = '', ...args] }) => connection.call(name, args),
      close: () => connection.disconnect(),
    },
    connected: connection.connect(),
  };
}
