/** A real redis-server. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { until } from '../../support/until.ts';
import { freePort, Running } from './process.ts';

const run = promisify(execFile);

/** One redis-server on a free port, which keeps nothing when it is killed. */
export class RedisServer {
  private constructor(
    readonly port: number,
    private readonly process: Running,
  ) {}

  static async start(): Promise<RedisServer> {
    for (;;) {
      const port = await freePort();
      const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
      const server = new RedisServer(port, new Running('redis-server', args));
      if (await server.answers()) {
        return server;
      }
      // Between its choice and its use, the port went to somebody else.
      await server.process.stop();
    }
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  kill(): Promise<void> {
    return this.process.kill();
  }

  /** Starts it again at the same port, empty. */
  async restart(): Promise<void> {
    this.process.restart();
    if (!(await this.answers())) {
      throw new Error(`redis-server did not come back:\n${this.process.output}`);
    }
  }

  /** Resolves when it answers, itself and nobody else at its port; to false when it has ended instead. */
  private answers(): Promise<boolean> {
    const its = `process_id:${this.process.pid}\r`;
    return until('redis-server answers', async () => {
      if (this.process.hasEnded) {
        return { does: false };
      }
      const info = await run('redis-cli', ['-p', String(this.port), 'INFO', 'server']).catch(() => undefined);
      return info?.stdout.includes(its) && { does: true };
    }).then(({ does }) => does);
  }
}
