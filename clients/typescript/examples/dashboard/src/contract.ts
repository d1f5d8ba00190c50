/** What all five applications say: for the pages (realtime.ts registers it) and for the backend, which publishes by it. */

import type { AgencyChannels, AgencyEvents, AgencyMethods } from './apps/agency/contract.ts';
import type { AuctionChannels, AuctionEvents, AuctionMethods } from './apps/auction/contract.ts';
import type { LabChannels, LabEvents } from './apps/lab/contract.ts';
import type { ShiftChannels, ShiftEvents } from './apps/shifts/contract.ts';
import type { WorkshopChannels, WorkshopEvents } from './apps/workshops/contract.ts';

export interface Events extends WorkshopEvents, LabEvents, AgencyEvents, AuctionEvents, ShiftEvents {}

export interface Channels extends WorkshopChannels, LabChannels, AgencyChannels, AuctionChannels, ShiftChannels {}

export interface Methods extends AgencyMethods, AuctionMethods {}

export interface Contract {
  events: Events;
  channels: Channels;
  methods: Methods;
}
