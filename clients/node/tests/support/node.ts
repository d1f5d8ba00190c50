/** A real node: the built binary, as its operator runs it. */

import { existsSync } from 'node:fs';
import { freePort, Running } from './process.ts';
import { until } from './until.ts';

/** The secret that nodes of the tests know. */
export const SECRET = 'a-secret-of-the-tests-that-is-long-enough';
/** The key of the HTTP API that may do everything. */
export const API_KEY = 'key-of-the-tests';

/** A running node. */
export class FanfareNode {
  private constructor(
    private readonly process: Running,
    private readonly ports: { clients: number; admin: number },
  ) {}

  /** A node that is ready, on this Redis or in memory. */
  static async start(backplane = 'memory://', settings: Record<string, string> = {}): Promise<FanfareNode> {
    for (;;) {
      const ports = { clients: await freePort(), admin: await freePort() };
      const env = {
        FANFARE_LISTEN: `127.0.0.1:${ports.clients}`,
        FANFARE_ADMIN_LISTEN: `127.0.0.1:${ports.admin}`,
        FANFARE_BACKPLANE: backplane,
        FANFARE_JWT_HS256_SECRET: SECRET,
        FANFARE_API_KEYS: `tests:${API_KEY}`,
        FANFARE_DRAIN_DELAY_S: '0',
        FANFARE_DRAIN_S: '1',
        // On a busy machine a server that is well must not count as one that hangs.
        FANFARE_REDIS_RESPONSE_TIMEOUT_MS: '10000',
        FANFARE_REDIS_PING_INTERVAL_MS: '100',
        FANFARE_REDIS_RETRY_MIN_MS: '10',
        FANFARE_REDIS_RETRY_MAX_MS: '100',
        ...settings,
      };
      const node = new FanfareNode(new Running(binary(), ['serve'], env), ports);
      try {
        await node.ready();
        return node;
      } catch (error) {
        if (!node.process.output.includes('Address already in use')) {
          throw error;
        }
        // Between its choice and its use, a port went to somebody else.
        await node.stop();
      }
    }
  }

  get websocketUrl(): string {
    return `ws://127.0.0.1:${this.ports.clients}/ws`;
  }

  get apiUrl(): string {
    return `http://127.0.0.1:${this.ports.admin}`;
  }

  async ready(): Promise<void> {
    await until('the node is ready', async () => {
      if (this.process.hasEnded) {
        throw new Error(`the node has ended:\n${this.process.output}`);
      }
      const answer = await fetch(`${this.apiUrl}/readyz`).catch(() => undefined);
      await answer?.arrayBuffer();
      return answer?.status === 200;
    });
  }

  stop(): Promise<void> {
    return this.process.stop();
  }
}

function binary(): string {
  const path = process.env.FANFARE_BIN;
  if (!path || !existsSync(path)) {
    throw new Error(
      'FANFARE_BIN must be the path of a built node: cargo build --bin fanfare, then FANFARE_BIN=…/target/debug/fanfare',
    );
  }
  return path;
}
