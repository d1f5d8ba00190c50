// What the package costs a page: each entry as a bundler makes it for production, minified and gzipped, without what the page
// has anyway (React, TanStack Query, and for the other entries the core). Parts that are loaded when they are needed are not counted,
// but shown. Fails when a gate is passed.
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const KB = 1024;
/** In bytes, gzipped. */
const GATES = { index: 8 * KB, react: 2.5 * KB, query: 3 * KB };
const ENTRIES = ['index', 'react', 'query', 'react-query', 'msgpack'];

/** Other entries, and whatever is no file of the package, are the page's already. */
const elsewhere = {
  name: 'elsewhere',
  setup(setup) {
    setup.onResolve({ filter: /.*/ }, ({ path, kind }) => {
      const isOther = !path.startsWith('.') || /^\.{1,2}\/(index|query)\.ts$/.test(path);
      return kind !== 'entry-point' && isOther ? { path, external: true } : undefined;
    });
  },
};

let isOver = false;
console.log('entry         bytes   gate');
for (const entry of ENTRIES) {
  const { outputFiles, metafile } = await build({
    entryPoints: [`src/${entry}.ts`],
    bundle: true,
    splitting: true,
    minify: true,
    write: false,
    metafile: true,
    outdir: 'out',
    format: 'esm',
    target: 'es2022',
    define: { 'process.env.NODE_ENV': '"production"' },
    plugins: [elsewhere],
  });
  const [name, main] = Object.entries(metafile.outputs).find(([, output]) => output.entryPoint === `src/${entry}.ts`);
  const bytesOf = (path) => {
    const { contents } = outputFiles.find((file) => file.path.endsWith(path));
    return gzipSync(contents, { level: 9 }).length;
  };
  const imports = main.imports.filter(({ external }) => !external);
  const [needed, later] = ['import-statement', 'dynamic-import'].map((kind) =>
    imports.filter((one) => one.kind === kind).map(({ path }) => path),
  );
  const bytes = [name, ...needed].reduce((sum, path) => sum + bytesOf(path), 0);
  const gate = GATES[entry];
  isOver ||= bytes > gate;
  console.log(
    `${entry.padEnd(12)}${String(bytes).padStart(7)}${String(gate ?? '').padStart(7)}${bytes > gate ? '  too large' : ''}`,
  );
  for (const path of later) {
    const part = path.replace(/^out\/(.*)-\w+\.js$/, '$1');
    console.log(`  ${part.padEnd(10)}${String(bytesOf(path)).padStart(7)}         when it is needed`);
  }
}
process.exitCode = isOver ? 1 : 0;
