/** Pages of the tests, bundled for a browser. */

import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const PAGES = fileURLToPath(new URL('../pages/', import.meta.url));
/** Its paths lead from the package's names to its source. */
const TSCONFIG = fileURLToPath(new URL('../../../tsconfig.json', import.meta.url));

/** One script with everything in it. React is the one for development, which mounts everything twice in StrictMode. */
export async function bundle(page: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [`${PAGES}${page}.tsx`],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    tsconfig: TSCONFIG,
    define: { 'process.env.NODE_ENV': '"development"' },
    logLevel: 'silent',
  });
  return outputFiles.map(({ text }) => text).join('');
}
