/** Frames in JSON. */

import type { Codec } from './options.ts';

export const json: Codec = {
  subprotocol: 'fanfare.v1.json',
  encode: JSON.stringify,
  decode: (message) => JSON.parse(message as string),
};
