/** What one topic has kept of its durable events, and where it stands. */

import type { Envelope } from './frame.ts';

/** A durable event in its place. */
export interface Kept {
  readonly position: string;
  readonly event: Envelope;
}

/** What a client missed: in `subscribed`, and in `welcome.topics`. */
export interface Recovery {
  readonly recovered: boolean;
  readonly reason?: 'expired' | 'epoch';
  readonly events: readonly Kept[];
  readonly more?: true;
}

/** How many more events fit into an answer; one does in any case. */
export interface Room {
  left: number;
  isEmpty: boolean;
}

const EVENTS_MAX = 1_000;
const POSITION = /^(\d{1,20})-(\d{1,20})$/;

export function isPosition(text: unknown): text is string {
  return typeof text === 'string' && POSITION.test(text);
}

export class History {
  #kept: Kept[] = [];
  #seq = 0;

  /** `epoch`: a number that no earlier history of the topic had. */
  constructor(private readonly epoch: string) {}

  /** Where the topic stands: after its last event. */
  get position(): string {
    return `${this.epoch}-${this.#seq}`;
  }

  /** Keeps an event. Returns its position. */
  add(event: Envelope): string {
    this.#seq += 1;
    this.#kept.push({ position: this.position, event });
    this.trim(EVENTS_MAX);
    return this.position;
  }

  /** Keeps the newest events only. */
  trim(events: number): void {
    this.#kept = events > 0 ? this.#kept.slice(-events) : [];
  }

  /** What came after `since`. */
  after(since: string, room: Room): Recovery {
    const [, epoch, seq] = POSITION.exec(since) ?? [];
    const isSameEpoch = epoch === this.epoch;
    const missedCount = this.#seq - Number(seq);
    const missed = isSameEpoch ? this.#kept.filter((kept) => seqOf(kept.position) > Number(seq)) : this.#kept;
    const isComplete = isSameEpoch && missed.length === missedCount;
    const reason = since === '0-0' || (isSameEpoch && missedCount >= 0) ? 'expired' : 'epoch';
    const count = room.isEmpty ? Math.max(1, room.left) : room.left;
    const events = missed.slice(0, count);
    room.left -= events.length;
    room.isEmpty &&= events.length === 0;
    // What nothing fits into is asked for again with the same position; where that one is worth nothing, all is lost.
    const isMore = events.length < missed.length && (events.length > 0 || isComplete);
    return { recovered: isComplete, ...(!isComplete && { reason }), events, ...(isMore && { more: true }) };
  }

  /** The newest events, or the newest before a position; oldest first. */
  page(limit: number, before?: string): { more: boolean; events: readonly Kept[] } {
    const older = before === undefined ? this.#kept : this.#kept.filter((kept) => seqOf(kept.position) < seqOf(before));
    const events = older.slice(-Math.min(limit, EVENTS_MAX));
    return { more: events.length < older.length, events };
  }
}

function seqOf(position: string): number {
  return Number(POSITION.exec(position)?.[2]);
}
