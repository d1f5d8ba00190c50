import { beforeAll, beforeEach, expect, test } from 'vitest';
import { shows } from './support/chromium.ts';
import { Stage } from './support/stage.ts';

/** What the app's database has. */
interface Workshop {
  id: string;
  status: string;
  attendees: { id: string; status: string }[];
}

const stage = new Stage();
let workshops: Workshop[];

beforeAll(() => {
  const summary = ({ id, status, attendees }: Workshop) => ({ id, status, attendees: attendees.length });
  stage.app.serve('workshops', () => workshops.map(summary));
  stage.app.serve('workshops/w1', () => summary(first()));
  stage.app.serve('workshops/w1/attendees', () => first().attendees);
});

beforeEach(() => {
  workshops = [
    { id: 'w1', status: 'deploying', attendees: [{ id: 'bo', status: 'deploying' }] },
    { id: 'w2', status: 'planned', attendees: [] },
  ];
  stage.app.forgetCalls();
});

function first(): Workshop {
  const [workshop] = workshops;
  if (!workshop) {
    throw new Error('there are no workshops');
  }
  return workshop;
}

/** Changes a workshop's status, as its backend does: first the database, then everybody is told. */
async function setStatus(status: string): Promise<void> {
  first().status = status;
  await stage.backend.publish('channel:workshops', 'status_update', {
    entity_type: 'workshop',
    entity_id: 'w1',
    status,
    details: {},
  });
}

test('a change of status shows on the dashboard, the list and the detail page, each in a tab of its own', async () => {
  const ana = await stage.somebody();
  const dashboard = await stage.open('workshops', { view: 'dashboard' }, { context: ana });
  const list = await stage.open('workshops', { view: 'list' }, { context: ana });
  const detail = await stage.open('workshops', { view: 'detail' }, { context: ana });
  await shows(dashboard, '#active', '0 active');
  await shows(list, '#w1', 'deploying, 1 attendees');
  await shows(detail, 'h1', 'deploying');

  await setStatus('active');

  await shows(dashboard, '#active', '1 active');
  await shows(list, '#w1', 'active, 1 attendees');
  await shows(detail, 'h1', 'active');
  for (const tab of [dashboard, list, detail]) {
    await stage.accountsFor('channel:workshops', tab);
  }
});

test('the list is live though no detail page is open, and nothing on it subscribes by hand', async () => {
  const list = await stage.open('workshops', { view: 'list' });
  await shows(list, '#w1', 'deploying');

  await setStatus('active');

  await shows(list, '#w1', 'active');
});

test('a change of an attendee shows on the detail page and in the counts of the list', async () => {
  const list = await stage.open('workshops', { view: 'list' });
  const detail = await stage.open('workshops', { view: 'detail' });
  await shows(detail, '#attendees', 'bo deploying');
  const calls = stage.app.calls('workshops/w1');

  first().attendees = [
    { id: 'bo', status: 'active' },
    { id: 'cy', status: 'invited' },
  ];
  await stage.backend.publish('channel:workshops', 'status_update', {
    entity_type: 'attendee',
    entity_id: 'bo',
    status: 'active',
    details: { workshop: 'w1' },
  });

  await shows(detail, '#attendees', 'bo active, cy invited');
  await shows(list, '#w1', '2 attendees');
  // The workshop itself did not change.
  expect(stage.app.calls('workshops/w1')).toBe(calls);
});

test('many quick updates cause few refetches, and the last one shows', async () => {
  const list = await stage.open('workshops', { view: 'list' });
  await shows(list, '#w1', 'deploying');
  stage.app.forgetCalls();

  for (let step = 1; step <= 100; step += 1) {
    await setStatus(`step ${step}`);
  }

  await shows(list, '#w1', 'step 100,');
  expect(stage.app.calls()).toBeLessThanOrEqual(3);
  await stage.accountsFor('channel:workshops', list);
});

test('the channel is left with the last page that shows its data', async () => {
  const list = await stage.open('workshops', { view: 'list' });
  const status = (expected: string) =>
    list.waitForFunction(
      (expected) => window.page?.client.channel('workshops').state.get().status === expected,
      expected,
    );
  await status('subscribed');

  await list.getByText('About').click();

  await status('idle');
});
