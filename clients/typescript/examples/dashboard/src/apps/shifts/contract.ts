/** What the shift manager's backend and pages say to each other. */

export interface Employee {
  id: string;
  name: string;
  role: string;
  status: 'off' | 'working' | 'break';
}

export interface Shift {
  id: string;
  employee_id: string;
  status: 'planned' | 'active' | 'paused' | 'completed' | 'cancelled';
  /** Minutes since midnight, as planned. */
  from: number;
  to: number;
}

export interface Break {
  id: string;
  shift_id: string;
  employee_id: string;
}

export interface Violation {
  id: string;
  employee_id: string;
  type: 'late_start' | 'long_break' | 'missed_shift';
  /** 1 to 10. */
  severity: number;
  description: string;
  /** Unix ms. */
  detected_at: number;
}

export interface Exception {
  id: string;
  employee_id: string;
  reason: string;
}

export interface Stats {
  activeShifts: number;
  onBreak: number;
  violations: number;
  pendingExceptions: number;
}

/** One row of the roster. */
export interface RosterRow extends Employee {
  shift: Shift;
}

export interface ShiftEvents {
  'shift.started': Shift;
  'shift.ended': Shift;
  'shift.paused': Shift;
  'shift.cancelled': Shift;
  'shift.updated': Shift;
  'break.started': Break;
  'break.ended': Break;
  'violation.created': Violation;
  'violation.detected': Violation;
  'exception.created': Exception;
  'exception.resolved': Exception;
  'employee.updated': Employee;
  'employee.status_changed': Employee;
  'dashboard.stats_updated': Stats;
  /** To one user. */
  'system.notification': { message: string };
}

export interface ShiftChannels {
  violations: 'violation.created' | 'violation.detected';
}
