import { beforeAll, beforeEach, expect, test } from 'vitest';
import { until } from '../support/until.ts';
import type { Shifts } from './pages/shifts.tsx';
import { shows } from './support/chromium.ts';
import { Stage } from './support/stage.ts';

const stage = new Stage();
let shifts: Shifts['events']['shift.started'][];

beforeAll(() => {
  stage.app.serve('shifts', () => shifts);
});

beforeEach(() => {
  shifts = [];
});

/** Tells the company, a user, or a channel. */
function tell<T extends keyof Shifts['events']>(topic: string, type: T, data: Shifts['events'][T]): Promise<void> {
  return stage.backend.publish(topic, type, data);
}

const SHIFT = { id: 's1', employee_id: 'e1', status: 'active' } as const;
const BREAK = { id: 'b1', shift_id: 's1' };
const VIOLATION = { id: 'v1', type: 'late_start', severity: 3, description: 'ten minutes late' } as const;
const EMPLOYEE = { id: 'e1', name: 'Bo' };

/** One event of each type. */
const EVENTS: Shifts['events'] = {
  'shift.started': SHIFT,
  'shift.ended': { ...SHIFT, status: 'completed' },
  'shift.paused': { ...SHIFT, status: 'paused' },
  'shift.cancelled': SHIFT,
  'shift.updated': SHIFT,
  'break.started': BREAK,
  'break.ended': BREAK,
  'violation.created': VIOLATION,
  'violation.detected': VIOLATION,
  'exception.created': { id: 'x1' },
  'exception.resolved': { id: 'x1' },
  'employee.created': EMPLOYEE,
  'employee.updated': EMPLOYEE,
  'employee.status_changed': EMPLOYEE,
  'dashboard.stats_updated': { activeShifts: 4, totalViolations: 2 },
  'system.notification': { message: 'Welcome back!' },
};

test('events of all types come from the company, the user and the channels', async () => {
  const tab = await stage.open('shifts');
  const types = Object.keys(EVENTS) as (keyof Shifts['events'])[];
  expect(types.length).toBeGreaterThanOrEqual(15);

  for (const type of types) {
    for (const topic of ['tenant', 'user:ana', 'channel:high-priority-violations']) {
      await tell(topic, type, EVENTS[type]);
    }
  }

  for (const type of types) {
    await shows(tab, '#counts li', `${type}: 3`);
  }
  for (const topic of ['tenant', 'user:ana', 'channel:high-priority-violations']) {
    await stage.accountsFor(topic, tab);
  }
});

test('a hook for a dashboard shows the last figures, one for a list what the API has', async () => {
  const tab = await stage.open('shifts');
  await shows(tab, '#stats', '0 active, 0 violations');

  await tell('tenant', 'dashboard.stats_updated', { activeShifts: 1, totalViolations: 0 });
  await tell('tenant', 'dashboard.stats_updated', { activeShifts: 2, totalViolations: 1 });
  await shows(tab, '#stats', '2 active, 1 violations');

  shifts = [SHIFT];
  await tell('tenant', 'shift.started', SHIFT);
  await shows(tab, '#shifts', 'e1 active');
});

test('a severe violation raises a toast, a slight one none', async () => {
  const tab = await stage.open('shifts');

  await tell('tenant', 'violation.detected', VIOLATION);
  await tell('channel:high-priority-violations', 'violation.detected', {
    ...VIOLATION,
    severity: 8,
    description: 'missed the shift',
  });
  await tell('user:ana', 'system.notification', { message: 'That is all' });

  await shows(tab, '#toasts', /^High severity: missed the shift, That is all$/);
});

test('a channel that a component leaves is left, and the others stay', async () => {
  const tab = await stage.open('shifts');
  const statusOf = (channel: string) =>
    tab.evaluate((channel) => window.page?.client.channel(channel).state.get().status, channel);
  expect(await statusOf('employee-status-changes')).toBe('subscribed');

  await tab.getByText('Urgent only').click();

  await until('the channel is left', async () => (await statusOf('employee-status-changes')) === 'idle');
  expect(await statusOf('high-priority-violations')).toBe('subscribed');
});

test('a user with several tabs is told in each of them', async () => {
  const ana = await stage.somebody();
  const tabs = [
    await stage.open('shifts', {}, { context: ana }),
    await stage.open('shifts', {}, { context: ana }),
    await stage.open('shifts', {}, { context: ana }),
  ];
  expect(await stage.node.connectionsOf(stage.app.tenant, 'ana')).toBe(3);

  await tell('user:ana', 'system.notification', { message: 'Your shift begins' });

  for (const tab of tabs) {
    await shows(tab, '#toasts', /^Your shift begins$/);
    await stage.accountsFor('user:ana', tab);
  }
});

test('callbacks tell of a connection that is lost and comes back', async () => {
  const tab = await stage.open('shifts');

  stage.network.cut();

  await shows(tab, '#log', /disconnected.*, connected$/);
  await shows(tab, '#log', 'error connection_lost');
  await shows(tab, '#connection', 'live');
});

test('after as many attempts as were asked for it gives up, and a button connects again', async () => {
  const tab = await stage.open('shifts', { attempts: '3' });
  stage.network.refuses = true;
  stage.network.cut();
  await tab.waitForFunction(() => window.page?.client.state.get().status === 'failed');
  const attempts = await tab.evaluate(() => window.page?.states.map((state) => 'attempt' in state && state.attempt));
  expect(Math.max(...(attempts ?? []).map(Number))).toBe(3);
  await shows(tab, '#connection', 'offline');

  stage.network.refuses = false;
  await tab.getByText('Reconnect').click();

  await shows(tab, '#connection', 'live');
  await tell('tenant', 'system.notification', { message: 'Live again' });
  await shows(tab, '#toasts', 'Live again');
});
