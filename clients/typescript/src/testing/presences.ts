/** Who is there, topic by topic: each user once, however many connections. */

export interface Present {
  readonly user: string;
  readonly info?: unknown;
}

interface Place {
  present: Present;
  readonly because: Set<unknown>;
}

export class Presences {
  readonly #topics = new Map<string, Map<string, Place>>();

  /** A user came because of a connection, or of something else. Returns whether she wasn't there before. */
  enter(topic: string, present: Present, because: unknown): boolean {
    const places = this.#topics.get(topic) ?? new Map<string, Place>();
    this.#topics.set(topic, places);
    const place = places.get(present.user) ?? { present, because: new Set() };
    place.present = present;
    place.because.add(because);
    const isNew = !places.has(present.user);
    places.set(present.user, place);
    return isNew;
  }

  /** What a user was there for has gone. Returns her if that was the last of it. */
  leave(topic: string, user: string, because: unknown): Present | undefined {
    const places = this.#topics.get(topic);
    const place = places?.get(user);
    if (!place?.because.delete(because) || place.because.size > 0) {
      return undefined;
    }
    places?.delete(user);
    return place.present;
  }

  count(topic: string): number {
    return this.#topics.get(topic)?.size ?? 0;
  }

  /** A page of those who are there, in the order in which they came. */
  page(topic: string, limit: number, cursor: number): { users: readonly Present[]; cursor?: string } {
    const all = [...(this.#topics.get(topic)?.values() ?? [])].map((place) => place.present);
    const end = cursor + limit;
    return { users: all.slice(cursor, end), ...(end < all.length && { cursor: String(end) }) };
  }
}
