/** node-redis behind the common shape. Deliberately without its typed commands, which differ between its versions. */

import {
  type Command,
  isNodeRedisCluster,
  type NodeRedisClusterLike,
  type NodeRedisLike,
  type OwnConnection,
  type RedisClient,
} from './client.ts';

interface WithOptions {
  options?: { socket?: object };
}

/** Version 5 and later have `destroy`, version 4 has `disconnect`. */
interface Closing {
  destroy?: () => void;
  disconnect?: () => Promise<unknown> | undefined;
}

export function fromNodeRedis(redis: NodeRedisLike | NodeRedisClusterLike): RedisClient {
  const send = sender(redis);
  return {
    isCluster: isNodeRedisCluster(redis),
    send,
    // Commands of one tick leave together.
    sendAll: (commands) => Promise.allSettled(commands.map(send)),
  };
}

export function openNodeRedis(redis: NodeRedisLike | NodeRedisClusterLike): {
  connection: OwnConnection;
  connected: Promise<unknown>;
} {
  const { options } = redis as WithOptions;
  // The owner of the connection decides when another is opened, and how long a read may take.
  const connection = isNodeRedisCluster(redis)
    ? redis.duplicate()
    : redis.duplicate({
        disableOfflineQueue: true,
        socket: { ...options?.socket, reconnectStrategy: false, socketTimeout: undefined },
      });
  // What fails is told by the command; without a listener the process would end.
  connection.on('error', () => {});
  const close = () => {
    const { destroy, disconnect } = connection as Closing;
    try {
      const closing = destroy ? destroy.call(connection) : disconnect?.call(connection);
      // It is closed when it was never open, too, and says so.
      Promise.resolve(closing).catch(() => {});
    } catch {
      // The same, of a version that throws it.
    }
  };
  return { connection: { send: sender(connection), close }, connected: connection.connect() };
}

function sender(redis: NodeRedisLike | NodeRedisClusterLike): (command: Command) => Promise<unknown> {
  return isNodeRedisCluster(redis)
    ? ({ key, args }) => redis.sendCommand(key, false, args)
    : ({ args }) => redis.sendCommand(args);
}
