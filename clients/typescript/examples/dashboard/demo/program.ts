/** A program that the demo runs, and ends. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** A program that can be killed and started again. */
export class Program {
  #child: ChildProcess | undefined;
  #output = '';
  #wanted = false;

  constructor(
    readonly name: string,
    private readonly command: readonly [program: string, ...args: string[]],
    private readonly options: {
      env?: Record<string, string>;
      /** It can tell something (`process.send`). */
      onMessage?: (message: unknown) => void;
      /** It has ended, and nobody asked it to. */
      onEnd: (program: Program) => void;
    },
  ) {}

  /** The last that it has written. */
  get output(): string {
    return this.#output;
  }

  start(): void {
    const [program, ...args] = this.command;
    const child = spawn(program, args, {
      // In a group of its own: Ctrl-C is for whoever started it, who ends it.
      detached: true,
      env: { ...process.env, ...this.options.env },
      stdio: ['ignore', 'pipe', 'pipe', ...(this.options.onMessage ? ['ipc' as const] : [])],
    });
    const write = (data: Buffer) => {
      this.#output = (this.#output + data).slice(-4000);
    };
    child.stdout?.on('data', write);
    child.stderr?.on('data', write);
    child.on('message', (message) => this.options.onMessage?.(message));
    child.on('error', (error) => write(Buffer.from(`${error.message}\n`)));
    child.on('close', () => {
      if (this.#wanted && this.#child === child) this.options.onEnd(this);
    });
    this.#child = child;
    this.#wanted = true;
  }

  /** Ends it: with SIGKILL as a crash would. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    this.#wanted = false;
    const child = this.#child;
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), 5000);
    await ended;
    clearTimeout(late);
  }
}
