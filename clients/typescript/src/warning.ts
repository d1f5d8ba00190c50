/** What a developer is told on the console. Left out of production builds. */

import type { Off } from './store.ts';

/** How long an app may take until something is connected, before `client.on` is taken for a mistake, in ms. */
const WARN_AFTER_MS = 5_000;

let hasWarned = false;

/** Warns, once a page, when there is nothing to hear some seconds after a listener was added. `off` takes the listener off. */
export function warnIfUnheard(off: Off, isConnectionWanted: () => boolean): Off {
  if (typeof document === 'undefined') {
    return off;
  }
  const timer = setTimeout(() => {
    if (!hasWarned && !isConnectionWanted()) {
      hasWarned = true;
      console.warn('fanfare: client.on() hears nothing until there is a channel.on(), a hook or a client.connect()');
    }
  }, WARN_AFTER_MS);
  return () => {
    clearTimeout(timer);
    off();
  };
}
