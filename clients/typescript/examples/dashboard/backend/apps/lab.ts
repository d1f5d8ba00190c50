/** A laboratory's equipment: who uses what is told to the channel `lab`, and a sample to the one who gets it. */

import { channel, user } from '@fanfare/server';
import type { Equipment, Sample, Session } from '../../src/apps/lab/contract.ts';
import { firstNames, lastNames } from '../names.ts';
import type { World } from '../world.ts';

const EQUIPMENT: [name: string, room: string][] = [
  ['Microscope', 'B 1.04'],
  ['Spectrometer', 'B 1.07'],
  ['Cytometer', 'B 2.01'],
  ['Centrifuge', 'B 2.01'],
  ['PCR cycler A', 'B 2.03'],
  ['PCR cycler B', 'B 2.03'],
  ['Cryostat', 'C 0.12'],
  ['Plate reader', 'C 1.02'],
  ['HPLC system', 'C 1.05'],
  ['Incubator', 'C 1.06'],
];
const SAMPLES = [
  'Serum panel',
  'Soil core',
  'Tissue slice',
  'Water sample',
  'Plasmid prep',
  'Cell lysate',
  'RNA extract',
];

export function lab({ routes, random, publish, every }: World): void {
  const equipment = EQUIPMENT.map(
    ([name, room], index): Equipment => ({ id: `eq-${index + 1}`, name, room, status: 'available', user: null }),
  );
  const sessions = new Map<string, Session>();
  /** By who gets them. */
  const inboxes = new Map<string, Sample[]>();
  let count = 0;

  routes.get('/lab/equipment', () => equipment);
  routes.get('/lab/sessions', () => [...sessions.values()]);
  routes.get('/lab/my-sessions', ({ user }) => [...sessions.values()].filter((session) => session.user === user));
  routes.get('/lab/inbox', ({ user }) => inbox(user));
  routes.get('/lab/unread-count', ({ user }) => inbox(user).filter(({ unread }) => unread).length);
  routes.post('/lab/equipment/:id/start', ({ param, user }) => {
    const item = equipment.find(({ id, status }) => id === param('id') && status === 'available');
    return item && start(item, user);
  });
  routes.post('/lab/sessions/:id/end', ({ param, user }) => {
    const session = sessions.get(param('id'));
    return session?.user === user ? end(session) : undefined;
  });
  routes.post('/lab/inbox/:id/read', ({ param, user: reader }) => {
    const sample = inbox(reader).find(({ id }) => id === param('id'));
    if (!sample) return undefined;
    sample.unread = false;
    publish(user(reader), { type: 'sample_update', data: { submission_id: sample.id, action: 'read' } });
    return sample;
  });

  for (const item of equipment.slice(0, 4)) start(item, person());

  every(1500, () => {
    const item = random.pick(equipment);
    if (!item) return;
    const session = [...sessions.values()].find((session) => session.equipment === item.id);
    if (session) {
      const colleague = !inboxes.has(session.user);
      if (colleague && random.chance(0.6)) end(session);
    } else if (item.status === 'maintenance') set(item, 'available', null);
    else if (random.chance(0.12)) set(item, 'maintenance', null);
    else start(item, person());
  });
  every(3500, () => {
    const recipient = random.pick([...inboxes.keys()]);
    if (recipient) arrive(recipient);
  });

  function start(item: Equipment, by: string): Session {
    count += 1;
    const session = { id: `s-${count}`, equipment: item.id, user: by, startedAt: Date.now() };
    sessions.set(session.id, session);
    set(item, 'in_use', by);
    publish(channel('lab'), { type: 'session_update', data: { session_id: session.id, action: 'started' } });
    return session;
  }

  function end(session: Session): Session {
    sessions.delete(session.id);
    const item = equipment.find(({ id }) => id === session.equipment);
    if (item) set(item, 'available', null);
    publish(channel('lab'), { type: 'session_update', data: { session_id: session.id, action: 'ended' } });
    return session;
  }

  function set(item: Equipment, status: Equipment['status'], by: string | null): void {
    Object.assign(item, { status, user: by });
    publish(channel('lab'), { type: 'equipment_update', data: { equipment: item } });
  }

  /** A new sample for somebody, or the next step of one that is under way. */
  function arrive(recipient: string): void {
    const samples = inbox(recipient);
    const old = random.pick(samples.filter(({ status }) => status !== 'done'));
    if (old && random.chance(0.6)) {
      const next = { new: 'received', received: 'testing', testing: 'done', done: 'done' } as const;
      Object.assign(old, { status: next[old.status], changedAt: Date.now(), unread: true });
      publish(user(recipient), { type: 'sample_update', data: { submission_id: old.id, action: 'status_changed' } });
    } else {
      const sample = aSample();
      samples.unshift(sample);
      samples.length = Math.min(samples.length, 7);
      publish(user(recipient), { type: 'sample_update', data: { submission_id: sample.id, action: 'new' } });
    }
  }

  function inbox(of: string): Sample[] {
    const samples = inboxes.get(of) ?? [aSample(), aSample(), aSample()];
    inboxes.set(of, samples);
    return samples;
  }

  function aSample(): Sample {
    count += 1;
    const name = `${random.pick(SAMPLES)} ${random.whole(100, 999)}`;
    return { id: `sm-${count}`, name, sender: person(), status: 'new', unread: true, changedAt: Date.now() };
  }

  function person(): string {
    return `${random.pick(firstNames)} ${random.pick(lastNames)}`;
  }
}
