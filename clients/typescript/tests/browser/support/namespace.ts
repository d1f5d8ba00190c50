/** A machine of its own, as far as the network goes: its programs reach this one at a private address. Needs root. */

import { execFile } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ip = (...args: string[]) => run('ip', args);

/** A network namespace, joined to this one by a pair of interfaces. */
export class Namespace {
  readonly #directory = mkdtempSync(join(tmpdir(), 'fanfare-client-'));

  private constructor(
    private readonly name: string,
    /** Where programs in the namespace reach those that run here. */
    readonly address: string,
  ) {}

  static async make(): Promise<Namespace> {
    if (process.getuid?.() !== 0) {
      throw new Error('only root may make a network namespace: run the tests in the browser as root');
    }
    const mark = randomBytes(3).toString('hex');
    const [name, here, there] = [`fanfare-${mark}`, `ff-${mark}-0`, `ff-${mark}-1`];
    const network = `10.${randomInt(128, 250)}.${randomInt(250)}`;
    await ip('netns', 'add', name);
    await ip('link', 'add', here, 'type', 'veth', 'peer', 'name', there, 'netns', name);
    await ip('address', 'add', `${network}.1/24`, 'dev', here);
    await ip('-netns', name, 'address', 'add', `${network}.2/24`, 'dev', there);
    await ip('link', 'set', here, 'up');
    await ip('-netns', name, 'link', 'set', there, 'up');
    await ip('-netns', name, 'link', 'set', 'lo', 'up');
    return new Namespace(name, `${network}.1`);
  }

  /** The path of a script that runs a program in the namespace, with whatever arguments it is given. */
  entry(program: string): string {
    const path = join(this.#directory, 'entry');
    writeFileSync(path, `#!/bin/sh\nexec ip netns exec ${this.name} ${program} "$@"\n`, { mode: 0o755 });
    return path;
  }

  /** Removes it, and its interfaces with it. */
  async remove(): Promise<void> {
    await ip('netns', 'delete', this.name);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
