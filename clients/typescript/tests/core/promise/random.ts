/** Chance that can be had again: the same seed draws the same. */

export class Random {
  constructor(private state: number) {}

  /** From 0 up to 1, as `Math.random` (https://gist.github.com/tommyettinger/46a874533244883189143505d203312c). */
  readonly next = (): number => {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };

  /** A whole number below `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  pick<T>(all: readonly T[]): T {
    return all[this.below(all.length)] as T;
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }
}
