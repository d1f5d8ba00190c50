/** Shifts of a company's employees: everybody of the company hears of them; violations have a channel of their own. */

import { channel, TENANT, user } from '@fanfare/server';
import type {
  Break,
  Employee,
  Exception,
  RosterRow,
  Shift,
  ShiftEvents,
  Stats,
  Violation,
} from '../../src/apps/shifts/contract.ts';
import type { World } from '../world.ts';

const STAFF: [name: string, role: string, from: number, to: number][] = [
  ['Beatriz Nunes', 'Front desk', 6, 14],
  ['Callum Reid', 'Kitchen', 6, 14],
  ['Dagny Holm', 'Housekeeping', 7, 15],
  ['Emre Aydin', 'Kitchen', 8, 16],
  ['Fatou Diallo', 'Front desk', 9, 17],
  ['Giorgos Pappas', 'Bar', 12, 20],
  ['Hyejin Park', 'Housekeeping', 10, 18],
  ['Ivo Marek', 'Bar', 14, 22],
];
const ROLES = ['Front desk', 'Kitchen', 'Housekeeping', 'Bar'];
const WHY = {
  late_start: 'started 12 minutes late',
  long_break: 'has been on a break for 48 minutes',
  missed_shift: 'has not come to the shift',
} as const;
const REASONS = ['doctor’s appointment', 'swapped with a colleague', 'train was cancelled', 'training day'];

export function shifts({ routes, random, publish, publishDurable, every }: World): void {
  const employees = STAFF.map(
    ([name, role], index): Employee => ({ id: `e-${index + 1}`, name, role, status: index < 5 ? 'working' : 'off' }),
  );
  const all = STAFF.map(
    ([, , from, to], index): Shift => ({
      id: `sh-${index + 1}`,
      employee_id: `e-${index + 1}`,
      status: index < 5 ? 'active' : 'planned',
      from: from * 60,
      to: to * 60,
    }),
  );
  const breaks = new Map<string, Break>();
  const violations: Violation[] = [];
  const exceptions: Exception[] = [];
  let count = 0;

  routes.get('/shifts', () => all.map((shift): RosterRow => ({ ...of(shift), shift })));
  routes.get('/shifts/stats', () => stats());
  routes.get('/shifts/violations', () => violations);
  routes.post('/shifts/:id/:step', ({ param, user: asker }) => {
    const shift = all.find(({ id }) => id === param('id'));
    const step = steps[param('step') as keyof typeof steps];
    if (!shift || !step) return undefined;
    step(shift);
    publish(user(asker), {
      type: 'system.notification',
      data: { message: `Done: ${of(shift).name}, ${param('step')}` },
    });
    return shift;
  });
  const steps = {
    start: (shift: Shift) => set(shift, 'active', 'working', 'shift.started'),
    end: (shift: Shift) => set(shift, 'completed', 'off', 'shift.ended'),
    cancel: (shift: Shift) => set(shift, 'cancelled', 'off', 'shift.cancelled'),
    plan: (shift: Shift) => set(shift, 'planned', 'off', 'shift.updated'),
    pause(shift: Shift) {
      count += 1;
      const pause = { id: `b-${count}`, shift_id: shift.id, employee_id: shift.employee_id };
      breaks.set(shift.id, pause);
      set(shift, 'paused', 'break', 'shift.paused');
      tell({ type: 'break.started', data: pause });
    },
    resume(shift: Shift) {
      const pause = breaks.get(shift.id);
      breaks.delete(shift.id);
      set(shift, 'active', 'working', 'shift.updated');
      if (pause) tell({ type: 'break.ended', data: pause });
    },
  };

  every(1600, () => {
    const shift = random.pick(all);
    if (!shift) return;
    if (shift.status === 'planned') (random.chance(0.85) ? steps.start : steps.cancel)(shift);
    else if (shift.status === 'active') (random.chance(0.75) ? steps.pause : steps.end)(shift);
    else if (shift.status === 'paused') steps.resume(shift);
    else steps.plan(shift);
  });
  every(7000, () => violate());
  every(15_000, () => {
    const employee = random.pick(employees);
    if (employee) {
      employee.role = random.pick(ROLES) ?? employee.role;
      tell({ type: 'employee.updated', data: employee });
    }
  });
  every(8000, () => {
    if (exceptions.length > 0 && random.chance(0.6)) {
      const [exception] = exceptions.splice(0, 1);
      if (exception) tell({ type: 'exception.resolved', data: exception });
    } else {
      count += 1;
      const reason = random.pick(REASONS) ?? '';
      const exception = { id: `x-${count}`, employee_id: random.pick(employees)?.id ?? '', reason };
      exceptions.push(exception);
      tell({ type: 'exception.created', data: exception });
    }
    tellStats();
  });
  violate();
  violate();

  function violate(): void {
    const employee = random.pick(employees);
    if (!employee) return;
    count += 1;
    const type = random.pick(['late_start', 'long_break', 'missed_shift'] as const) ?? 'late_start';
    const violation: Violation = {
      id: `v-${count}`,
      employee_id: employee.id,
      type,
      severity: random.whole(2, 9),
      description: `${employee.name} ${WHY[type]}`,
      detected_at: Date.now(),
    };
    violations.unshift(violation);
    violations.length = Math.min(violations.length, 6);
    // Found by the system, or by a manager.
    const how = random.chance(0.7) ? 'violation.detected' : 'violation.created';
    publishDurable(channel('violations'), { type: how, data: violation });
    tellStats();
  }

  function set(
    shift: Shift,
    status: Shift['status'],
    employeeIs: Employee['status'],
    type: 'shift.started' | 'shift.ended' | 'shift.paused' | 'shift.cancelled' | 'shift.updated',
  ): void {
    const employee = of(shift);
    shift.status = status;
    employee.status = employeeIs;
    tell({ type, data: shift });
    tell({ type: 'employee.status_changed', data: employee });
    tellStats();
  }

  function tell(event: { [T in keyof ShiftEvents]: { type: T; data: ShiftEvents[T] } }[keyof ShiftEvents]): void {
    publish(TENANT, event);
  }

  function tellStats(): void {
    tell({ type: 'dashboard.stats_updated', data: stats() });
  }

  function stats(): Stats {
    return {
      activeShifts: all.filter(({ status }) => status === 'active').length,
      onBreak: breaks.size,
      violations: violations.length,
      pendingExceptions: exceptions.length,
    };
  }

  function of(shift: Shift): Employee {
    const found = employees.find(({ id }) => id === shift.employee_id);
    if (!found) throw new Error(`shift ${shift.id} belongs to nobody`);
    return found;
  }
}
