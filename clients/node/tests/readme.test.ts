import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const snippets = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, text = '']) => text);

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: ['node'],
  strict: true,
  skipLibCheck: true,
  noEmit: true,
};

/** What the compiler says of texts that stand at these paths. */
function diagnostics(files: Map<string, string>, given: ts.CompilerOptions): string[] {
  const host = ts.createCompilerHost(given);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => files.has(path) || fileExists(path);
  host.readFile = (path) => files.get(path) ?? readFile(path);
  host.getSourceFile = (path, ...rest) => {
    const text = files.get(path);
    return text === undefined ? getSourceFile(path, ...rest) : ts.createSourceFile(path, text, ts.ScriptTarget.ES2022);
  };
  host.getCurrentDirectory = () => root;
  const program = ts.createProgram([...files.keys()], given, host);
  return ts.getPreEmitDiagnostics(program).map((diagnostic) => {
    const { file, start = 0, messageText } = diagnostic;
    const line = file ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
    return `${file?.fileName}:${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
}

test('every snippet of the README compiles against the built package', () => {
  expect(snippets.length).toBeGreaterThan(5);
  const files = new Map(snippets.map((text, at) => [join(root, `readme-${at}.ts`), text]));
  expect(diagnostics(files, options)).toEqual([]);
});

test('a mistake in a snippet would be found', () => {
  const wrong = "import { createPublisher } from '@fanfare/server';\ncreatePublisher({ redis: 1 });\n";
  expect(diagnostics(new Map([[join(root, 'readme-wrong.ts'), wrong]]), options).length).toBe(1);
});

test('the types of what runs on the edge need neither Node nor a Redis library', () => {
  const edge = { ...options, types: [], skipLibCheck: false, lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'] };
  const text = ['http', 'token'].map((entry) => `export * as ${entry} from '@fanfare/server/${entry}';`).join('\n');
  expect(diagnostics(new Map([[join(root, 'readme-edge.ts'), text]]), edge)).toEqual([]);
});
