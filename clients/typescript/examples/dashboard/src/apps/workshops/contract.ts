/** What the workshops' backend and pages say to each other. */

export type WorkshopStatus = 'planning' | 'deploying' | 'active' | 'completed';
export type AttendeeStatus = 'invited' | 'deploying' | 'active' | 'failed';

export interface Workshop {
  id: string;
  title: string;
  trainer: string;
  region: string;
  status: WorkshopStatus;
  /** Of how many attendees the lab is ready, and of how many there are. */
  ready: number;
  seats: number;
}

export interface Attendee {
  id: string;
  name: string;
  status: AttendeeStatus;
}

export interface WorkshopEvents {
  status_update: {
    entity_type: 'workshop' | 'attendee';
    entity_id: string;
    workshop_id: string;
    status: WorkshopStatus | AttendeeStatus;
    details: string;
  };
}

export interface WorkshopChannels {
  workshops: 'status_update';
}
