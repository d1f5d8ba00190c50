/** What a page has fetched, against what it would have if each query on it polled once a second. */

import { useEventState } from '@fanfare/client/react';
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { requestCount } from '../api.ts';
import { Bar, Card } from '../ui/parts.tsx';

export function Traffic() {
  const events = useEventState('*', (count) => count + 1, 0, { everyMs: 1000 });
  const { requests, polled } = useRequests();
  const most = Math.max(requests, polled, 1);
  return (
    <Card title="This page so far">
      <div className="versus">
        <div>
          <span>
            Events received <b>{events}</b>
          </span>
        </div>
        <div>
          <span>
            HTTP requests <b>{requests}</b>
          </span>
          <Bar share={requests / most} label="HTTP requests, against polling" tone="good" />
        </div>
        <div>
          <span>
            … if it polled each second <b>{polled}</b>
          </span>
          <Bar share={polled / most} label="Polling, against HTTP requests" tone="bad" />
        </div>
      </div>
    </Card>
  );
}

function useRequests() {
  const queryClient = useQueryClient();
  const [figures, setFigures] = useState({ requests: 0, polled: 0 });
  useEffect(() => {
    const before = requestCount();
    const timer = setInterval(() => {
      const queries = queryClient.getQueryCache().findAll({ type: 'active' }).length;
      setFigures(({ polled }) => ({ requests: requestCount() - before, polled: polled + queries }));
    }, 1000);
    return () => clearInterval(timer);
  }, [queryClient]);
  return figures;
}
