/** Workshops: their labs are deployed for each attendee, one after the other, and each step is told to the channel `workshops`. */

import { channel } from '@fanfare/server';
import type { Attendee, AttendeeStatus, Workshop, WorkshopStatus } from '../../src/apps/workshops/contract.ts';
import { firstNames, lastNames } from '../names.ts';
import type { World } from '../world.ts';

interface Row {
  workshop: Workshop;
  attendees: Attendee[];
}

const TITLES: [title: string, trainer: string, region: string, seats: number, status: WorkshopStatus][] = [
  ['Kubernetes in depth', 'Marta Lindqvist', 'eu-north-1', 14, 'active'],
  ['Event-driven services', 'Jonas Weber', 'eu-central-1', 12, 'deploying'],
  ['PostgreSQL performance', 'Aiko Tanaka', 'ap-northeast-1', 16, 'planning'],
  ['OpenTelemetry basics', 'Priya Raman', 'ap-south-1', 10, 'active'],
  ['Terraform from scratch', 'Diego Alvarez', 'us-east-1', 18, 'deploying'],
  ['Incident response drill', 'Sofia Rossi', 'eu-south-1', 8, 'planning'],
  ['Secure supply chains', 'Liam O’Brien', 'eu-west-1', 12, 'completed'],
  ['Streaming with Redis', 'Noor Haddad', 'me-south-1', 14, 'planning'],
];

export function workshops({ routes, random, publishDurable, every, after }: World): void {
  const rows = TITLES.map(([title, trainer, region, seats, status], index): Row => {
    const id = `ws-${index + 1}`;
    const attendees = Array.from({ length: seats }, (_, seat): Attendee => {
      const name = `${random.pick(firstNames)} ${random.pick(lastNames)}`;
      return { id: `${id}-${seat + 1}`, name, status: seatedAs(status, seat / seats) };
    });
    return { workshop: { id, title, trainer, region, status, seats, ready: readyOf(attendees) }, attendees };
  });
  const row = (id: string) => rows.find(({ workshop }) => workshop.id === id);

  routes.get('/workshops', () => rows.map(({ workshop }) => workshop));
  routes.get('/workshops/:id', ({ param }) => row(param('id'))?.workshop);
  routes.get('/workshops/:id/attendees', ({ param }) => row(param('id'))?.attendees);
  // All labs at once: a burst of updates.
  routes.post('/workshops/:id/deploy', ({ param }) => {
    const found = row(param('id'));
    if (!found) return undefined;
    setWorkshop(found, 'deploying', 'deployment requested');
    found.attendees.forEach((attendee, seat) => {
      setAttendee(found, attendee, 'invited');
      after(200 + 90 * seat, () => setAttendee(found, attendee, 'deploying'));
      after(900 + 130 * seat, () => setAttendee(found, attendee, 'active'));
    });
    return { accepted: true };
  });

  every(1600, () => {
    const deploying = random.pick(rows.filter(({ workshop }) => workshop.status === 'deploying'));
    if (deploying) {
      const next = deploying.attendees.find(({ status }) => status !== 'active');
      const failed = next?.status === 'deploying' && random.chance(0.08);
      if (next) setAttendee(deploying, next, failed ? 'failed' : next.status === 'deploying' ? 'active' : 'deploying');
    }
  });
  every(22_000, () => {
    const areMany = rows.filter(({ workshop }) => workshop.status === 'deploying').length > 1;
    const due = random.pick(
      rows.filter(({ workshop: { status } }) => status !== 'deploying' && !(areMany && status === 'planning')),
    );
    if (due?.workshop.status === 'active') setWorkshop(due, 'completed', 'closed by its trainer');
    else if (due?.workshop.status === 'planning') setWorkshop(due, 'deploying', 'starts soon');
    else if (due) {
      for (const attendee of due.attendees) attendee.status = 'invited';
      setWorkshop(due, 'planning', 'next date is set');
    }
  });

  function setAttendee(of: Row, attendee: Attendee, status: AttendeeStatus): void {
    if (attendee.status === status) return;
    attendee.status = status;
    of.workshop.ready = readyOf(of.attendees);
    tell('attendee', attendee.id, of, status, `${attendee.name}: ${status}`);
    if (of.workshop.status === 'deploying' && of.workshop.ready === of.workshop.seats) {
      setWorkshop(of, 'active', 'all labs are ready');
    }
  }

  function setWorkshop(of: Row, status: WorkshopStatus, details: string): void {
    of.workshop.status = status;
    of.workshop.ready = readyOf(of.attendees);
    tell('workshop', of.workshop.id, of, status, details);
  }

  function tell(
    entity_type: 'workshop' | 'attendee',
    entity_id: string,
    of: Row,
    status: WorkshopStatus | AttendeeStatus,
    details: string,
  ): void {
    const data = { entity_type, entity_id, workshop_id: of.workshop.id, status, details };
    publishDurable(channel('workshops'), { type: 'status_update', data });
  }
}

function seatedAs(status: WorkshopStatus, seat: number): AttendeeStatus {
  if (status === 'planning') return 'invited';
  if (status === 'deploying') return seat < 0.4 ? 'active' : seat < 0.5 ? 'deploying' : 'invited';
  return 'active';
}

function readyOf(attendees: readonly Attendee[]): number {
  return attendees.filter(({ status }) => status === 'active').length;
}
