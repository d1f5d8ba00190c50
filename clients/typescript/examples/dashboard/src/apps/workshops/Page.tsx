/** A dashboard, a list and a detail page. None of them subscribes to anything: the rule in live.ts does. */

import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { get, post } from '../../api.ts';
import { Avatar, Bar, Card, Flash, PageHead, Pill, Tile, type Tone } from '../../ui/parts.tsx';
import type { Attendee, AttendeeStatus, Workshop, WorkshopStatus } from './contract.ts';
import './workshops.css';

const TONES: Record<WorkshopStatus | AttendeeStatus, Tone> = {
  planning: 'plain',
  invited: 'plain',
  deploying: 'warn',
  active: 'good',
  completed: 'info',
  failed: 'bad',
};

export function WorkshopsPage() {
  const [selected, select] = useState('ws-2');
  return (
    <>
      <PageHead
        title="Workshops"
        about="Labs are deployed seat by seat. Tiles, list and detail page follow each step, in every tab."
      />
      <Tiles />
      <div className="grid workshops">
        <List selected={selected} onSelect={select} />
        <Detail id={selected} />
      </div>
    </>
  );
}

function useWorkshops(): Workshop[] {
  return useQuery({ queryKey: ['workshops'], queryFn: () => get<Workshop[]>('/workshops') }).data ?? [];
}

function Tiles() {
  const workshops = useWorkshops();
  const sum = (of: (workshop: Workshop) => number) => workshops.reduce((total, workshop) => total + of(workshop), 0);
  return (
    <div className="grid tiles">
      {(['planning', 'deploying', 'active', 'completed'] as const).map((status) => (
        <Tile key={status} label={title(status)} value={sum((workshop) => Number(workshop.status === status))} />
      ))}
      <Tile label="Seats ready" value={`${sum(({ ready }) => ready)} / ${sum(({ seats }) => seats)}`} />
    </div>
  );
}

function List({ selected, onSelect }: { selected: string; onSelect: (id: string) => void }) {
  return (
    <Card title="All workshops">
      <table className="table">
        <thead>
          <tr>
            <th>Workshop</th>
            <th>Seats ready</th>
            <th>Status</th>
          </tr>
        </thead>
        <tbody>
          {useWorkshops().map(({ id, title: name, trainer, status, ready, seats }) => (
            <tr key={id}>
              <td>
                <button type="button" className="pick" aria-current={id === selected} onClick={() => onSelect(id)}>
                  <b>{name}</b>
                  <span className="soft">{trainer}</span>
                </button>
              </td>
              <td className="seats">
                <Bar share={ready / seats} label={`Seats ready for ${name}`} />
                <span className="soft number">
                  {ready} of {seats}
                </span>
              </td>
              <td>
                <Pill tone={TONES[status]}>{title(status)}</Pill>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}

function Detail({ id }: { id: string }) {
  const { data: workshop } = useQuery({ queryKey: ['workshop', id], queryFn: () => get<Workshop>(`/workshops/${id}`) });
  const { data: attendees } = useQuery({
    queryKey: ['attendees', id],
    queryFn: () => get<Attendee[]>(`/workshops/${id}/attendees`),
  });
  const deploy = useMutation({ mutationFn: () => post(`/workshops/${id}/deploy`) });
  if (!workshop) return <Card title="Workshop">…</Card>;
  return (
    <Card title={workshop.title} note={workshop.region}>
      <div className="detail-head">
        <Pill tone={TONES[workshop.status]}>{title(workshop.status)}</Pill>
        <button className="button" data-kind="primary" type="button" onClick={() => deploy.mutate()}>
          Deploy all labs
        </button>
      </div>
      <ul className="attendees">
        {attendees?.map(({ id, name, status }) => (
          <li key={id}>
            <Avatar name={name} />
            <span className="grow">
              <span className="cut">{name}</span>
              <Flash of={status}>
                <small data-tone={TONES[status]}>{title(status)}</small>
              </Flash>
            </span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function title(status: string): string {
  return status.charAt(0).toUpperCase() + status.slice(1);
}
