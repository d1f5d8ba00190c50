/**
 * What `make demo` runs: a Redis, a node, the backend and the pages, until Ctrl-C. `--check` looks at the pages in Chromium
 * instead, and ends; `--screenshots` makes those of the documentation as well.
 */

import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build, createServer, preview } from 'vite';
import { check } from './check.ts';
import { Network } from './network.ts';
import { Program } from './program.ts';
import { answers, freePort, until } from './waiting.ts';

const { values: args } = parseArgs({ options: { check: { type: 'boolean' }, screenshots: { type: 'boolean' } } });
const directory = mkdtempSync(join(tmpdir(), 'fanfare-demo-'));
const secret = randomBytes(32).toString('hex');
const ports = {
  redis: await freePort(26_379),
  node: await freePort(28_080),
  admin: await freePort(29_090),
  network: await freePort(28_180),
  backend: await freePort(24_000),
  web: await freePort(5173),
};
const redisUrl = process.env.REDIS_URL ?? `redis://127.0.0.1:${ports.redis}`;

const redis = new Program(
  'redis-server',
  ['redis-server', '--port', `${ports.redis}`, '--bind', '127.0.0.1', '--save', '', '--dir', directory],
  { onEnd },
);
const node = new Program('fanfare', [process.env.FANFARE_BIN ?? 'fanfare', 'serve'], {
  env: {
    FANFARE_LISTEN: `127.0.0.1:${ports.node}`,
    FANFARE_ADMIN_LISTEN: `127.0.0.1:${ports.admin}`,
    FANFARE_BACKPLANE: redisUrl,
    FANFARE_JWT_HS256_SECRET: secret,
    FANFARE_DRAIN_DELAY_S: '0',
    FANFARE_DRAIN_S: '0',
    // What is told to these is always kept. Events of other topics are for those who are there.
    FANFARE_TOPICS: JSON.stringify(
      ['channel:workshops', 'channel:team:*', 'channel:violations'].map((pattern) => ({ pattern, durable: 'always' })),
    ),
  },
  onEnd,
});
const backend = new Program('backend', [process.execPath, join(import.meta.dirname, 'backend.js')], {
  env: { PORT: `${ports.backend}`, REDIS_URL: redisUrl, FANFARE_JWT_HS256_SECRET: secret },
  onMessage: (message) => void fault((message as { fault: string }).fault),
  onEnd,
});
const network = new Network(ports.network, ports.node);

let ending = false;
let closePages = async () => {};
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => void end(args.check ? 1 : 0));
process.once('uncaughtException', (error) => {
  console.error(error);
  void end(1);
});

try {
  if (!process.env.REDIS_URL) redis.start();
  node.start();
  await until('the node is ready', () => answers(`http://127.0.0.1:${ports.admin}/readyz`));
  await network.open();
  backend.start();
  await until('the backend answers', () => answers(`http://127.0.0.1:${ports.backend}/api/token`));
  const address = await openPages();
  if (args.check) {
    await check(address, args.screenshots ? join(import.meta.dirname, '../../../docs/images') : undefined);
    await end(0);
  } else {
    console.log(`\n  Fanfare's dashboard: five live applications\n\n  Open  ${address}\n\n  Ctrl-C ends it.\n`);
  }
} catch (error) {
  console.error(error);
  await end(1);
}

/** Vite's server, whose pages follow when you edit them; for a check the built pages. Resolves to their address. */
async function openPages(): Promise<string> {
  process.env.BACKEND_URL = `http://127.0.0.1:${ports.backend}`;
  process.env.FANFARE_URL = `http://127.0.0.1:${ports.network}`;
  const root = join(import.meta.dirname, '..');
  const listen = { host: '127.0.0.1', port: ports.web, strictPort: true };
  // Of its proxy's errors, which the buttons for faults are there to cause, the pages tell.
  const logLevel = 'silent';
  if (args.check) {
    await build({ root, logLevel: 'error' });
    const server = await preview({ root, preview: listen, logLevel });
    closePages = () => server.close();
  } else {
    const server = await createServer({ root, server: listen, logLevel });
    closePages = () => server.close();
    await server.listen();
  }
  return `http://127.0.0.1:${ports.web}/`;
}

/** Breaks something for some seconds, since a page asked for it. */
async function fault(which: string): Promise<void> {
  if (which === 'cut') network.cut(4000);
  if (which === 'kill') {
    await node.stop('SIGKILL');
    setTimeout(() => {
      if (!ending) node.start();
    }, 3000);
  }
}

function onEnd(program: Program): void {
  if (ending) return;
  console.error(`${program.name} has ended:\n${program.output}`);
  void end(1);
}

async function end(code: number): Promise<void> {
  if (ending) return;
  ending = true;
  await Promise.race([closePages(), new Promise((resolve) => setTimeout(resolve, 1000))]);
  network.close();
  await backend.stop();
  await node.stop();
  await redis.stop();
  rmSync(directory, { recursive: true, force: true });
  process.exit(code);
}
