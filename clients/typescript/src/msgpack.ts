/** `@fanfare/client/msgpack`: frames in MessagePack, by `@msgpack/msgpack`. */

import { decode, encode } from '@msgpack/msgpack';
import type { Codec } from './index.ts';

/** For `createClient({ codec: msgpack() })`. Integers beyond 2⁵³ come as the nearest number. */
export function msgpack(): Codec {
  return {
    subprotocol: 'fanfare.v1.msgpack',
    encode: (frame) => encode(frame, { ignoreUndefined: true }),
    decode: (message) => decode(message as ArrayBuffer),
  };
}
