/** What TypeScript says of the snippets, with the package's source behind its name. */

import { dirname, join, normalize, relative } from 'node:path';
import ts from 'typescript';
import { ROOT, type Snippet } from './snippets.ts';

/** Files that an app has and no page shows: its session, its token route. */
const APP = join(import.meta.dirname, 'app');
/** Where the apps stand, as far as the compiler knows: one for each page. */
const APPS = join(ROOT, 'snippets');

const FROM_SOURCE = {
  '@fanfare/client': ['src/index.ts'],
  '@fanfare/client/*': ['src/*.ts'],
  '@fanfare/server': ['../node/src/index.ts'],
  '@fanfare/server/*': ['../node/src/*.ts'],
};

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts', 'lib.dom.asynciterable.d.ts'],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  jsx: ts.JsxEmit.ReactJSX,
  types: ['node'],
  strict: true,
  verbatimModuleSyntax: true,
  skipLibCheck: true,
  allowImportingTsExtensions: true,
  noEmit: true,
  baseUrl: ROOT,
  paths: FROM_SOURCE,
};

const COMPILED: Record<string, ts.ScriptKind> = {
  ts: ts.ScriptKind.TS,
  tsx: ts.ScriptKind.TSX,
  svelte: ts.ScriptKind.TS,
};

/** The files of the packages and of TypeScript itself, read once. */
const parsed = new Map<string, ts.SourceFile | undefined>();

/** What is wrong with each snippet: `docs/recipes.md:12: Cannot find name 'x'.` */
export function mistakesIn(snippets: readonly Snippet[]): string[] {
  const files = new Map(snippets.filter(({ language }) => language in COMPILED).map((one) => [pathOf(one), one]));
  // A contract holds for a whole program, so each has one of its own.
  const programs = new Map<string | undefined, string[]>();
  for (const path of files.keys()) {
    const contract = contractOf(path, files);
    programs.set(contract, [...(programs.get(contract) ?? []), path]);
  }
  return [...programs.values()].flatMap((paths) => compile(paths, files));
}

function pathOf({ page, line, label, language }: Snippet): string {
  const isFile = /\.tsx?$/.test(label);
  return join(APPS, page, isFile ? label : `src/snippet-${line}.${language === 'tsx' ? 'tsx' : 'ts'}`);
}

function compile(paths: string[], files: ReadonlyMap<string, Snippet>): string[] {
  const host = ts.createCompilerHost(OPTIONS);
  host.getCurrentDirectory = () => ROOT;
  host.directoryExists = (path) => path.startsWith(APPS) || ts.sys.directoryExists(path);
  host.fileExists = (path) => files.has(path) || ts.sys.fileExists(substitute(path));
  host.readFile = (path) => ts.sys.readFile(substitute(path));
  host.getSourceFile = (path, version) => {
    const snippet = files.get(path);
    if (snippet) {
      return ts.createSourceFile(path, scriptOf(snippet), version, false, COMPILED[snippet.language]);
    }
    if (!parsed.has(path)) {
      const text = ts.sys.readFile(substitute(path));
      parsed.set(path, text === undefined ? undefined : ts.createSourceFile(path, text, version));
    }
    return parsed.get(path);
  };
  const program = ts.createProgram([...paths, join(import.meta.dirname, 'ambient.d.ts')], OPTIONS, host);
  return paths.flatMap((path) => {
    const source = program.getSourceFile(path);
    const { page, line } = files.get(path) as Snippet;
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map((diagnostic) => {
      const at =
        source && diagnostic.start !== undefined ? source.getLineAndCharacterOfPosition(diagnostic.start).line : 0;
      return `${page}:${line + at}: ${ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n')}`;
    });
  });
}

/** The script of a component in one file, at its own lines. */
function scriptOf({ language, text }: Snippet): string {
  return language === 'svelte' ? text.replace(/<script lang="ts">|<\/script>.*$/gs, '') : text;
}

/** What a page doesn't show, `app` has. */
function substitute(path: string): string {
  const page = relative(APPS, path);
  return page.startsWith('..') ? path : join(APP, page.replace(/^.*?\.md\//, ''));
}

/** The file that registers a contract, among those that this one imports, and itself. */
function contractOf(path: string, files: ReadonlyMap<string, Snippet>, seen = new Set<string>()): string | undefined {
  const text = files.get(path)?.text;
  if (text === undefined || seen.has(path)) {
    return undefined;
  }
  seen.add(path);
  if (text.includes('interface Register')) {
    return path;
  }
  const imported = [...text.matchAll(/(?:from|import) '(\.[^']*)'/g)].map(([, name = '']) => join(dirname(path), name));
  return imported
    .flatMap((name) => [`${name}.ts`, `${name}.tsx`])
    .map((name) => contractOf(normalize(name), files, seen))
    .find((found) => found !== undefined);
}
