/** Jobs, at most so many of them at once; the rest waits. Deliberately without knowing what a job is. */

/** Runs jobs. What it is given beyond `concurrency` waits in order; who gives asks for `room` before, so that is little. */
export class Crew<J> {
  readonly #running = new Map<string, J>();
  readonly #waiting = new Map<string, J>();
  #listeners = new Set<() => void>();

  constructor(
    private readonly concurrency: number,
    private readonly run: (job: J) => Promise<void>,
  ) {}

  get size(): number {
    return this.#running.size + this.#waiting.size;
  }

  /** How many more could begin at once. */
  get roomNow(): number {
    return Math.max(0, this.concurrency - this.size);
  }

  has(key: string): boolean {
    return this.#running.has(key) || this.#waiting.has(key);
  }

  all(): J[] {
    return [...this.#running.values(), ...this.#waiting.values()];
  }

  add(key: string, job: J): void {
    this.#waiting.set(key, job);
    this.#next();
  }

  /** Resolves when one more could begin, or the signal is aborted, to how many. */
  async room(signal: AbortSignal): Promise<number> {
    await this.#until(() => this.roomNow > 0, signal);
    return Math.max(1, this.roomNow);
  }

  /** Resolves when none is left, or the signal is aborted. */
  idle(signal: AbortSignal): Promise<void> {
    return this.#until(() => this.size === 0, signal);
  }

  #next(): void {
    for (const [key, job] of this.#waiting) {
      if (this.#running.size >= this.concurrency) {
        return;
      }
      this.#waiting.delete(key);
      this.#running.set(key, job);
      this.run(job).finally(() => {
        this.#running.delete(key);
        this.#next();
        for (const listener of this.#listeners) {
          listener();
        }
      });
    }
  }

  #until(isSo: () => boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (isSo() || signal.aborted) {
          this.#listeners.delete(look);
          signal.removeEventListener('abort', look);
          resolve();
        }
      };
      this.#listeners.add(look);
      signal.addEventListener('abort', look);
      look();
    });
  }
}
