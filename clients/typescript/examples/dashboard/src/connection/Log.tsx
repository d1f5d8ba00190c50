/** What happened to the connection, newest first. */

import { useClient } from '@fanfare/client/react';
import { useEffect, useState } from 'react';
import { Card, type Tone } from '../ui/parts.tsx';

interface Entry {
  id: number;
  at: Date;
  what: string;
  detail: string;
  tone: Tone;
}

export function Log() {
  const entries = useLog();
  return (
    <Card title="What happened">
      <ol className="log">
        {entries.map(({ id, at, what, detail, tone }) => (
          <li key={id} data-tone={tone}>
            <time dateTime={at.toISOString()}>{at.toLocaleTimeString('en-GB')}</time>
            <span>
              <b>{what}</b> {detail}
            </span>
          </li>
        ))}
      </ol>
    </Card>
  );
}

function useLog(): readonly Entry[] {
  const client = useClient();
  const [entries, setEntries] = useState<readonly Entry[]>([]);
  useEffect(() => {
    let count = 0;
    let wasLive = false;
    let recovered = 0;
    let gaps: string[] = [];
    const note = (what: string, tone: Tone, ...details: (string | false)[]) => {
      count += 1;
      const detail = details.filter(Boolean).join('; ');
      const entry = { id: count, at: new Date(), what, detail, tone };
      setEntries((entries) => [entry, ...entries].slice(0, 7));
    };
    // What was missed is told before the state is `connected` again.
    const offs = [
      client.on('*', (message) => {
        recovered += Number(message.recovered);
      }),
      client.onGap(({ topic }) => gaps.push(topic)),
      client.state.subscribe((state) => {
        if (state.status === 'connected') {
          note(
            'Live',
            'good',
            count === 0 && `over ${state.transport}`,
            recovered > 0 && `${recovered} missed events came`,
            gaps.length > 0 && `gap in ${gaps.join(', ')}`,
          );
          recovered = 0;
          gaps = [];
        } else if (wasLive && 'error' in state) {
          note('Lost', 'warn', state.error.message);
        }
        wasLive = state.status === 'connected';
      }),
    ];
    return () => {
      for (const off of offs) off();
    };
  }, [client]);
  return entries;
}
