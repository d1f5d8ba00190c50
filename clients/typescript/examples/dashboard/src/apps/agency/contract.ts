/** What the agency's backend and pages say to each other. The backend does all sums. */

/** One figure. */
export interface Metric {
  label: string;
  value: number;
  unit: 'money' | 'hours' | 'percent';
  /** The last values, oldest first. */
  trend: number[];
}

export interface TeamMember {
  name: string;
  role: string;
  /** Booked, of the capacity, in percent. */
  load: number;
}

export interface ClientHealth {
  name: string;
  /** 0 to 100. */
  score: number;
  /** Used, of the month's budget, in percent. */
  budget: number;
}

export interface Timer {
  id: string;
  task: string;
  client: string;
  who: string;
  running: boolean;
  /** Time on the clock, in ms, at `updatedAt` (Unix ms). */
  elapsedMs: number;
  updatedAt: number;
}

/** Each kind of data, as the backend computes it. */
export interface AgencyData {
  metrics: Metric[];
  team: TeamMember[];
  clients: ClientHealth[];
  timers: Timer[];
}

export interface AgencyEvents {
  'dashboard.metrics_updated': Metric[];
  'dashboard.team_updated': TeamMember[];
  'dashboard.clients_updated': ClientHealth[];
  'dashboard.timers_updated': Timer[];
}

export interface AgencyChannels {
  agency: keyof AgencyEvents;
}

export interface AgencyMethods {
  'dashboard.metrics': { input: undefined; output: Metric[] };
  'dashboard.team': { input: undefined; output: TeamMember[] };
  'dashboard.clients': { input: undefined; output: ClientHealth[] };
  'dashboard.timers': { input: undefined; output: Timer[] };
  /** Starts or stops a timer. Every third one is refused, so that a rollback can be seen. */
  'timers.update': { input: { id: string; running: boolean }; output: Timer };
}
