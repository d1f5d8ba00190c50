/** What a client told, one after the other. */

import type { Client, FanfareError, Gap, Store } from '@fanfare/client';

/** The values of a store from now on, the present one first. */
export function valuesOf<T>(store: Store<T>): T[] {
  const values: T[] = [];
  store.subscribe((value) => values.push(value));
  return values;
}

/** What the connection was, in words: `idle`, `connecting`, `connected`, … */
export function statusesOf(client: Pick<Client, 'state'>): string[] {
  const statuses: string[] = [];
  client.state.subscribe(({ status }) => statuses.push(status));
  return statuses;
}

export function errorsOf(client: Pick<Client, 'onError'>): FanfareError[] {
  const errors: FanfareError[] = [];
  client.onError((error) => errors.push(error));
  return errors;
}

export function gapsOf(client: Pick<Client, 'onGap'>): Gap[] {
  const gaps: Gap[] = [];
  client.onGap((gap) => gaps.push(gap));
  return gaps;
}
