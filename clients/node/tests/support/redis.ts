/** A real redis-server, and a cluster of three. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { freePort, Running } from './process.ts';
import { until } from './until.ts';

const run = promisify(execFile);

/** One redis-server on a free port. */
export class RedisServer {
  private constructor(
    readonly port: number,
    readonly process: Running,
  ) {}

  static async start(settings: string[] = []): Promise<RedisServer> {
    for (;;) {
      const port = await freePort();
      const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', ...settings];
      const server = new RedisServer(port, new Running('redis-server', args));
      if (await server.answers()) {
        return server;
      }
      // Between its choice and its use, the port went to somebody else.
      await server.stop();
    }
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** What redis-cli prints. */
  async cli(...args: string[]): Promise<string> {
    const { stdout } = await run('redis-cli', ['-h', '127.0.0.1', '-p', String(this.port), ...args]);
    return stdout.trim();
  }

  /** Resolves when it answers, itself and nobody else at its port; to false when it has ended instead. */
  answers(): Promise<boolean> {
    const its = `process_id:${this.process.pid}\r`;
    return until('redis-server answers', async () => {
      if (this.process.hasEnded) {
        return { does: false };
      }
      const info = await this.cli('INFO', 'server').catch(() => '');
      return info.includes(its) && { does: true };
    }).then(({ does }) => does);
  }

  stop(): Promise<void> {
    return this.process.stop();
  }
}

/** Three primaries that share the slots. */
export class RedisCluster {
  private constructor(readonly servers: RedisServer[]) {}

  static async start(): Promise<RedisCluster> {
    const servers = await Promise.all(
      [0, 1, 2].map(async () => {
        const busPort = await freePort();
        return RedisServer.start(['--cluster-enabled', 'yes', '--cluster-port', String(busPort)]);
      }),
    );
    const [first] = servers;
    const addresses = servers.map(({ port }) => `127.0.0.1:${port}`);
    await first?.cli('--cluster', 'create', ...addresses, '--cluster-yes');
    await until('every server knows all slots', async () => {
      const infos = await Promise.all(servers.map((server) => server.cli('CLUSTER', 'INFO')));
      return infos.every((info) => info.includes('cluster_state:ok') && info.includes('cluster_known_nodes:3'));
    });
    return new RedisCluster(servers);
  }

  get url(): string {
    return `redis+cluster://${this.servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
  }

  get ports(): number[] {
    return this.servers.map(({ port }) => port);
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }
}
