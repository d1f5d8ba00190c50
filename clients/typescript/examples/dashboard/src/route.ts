/** Where in the app we are: the part of the address after `#/`. */

import { useSyncExternalStore } from 'react';

export function useRoute(): string {
  return useSyncExternalStore(listen, () => location.hash.replace(/^#\/?/, ''));
}

function listen(changed: () => void) {
  addEventListener('hashchange', changed);
  return () => removeEventListener('hashchange', changed);
}
