/** Shifts: events of the company, of a user and of channels, each with a type of its own. */

import type { EventType, Message, MessageOf } from '@fanfare/client';
import { bindQueryClient } from '@fanfare/client/query';
import { useEvent, useEventState, useWebSocket } from '@fanfare/client/react';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { api, render, setUp, visit } from './shell.tsx';

interface Shift {
  id: string;
  employee_id: string;
  status: 'active' | 'paused' | 'completed';
}

interface Break {
  id: string;
  shift_id: string;
}

interface Violation {
  id: string;
  type: 'late_start' | 'long_break' | 'missed_shift';
  severity: number;
  description: string;
}

interface Employee {
  id: string;
  name: string;
}

interface Stats {
  activeShifts: number;
  totalViolations: number;
}

/** All that happens, and what it carries. */
export interface Shifts {
  events: {
    'shift.started': Shift;
    'shift.ended': Shift;
    'shift.paused': Shift;
    'shift.cancelled': Shift;
    'shift.updated': Shift;
    'break.started': Break;
    'break.ended': Break;
    'violation.created': Violation;
    'violation.detected': Violation;
    'exception.created': { id: string };
    'exception.resolved': { id: string };
    'employee.created': Employee;
    'employee.updated': Employee;
    'employee.status_changed': Employee;
    'dashboard.stats_updated': Stats;
    'system.notification': { message: string };
  };
}

type ShiftsEvent = EventType<Shifts>;

const page = setUp({
  reconnect: visit.has('attempts')
    ? { intervalMs: 50, maxAttempts: Number(visit.get('attempts')) }
    : { minDelayMs: 50, maxDelayMs: 500 },
});
bindQueryClient(page.client, page.queryClient, {
  rules: {
    'shift.started': [['shifts']],
    'shift.ended': [['shifts']],
  },
});

/** One event. An app that registers its contract has this without the cast. */
function useShiftsEvent<T extends ShiftsEvent>(
  type: T | readonly T[],
  callback: (message: MessageOf<T, Shifts>) => void,
): void {
  useEvent<ShiftsEvent>(type, callback as (message: Message) => void);
}

/** The figures of a dashboard. */
function useDashboardUpdates(): Stats {
  return useEventState('dashboard.stats_updated', (_, { data }) => data, { activeShifts: 0, totalViolations: 0 });
}

/** A list. */
function useShiftUpdates(): Shift[] {
  return useQuery({ queryKey: ['shifts'], queryFn: () => api<Shift[]>('shifts') }).data ?? [];
}

function Counts() {
  const counts = useEventState(
    '*',
    (counts: Record<string, number>, { type }) => ({ ...counts, [type]: (counts[type] ?? 0) + 1 }),
    {},
  );
  return (
    <ul id="counts">
      {Object.entries(counts).map(([type, count]) => (
        <li key={type}>
          {type}: {count}
        </li>
      ))}
    </ul>
  );
}

function Dashboard() {
  const { activeShifts, totalViolations } = useDashboardUpdates();
  return (
    <p id="stats">
      {activeShifts} active, {totalViolations} violations
    </p>
  );
}

function List() {
  return (
    <ul id="shifts">
      {useShiftUpdates().map(({ id, employee_id, status }) => (
        <li key={id}>
          {employee_id} {status}
        </li>
      ))}
    </ul>
  );
}

function Toasts() {
  const [toasts, setToasts] = useState<string[]>([]);
  const add = (toast: string) => setToasts((toasts) => [...toasts, toast]);
  useShiftsEvent(['violation.created', 'violation.detected'], ({ data }) => {
    if (data.severity >= 7) {
      add(`High severity: ${data.description}`);
    }
  });
  useShiftsEvent('system.notification', ({ data }) => add(data.message));
  return <p id="toasts">{toasts.join(', ')}</p>;
}

/** What the callbacks of the connection were told. */
function Connection() {
  const [log, setLog] = useState<string[]>([]);
  const add = (entry: string) => setLog((log) => [...log, entry]);
  const { isConnected, error, reconnect } = useWebSocket({
    onConnect: () => add('connected'),
    onDisconnect: () => add('disconnected'),
    onError: ({ code }) => add(`error ${code}`),
  });
  return (
    <>
      <p id="connection">{isConnected ? 'live' : `offline: ${error?.code}`}</p>
      <p id="log">{log.join(', ')}</p>
      <button type="button" onClick={reconnect}>
        Reconnect
      </button>
    </>
  );
}

function Channels() {
  const [urgentOnly, setUrgentOnly] = useState(false);
  const { subscribeToChannel, unsubscribeFromChannel } = useWebSocket();
  useEffect(() => {
    subscribeToChannel('high-priority-violations');
    return () => unsubscribeFromChannel('high-priority-violations');
  }, [subscribeToChannel, unsubscribeFromChannel]);
  useEffect(() => {
    if (!urgentOnly) {
      subscribeToChannel('employee-status-changes');
      return () => unsubscribeFromChannel('employee-status-changes');
    }
  }, [urgentOnly, subscribeToChannel, unsubscribeFromChannel]);
  return (
    <button type="button" onClick={() => setUrgentOnly(true)}>
      Urgent only
    </button>
  );
}

render(
  page,
  <>
    <Connection />
    <Channels />
    <Dashboard />
    <List />
    <Toasts />
    <Counts />
  </>,
);
