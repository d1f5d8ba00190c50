/** When a page should look whether its connection is alive. */

import type { Lifecycle } from './options.ts';

/** The page's own events (https://developer.chrome.com/docs/web-platform/page-lifecycle-api); none where there is no page. */
export const pageLifecycle: Lifecycle = {
  onWake(wake) {
    const listening = new AbortController();
    const { signal } = listening;
    if (typeof document !== 'undefined') {
      const seen = () => document.visibilityState === 'visible' && wake();
      document.addEventListener('visibilitychange', seen, { signal });
      document.addEventListener('resume', wake, { signal });
      globalThis.window?.addEventListener('pageshow', wake, { signal });
      globalThis.window?.addEventListener('online', wake, { signal });
    }
    return () => listening.abort();
  },
};
