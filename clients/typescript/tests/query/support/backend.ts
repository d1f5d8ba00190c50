/** A backend behind HTTP: what it is asked, it knows when the request comes, and answers a while later. */

export interface Backend {
  /** What is true now. */
  now: unknown;
  latencyMs: number;
  /** How often it was asked. */
  readonly asked: number;
  /** A query function. */
  readonly get: () => Promise<unknown>;
}

export function backend(now: unknown = 1): Backend {
  const made = {
    now,
    latencyMs: 0,
    asked: 0,
    get: async () => {
      made.asked += 1;
      const answer = made.now;
      await (made.latencyMs > 0 && new Promise((resolve) => setTimeout(resolve, made.latencyMs)));
      return answer;
    },
  };
  return made;
}
