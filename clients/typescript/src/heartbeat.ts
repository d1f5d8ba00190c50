/**
 * Whether the connection is alive. Browsers slow timers down and stop them, so no timer alone is a proof of death: only a
 * question of our own that stays unanswered is.
 */

import type { HeartbeatOptions } from './options.ts';

/** A timer that fires so late, in ms, shows that nothing could be heard meanwhile either. */
const LATE_MS = 500;

export function createHeartbeat(
  { silenceMs, timeoutMs = 5_000 }: HeartbeatOptions,
  hears: { ask(): void; answered(latencyMs: number): void; died(): void },
) {
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Zero while there is no connection. */
  let silence = 0;
  let lastHeard = 0;
  /** How often something was heard. */
  let count = 0;
  let askedAt = 0;
  let isAsking = false;

  function watch(): void {
    clearTimeout(timer);
    isAsking = false;
    const quiet = () => Date.now() - lastHeard;
    timer = setTimeout(() => (quiet() < silence ? watch() : ask(false)), silence - quiet());
  }

  function ask(isSecond: boolean): void {
    clearTimeout(timer);
    isAsking = true;
    askedAt = Date.now();
    const before = count;
    timer = setTimeout(() => {
      if (count > before) {
        watch();
      } else if (!isSecond && Date.now() - askedAt > timeoutMs + LATE_MS) {
        ask(true);
      } else {
        hears.died();
      }
    }, timeoutMs);
    hears.ask();
  }

  /** Any frame. */
  function heard(): void {
    lastHeard = Date.now();
    count += 1;
  }

  return {
    heard,
    /** The connection is there. `pingMs`: what silence the node allows itself. */
    start(pingMs: number): void {
      silence = silenceMs ?? 1.2 * pingMs;
      heard();
      watch();
    },
    stop(): void {
      clearTimeout(timer);
      silence = 0;
      isAsking = false;
    },
    /** The answer to `ask`. */
    pong(): void {
      if (isAsking) {
        hears.answered(Date.now() - askedAt);
        watch();
      }
    },
    /** Asks now, if there is a connection. */
    probe(): void {
      if (silence > 0 && !isAsking) {
        ask(false);
      }
    },
  };
}
