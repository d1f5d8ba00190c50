/**
 * Builds the client for pages without a bundler: one script with the global `fanfare`.
 *
 *     node scripts/build-browser.js            writes dist/browser/fanfare.js
 *     node scripts/build-browser.js <file>     writes that file
 *     node scripts/build-browser.js --check    fails when the script of the gateway's demo page is not what the source builds
 *
 * The demo page's is committed, since cargo builds the gateway without npm.
 */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const DEMO = here('../../../crates/gateway/src/demo/fanfare.js');

async function script() {
  const { version, license } = JSON.parse(await readFile(here('../package.json'), 'utf8'));
  const { outputFiles } = await build({
    entryPoints: [here('../src/browser.ts')],
    bundle: true,
    minify: true,
    format: 'iife',
    globalName: 'fanfare',
    target: 'es2022',
    define: { 'process.env.NODE_ENV': '"production"' },
    banner: { js: `/*! @fanfare/client ${version} | ${license} */` },
    write: false,
  });
  return outputFiles[0].text;
}

const [to = here('../dist/browser/fanfare.js')] = process.argv.slice(2);
const text = await script();
if (to !== '--check') {
  await mkdir(dirname(to), { recursive: true });
  await writeFile(to, text);
} else if ((await readFile(DEMO, 'utf8')) !== text) {
  const file = relative('.', DEMO);
  console.error(
    `${file} is not what src/browser.ts builds. Bring it up to date: node scripts/build-browser.js ${file}`,
  );
  process.exitCode = 1;
}
