/** Whether a page was given all that was published: each event once and in order, or a gap told. */

import type { Published } from './backend.ts';

/** What a page writes down, in the order in which it was told. */
export type Entry =
  | { event: string; topic: string; recovered: boolean }
  | { gap: 'ephemeral' | 'all'; topic: string; reason: string };

/** What is wrong with the entries of a topic, in words: nothing, when the list is empty. */
export function complaints(topic: string, published: readonly Published[], entries: readonly Entry[]): string[] {
  const expected = published.filter((event) => event.topic === topic);
  const wrong: string[] = [];
  /** Events that are missing, and no gap has told of them yet. */
  let owed: Published[] = [];
  /** Gaps that reach up to now: since the last event that came by itself, and not as what was missed. */
  let told: ('ephemeral' | 'all')[] = [];
  let next = 0;
  const jumpTo = (at: number) => {
    owed.push(...expected.slice(next, at).filter((event) => !told.some((lost) => covers(lost, event))));
    next = at;
  };
  for (const entry of entries.filter((entry) => entry.topic === topic)) {
    if ('gap' in entry) {
      told.push(entry.gap);
      owed = owed.filter((event) => !covers(entry.gap, event));
      continue;
    }
    const at = expected.findIndex(({ id }) => id === entry.event);
    if (at < next) {
      wrong.push(`${entry.event} ${at < 0 ? 'was never published' : 'came twice, or too late'}`);
    } else {
      jumpTo(at);
      next = at + 1;
      told = entry.recovered ? told : [];
    }
  }
  jumpTo(expected.length);
  return [...wrong, ...owed.map(({ id }) => `${id} is missing, and no gap tells of it`)];
}

function covers(lost: 'ephemeral' | 'all', event: Published): boolean {
  return lost === 'all' || !event.durable;
}
