/** Workshops: a dashboard, a list and a detail page, which know nothing of the connection. */

import { bindQueryClient } from '@fanfare/client/query';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, render, setUp, visit } from './shell.tsx';

interface Workshop {
  id: string;
  status: string;
  attendees: number;
}

interface Attendee {
  id: string;
  status: string;
}

const page = setUp();
bindQueryClient(page.client, page.queryClient, {
  rules: {
    status_update: {
      channels: ['workshops'],
      keys: ({ data }) =>
        data.entity_type === 'workshop'
          ? [['workshops'], ['workshop', data.entity_id]]
          : [['workshops'], ['attendees', data.details.workshop]],
      onMissed: [['workshops'], ['workshop'], ['attendees']],
    },
  },
});

function Dashboard() {
  const { data = [] } = useQuery({ queryKey: ['workshops'], queryFn: () => api<Workshop[]>('workshops') });
  const active = data.filter(({ status }) => status === 'active');
  return <p id="active">{active.length} active</p>;
}

function List() {
  const { data = [] } = useQuery({ queryKey: ['workshops', 'all'], queryFn: () => api<Workshop[]>('workshops') });
  return (
    <ul id="list">
      {data.map(({ id, status, attendees }) => (
        <li key={id} id={id}>
          {status}, {attendees} attendees
        </li>
      ))}
    </ul>
  );
}

function Detail({ id }: { id: string }) {
  const workshop = useQuery({ queryKey: ['workshop', id], queryFn: () => api<Workshop>(`workshops/${id}`) });
  const attendees = useQuery({
    queryKey: ['attendees', id],
    queryFn: () => api<Attendee[]>(`workshops/${id}/attendees`),
  });
  return (
    <>
      <h1>{workshop.data?.status}</h1>
      <p id="attendees">{attendees.data?.map((attendee) => `${attendee.id} ${attendee.status}`).join(', ')}</p>
    </>
  );
}

function App() {
  const [view, setView] = useState(visit.get('view'));
  return (
    <>
      <nav>
        <button type="button" onClick={() => setView('about')}>
          About
        </button>
      </nav>
      {view === 'dashboard' && <Dashboard />}
      {view === 'list' && <List />}
      {view === 'detail' && <Detail id="w1" />}
    </>
  );
}

render(page, <App />);
