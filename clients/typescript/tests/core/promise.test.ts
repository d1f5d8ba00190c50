/**
 * The promise against chance: whatever fails, and in whatever order, each event is told once and in order, or a gap is.
 *
 * `SEEDS=500 FIRST=1` tries so many worlds, from this one on; `SEED=7` tries that one. What fails is made shorter as far as it
 * goes, and printed: what was done, and what came of it.
 */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { live, type Step, schedule } from './promise/schedule.ts';

const { SEED, SEEDS = 60, FIRST = 1 } = process.env;
const first = Number(SEED ?? FIRST);
const seeds = Array.from({ length: SEED ? 1 : Number(SEEDS) }, (_, index) => first + index);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] });
});

afterEach(() => {
  vi.useRealTimers();
});

test.each(seeds)('world %i', { timeout: 120_000 }, async (seed) => {
  const steps = schedule(seed);
  const { violations } = (await live(seed, steps)).model;
  if (violations.length > 0) {
    const short = await shortened(seed, steps);
    const { transcript, model } = await live(seed, short);
    const deeds = short.map((step) => step.deed).join(', ');
    expect.fail([`seed ${seed}: ${model.violations[0]}`, deeds, ...transcript].join('\n'));
  }
});

/** As few of the steps as still show that something is wrong. */
async function shortened(seed: number, all: readonly Step[]): Promise<readonly Step[]> {
  let steps = all;
  for (let size = Math.ceil(all.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < steps.length; ) {
      const fewer = steps.filter((_, index) => index < start || index >= start + size);
      if ((await live(seed, fewer)).model.violations.length > 0) {
        steps = fewer;
      } else {
        start += size;
      }
    }
  }
  return steps;
}
