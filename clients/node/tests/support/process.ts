/** Child processes that end with their test, and ports for them. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** All of this test file. */
const started: Running[] = [];

// Those of tests that failed, too.
afterAll(async () => {
  await Promise.all(started.map((process) => process.stop()));
});

/** A running process, with a directory of its own. */
export class Running {
  readonly directory = mkdtempSync(join(tmpdir(), 'fanfare-server-'));
  #child: ChildProcess;
  #output = '';

  constructor(
    private readonly command: string,
    private readonly args: string[],
    private readonly env: Record<string, string> = {},
  ) {
    this.#child = this.#spawn();
    started.push(this);
  }

  /** What it has written. */
  get output(): string {
    return this.#output;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    if (!this.hasEnded) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await ended;
    }
  }

  /** Sends a signal: to freeze it, and to let it go on. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal);
  }

  /** Starts it again, with the same arguments. */
  restart(): void {
    this.#child = this.#spawn();
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #spawn(): ChildProcess {
    const env = { PATH: process.env.PATH ?? '', ...this.env };
    const child = spawn(this.command, this.args, { cwd: this.directory, env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (data) => {
        this.#output = (this.#output + data).slice(-100_000);
      });
    }
    return child;
  }
}

/** Those of one of vitest's workers, of which two run at once. */
const PORTS = 2_000;
const FIRST_PORT = 24_000 + PORTS * (Number(process.env.VITEST_POOL_ID ?? 1) % 2);
let turn = Math.floor(Math.random() * PORTS);

/**
 * A port that nobody listens on, for the moment, out of those that only these tests use, given away once. It is below those that
 * systems give to connections, which would take the port of a server that is killed before it is started again.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + (turn++ % PORTS);
    const server = createServer();
    server.listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch {
      continue;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}
