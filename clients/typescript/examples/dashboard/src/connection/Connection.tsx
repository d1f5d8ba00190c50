/** Beside each page: how the connection is, what it has brought, and ways to break it. */

import { useReconnectToast } from '@fanfare/client/react';
import { toast } from '../ui/toasts.tsx';
import { Health } from './Health.tsx';
import { Log } from './Log.tsx';
import { Traffic } from './Traffic.tsx';

export function Connection({ app }: { app: string }) {
  useReconnectToast({
    onLost: () => toast('Connection lost', 'The page goes on with what it has, and reconnects by itself.', 'warn'),
    onRestored: ({ resumed, downMs }) => {
      const missed = resumed ? 'What was missed is here.' : 'What may have been missed is fetched again.';
      toast('Live again', `After ${(downMs / 1000).toFixed(1)} s. ${missed}`, 'good');
    },
  });
  return (
    <aside className="aside" aria-label="Connection">
      <Health />
      <Traffic key={app} />
      <Log />
    </aside>
  );
}
