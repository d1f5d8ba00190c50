import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    // Every file runs processes of its own; more at once would only wait for each other.
    maxWorkers: 2,
    // How long a condition is waited for; on a loaded machine everything takes its time.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
