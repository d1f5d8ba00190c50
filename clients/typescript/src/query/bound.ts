/** What belongs to a query client, wherever it was made. Deliberately without what it does. */

import type { Client } from '../index.ts';

/** Which client keeps its queries live. */
export const clients = new WeakMap<object, Client>();

/** Lets its data be changed as if nothing optimistic were shown, while something is. */
export const beneath = new WeakMap<object, (change: () => void) => void>();
