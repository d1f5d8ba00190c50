/** What a client does when its connection has ended with a code (docs/protocol.md). */

import type { FailureReason } from './states.ts';

/** For those that mean: don't come back. A code that isn't here is a failure of the network or of the node. */
const FINAL: Readonly<Record<number, FailureReason>> = {
  1000: 'ended',
  1002: 'protocol',
  1003: 'protocol',
  1007: 'protocol',
  1009: 'protocol',
  4400: 'protocol',
  4403: 'forbidden',
};

/** The token was refused. */
export const NOT_AUTHENTICATED = 4401;
/** The token has expired. */
export const EXPIRED = 4409;

const CODES: Readonly<Record<number, string>> = { 4401: 'unauthenticated', 4403: 'forbidden', 4429: 'rate_limited' };

/** Why not to come back; undefined when the client shall. `mayReturn`: what the node's `disconnect` said. */
export function finalReason(code: number, mayReturn: boolean | undefined): FailureReason | undefined {
  if (code === NOT_AUTHENTICATED || mayReturn === true) {
    return undefined;
  }
  return FINAL[code] ?? (mayReturn === false ? 'ended' : undefined);
}

/** Of the error that tells why there is no connection. */
export function errorCode(code: number): string {
  return CODES[code] ?? 'connection_lost';
}
