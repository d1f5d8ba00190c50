import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { QueryClient as Version5 } from '@tanstack/query-core';
import { QueryClient as Version4 } from 'query-core4';
import { QueryClient as Version3 } from 'react-query3/core';
import { expect, test } from 'vitest';
import { ROOT } from './snippets.ts';

const text = readFileSync(join(ROOT, 'docs/migration.md'), 'utf8');

/** What the three versions have in common, for calls that only some of them understand. */
interface Cache {
  setQueryData(key: unknown, data: unknown): unknown;
  invalidateQueries(...args: unknown[]): Promise<unknown>;
  getQueryState(key: unknown): { isInvalidated: boolean } | undefined;
}

const VERSIONS = { 3: Version3, 4: Version4, 5: Version5 } as unknown as Record<3 | 4 | 5, new () => Cache>;

/** The table of the page: a call, and what it concerns on each version. */
const ROWS = [...text.matchAll(/^\| `invalidateQueries\((.*?)\)` \| (.*?) \| (.*?) \| (.*?) \|$/gm)].flatMap(
  ([, argument = '', ...concerned]) =>
    concerned.map((what, at) => [(at + 3) as 3 | 4 | 5, argument, what.replace(/[`*]/g, '')] as const),
);

/** `everything`, or just what was meant. */
async function invalidatedBy(version: 3 | 4 | 5, argument: unknown): Promise<'orders' | 'everything'> {
  const cache = new VERSIONS[version]();
  const keys = [['orders'], ['orders', 7], ['customers']];
  for (const key of keys) {
    cache.setQueryData(key, 0);
  }
  await cache.invalidateQueries(argument);
  const stale = keys.filter((key) => cache.getQueryState(key)?.isInvalidated);
  expect(stale).toEqual(keys.slice(0, stale.length));
  return stale.length === 2 ? 'orders' : 'everything';
}

test('the table is there', () => {
  expect(ROWS).toHaveLength(9);
});

test.each(ROWS)('on version %i, invalidateQueries(%s) concerns %s', async (version, argument, what) => {
  expect(await invalidatedBy(version, new Function(`return ${argument}`)())).toBe(what);
});
