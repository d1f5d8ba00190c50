/** Equipment lab: what is in use, whose sessions run, and what lies in one's inbox. */

import { bindQueryClient } from '@fanfare/client/query';
import { ConnectionStatus, useReconnectToast } from '@fanfare/client/react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, render, setUp, visit } from './shell.tsx';

interface Equipment {
  id: string;
  status: string;
}

const page = setUp();
bindQueryClient(page.client, page.queryClient, {
  rules: {
    // It carries all that is shown.
    equipment_update: {
      channels: ['equipment'],
      keys: [['equipment']],
      patch: (queryClient, { data }) =>
        queryClient.setQueryData<Equipment[]>(['equipment'], (list) =>
          list?.map((item) => (item.id === data.id ? data : item)),
        ),
    },
    // It says what changed, not how it is now.
    session_update: { channels: ['sessions'], keys: ({ data }) => [['sessions', data.equipment]], everyMs: 100 },
    sample_update: [['inbox']],
  },
});

function EquipmentList() {
  const { data = [] } = useQuery({ queryKey: ['equipment'], queryFn: () => api<Equipment[]>('equipment') });
  return (
    <ul id="equipment">
      {data.map(({ id, status }) => (
        <li key={id} id={id}>
          {status}
        </li>
      ))}
    </ul>
  );
}

function Session({ equipment }: { equipment: string }) {
  const { data } = useQuery({
    queryKey: ['sessions', equipment],
    queryFn: () => api<{ label: string }>(`sessions/${equipment}`),
  });
  return <li id={`session-${equipment}`}>{data?.label}</li>;
}

function Inbox() {
  const user = visit.get('user');
  const { data } = useQuery({ queryKey: ['inbox'], queryFn: () => api<{ unread: number }>(`inbox/${user}`) });
  return <p id="inbox">{data?.unread} unread</p>;
}

function Toasts() {
  const [toasts, setToasts] = useState<string[]>([]);
  const add = (toast: string) => setToasts((toasts) => [...toasts, toast]);
  useReconnectToast({ onLost: () => add('Connection lost'), onRestored: () => add('Back again'), graceMs: 100 });
  return <p id="toasts">{toasts.join(', ')}</p>;
}

const sessions = Array.from({ length: Number(visit.get('sessions') ?? 1) }, (_, index) => `m${index + 1}`);

render(
  page,
  <>
    <ConnectionStatus />
    <Toasts />
    <EquipmentList />
    <ul>
      {sessions.map((equipment) => (
        <Session key={equipment} equipment={equipment} />
      ))}
    </ul>
    <Inbox />
  </>,
);
