/** Snippets that run. */

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT, type Snippet, snippetsOf } from './snippets.ts';

/** Where installed packages are found from. */
const CACHE = join(ROOT, 'node_modules/.cache/snippets');

/** The packages of this repository as source. What is installed is taken as it is. */
const SOURCES = {
  '@fanfare/client': 'src/index.ts',
  '@fanfare/client/query': 'src/query.ts',
  '@fanfare/client/react': 'src/react.ts',
  '@fanfare/client/testing': 'src/testing.ts',
  '@fanfare/server/token': '../node/src/token.ts',
  express: 'tests/docs/app/src/express.ts',
};

/** Runs a snippet, with the other files of its page's app; returns what it exports. */
export async function run(snippet: Snippet): Promise<Record<string, unknown>> {
  const app = join(CACHE, `${snippet.page}-${snippet.line}`);
  cpSync(join(import.meta.dirname, 'app'), app, { recursive: true });
  const write = (file: string, text: string) => {
    mkdirSync(dirname(join(app, file)), { recursive: true });
    writeFileSync(join(app, file), text);
  };
  for (const { label, text } of snippetsOf(snippet.page).filter(({ label }) => /\.tsx?$/.test(label))) {
    write(label, text);
  }
  write('src/snippet.tsx', snippet.text);
  const alias = Object.entries(SOURCES).map(([name, file]) => `--alias:${name}=${join(ROOT, file)}`);
  const options = ['--bundle', '--format=esm', '--platform=node', '--packages=external', '--jsx=automatic', ...alias];
  const built = join(app, 'snippet.mjs');
  // In a process of its own, since esbuild doesn't work where jsdom is.
  const esbuild = join(ROOT, 'node_modules/.bin/esbuild');
  execFileSync(esbuild, [join(app, 'src/snippet.tsx'), ...options, '--log-level=warning', `--outfile=${built}`]);
  return import(/* @vite-ignore */ built);
}
