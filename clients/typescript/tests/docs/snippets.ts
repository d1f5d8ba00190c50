/** The code in the documents, as files of an app that whoever reads them would write. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');

export interface Snippet {
  /** `docs/recipes.md` */
  readonly page: string;
  /** Of its first line of code, from 1. */
  readonly line: number;
  readonly language: string;
  /** What stands behind the language: the file's path in the app, or words for a test. */
  readonly label: string;
  readonly text: string;
}

/** The documents with code. */
export const PAGES = ['README.md', ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)].filter((name) =>
  name.endsWith('.md'),
);

/** All blocks of code of a page. */
export function snippetsOf(page: string): Snippet[] {
  const text = readFileSync(join(ROOT, page), 'utf8');
  return [...text.matchAll(/^```(\w+)(?: ([^\n]*))?\n(.*?)^```$/gms)].map(
    ({ index, 1: language = '', 2: label = '', 3: code = '' }) => {
      const line = text.slice(0, index).split('\n').length + 1;
      return { page, line, language, label, text: code };
    },
  );
}

/** The one snippet of a page with this label. */
export function snippet(page: string, label: string): Snippet {
  const found = snippetsOf(page).filter((one) => one.label === label);
  if (found.length !== 1) {
    throw new Error(`${page} has ${found.length} snippets with the label ${label}`);
  }
  return found[0] as Snippet;
}
