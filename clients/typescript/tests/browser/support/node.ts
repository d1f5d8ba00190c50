/** A real node: the built binary, as its operator runs it. */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { until } from '../../support/until.ts';
import { freePort, Running } from './process.ts';

/** The secret that nodes of the tests know. */
export const SECRET = 'a-secret-of-the-tests-that-is-long-enough';
/** The key of the HTTP API that may do everything. */
export const API_KEY = 'key-of-the-tests';

/** A running node. */
export class FanfareNode {
  private constructor(
    private readonly process: Running,
    /** Where clients connect. */
    readonly port: number,
    private readonly adminPort: number,
  ) {}

  /** A node that is ready. It listens for clients on `address`. */
  static async start(
    backplane: string,
    settings: Record<string, string> = {},
    address = '127.0.0.1',
  ): Promise<FanfareNode> {
    const [port, adminPort] = [await freePort(), await freePort()];
    const env = {
      FANFARE_LISTEN: `${address}:${port}`,
      FANFARE_ADMIN_LISTEN: `127.0.0.1:${adminPort}`,
      FANFARE_BACKPLANE: backplane,
      FANFARE_JWT_HS256_SECRET: SECRET,
      FANFARE_API_KEYS: `tests:${API_KEY}`,
      FANFARE_DRAIN_DELAY_S: '0',
      FANFARE_DRAIN_S: '1',
      FANFARE_REDIS_PING_INTERVAL_MS: '100',
      FANFARE_REDIS_RETRY_MIN_MS: '10',
      FANFARE_REDIS_RETRY_MAX_MS: '100',
      FANFARE_GAP_SPREAD_MS: '100',
      ...settings,
    };
    const node = new FanfareNode(new Running(binary(), ['serve'], env), port, adminPort);
    await node.ready();
    return node;
  }

  get apiUrl(): string {
    return `http://127.0.0.1:${this.adminPort}`;
  }

  /** Ends it as a crash would. */
  kill(): Promise<void> {
    return this.process.kill();
  }

  /** Starts it again at the same ports, and resolves when it is ready. */
  async restart(): Promise<void> {
    this.process.restart();
    await this.ready();
  }

  async ready(): Promise<void> {
    await until('the node is ready', async () => {
      if (this.process.hasEnded) {
        throw new Error(`the node has ended:\n${this.process.output}`);
      }
      const answer = await this.ask('/readyz').catch(() => undefined);
      await answer?.arrayBuffer();
      return answer?.status === 200;
    });
  }

  /** How many clients are connected. */
  async connections(): Promise<number> {
    const answer = await this.ask('/v1/stats');
    const { node } = (await answer.json()) as { node: { connections: number } };
    return node.connections;
  }

  /** How many connections a user has. */
  async connectionsOf(tenant: string, user: string): Promise<number> {
    const answer = await this.ask(`/v1/stats?${new URLSearchParams({ tenant, user })}`);
    const stats = (await answer.json()) as { user: { connections: number } };
    return stats.user.connections;
  }

  private ask(path: string): Promise<Response> {
    return fetch(`${this.apiUrl}${path}`, { headers: { Authorization: `Bearer ${API_KEY}` } });
  }
}

/** The built node. */
export function binary(): string {
  const path =
    process.env.FANFARE_BIN ?? fileURLToPath(new URL('../../../../../target/debug/fanfare', import.meta.url));
  if (!existsSync(path)) {
    throw new Error(`no built node at ${path}: cargo build --bin fanfare, or name another one by FANFARE_BIN`);
  }
  return path;
}
