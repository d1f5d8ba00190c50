import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (file: string) => fileURLToPath(new URL(`./src/${file}`, import.meta.url));

/** The tests use the package by its name, as apps do, but its source. */
const alias = [
  { find: /^@fanfare\/client$/, replacement: source('index.ts') },
  { find: /^@fanfare\/client\/(.*)$/, replacement: source('$1.ts') },
  { find: /^@fanfare\/server$/, replacement: source('../../node/src/index.ts') },
  { find: /^@fanfare\/server\/(.*)$/, replacement: source('../../node/src/$1.ts') },
];

export default defineConfig({
  test: {
    projects: [
      {
        resolve: { alias },
        test: {
          name: 'unit',
          include: ['tests/{core,react,query,docs}/**/*.test.{ts,tsx}'],
          maxWorkers: 2,
          // On a loaded machine everything takes its time.
          testTimeout: 20_000,
        },
      },
      {
        resolve: { alias },
        test: {
          name: 'traces',
          include: ['tests/traces/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        resolve: { alias },
        test: {
          name: 'browser',
          include: ['tests/browser/**/*.test.ts'],
          // Each file runs a browser, a node and a Redis of its own; more at once would only wait for each other.
          fileParallelism: false,
          // How long a condition is waited for; on a loaded machine everything takes its time.
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
