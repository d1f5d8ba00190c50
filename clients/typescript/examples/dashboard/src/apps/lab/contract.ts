/** What the laboratory's backend and pages say to each other. */

export interface Equipment {
  id: string;
  name: string;
  room: string;
  status: 'available' | 'in_use' | 'maintenance';
  /** Who uses it. */
  user: string | null;
}

export interface Session {
  id: string;
  equipment: string;
  user: string;
  /** Unix ms. */
  startedAt: number;
}

export interface Sample {
  id: string;
  name: string;
  sender: string;
  status: 'new' | 'received' | 'testing' | 'done';
  unread: boolean;
  /** Unix ms. */
  changedAt: number;
}

export interface LabEvents {
  equipment_update: { equipment: Equipment };
  session_update: { session_id: string; action: 'started' | 'ended' };
  /** To the one who gets the sample. */
  sample_update: { submission_id: string; action: 'new' | 'status_changed' | 'read' };
}

export interface LabChannels {
  lab: 'equipment_update' | 'session_update';
}
