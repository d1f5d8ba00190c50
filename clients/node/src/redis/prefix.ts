/** The prefix of all keys. Deliberately with nodes' own rule for it. */

import { InvalidArgumentError } from '../errors.ts';

const PREFIX_BYTES_MAX = 64;

/** Throws unless nodes would take it as `redis_prefix`. */
export function checkPrefix(prefix: unknown): asserts prefix is string {
  if (typeof prefix !== 'string' || !/^[A-Za-z0-9_.:/-]+$/.test(prefix) || prefix.length > PREFIX_BYTES_MAX) {
    throw new InvalidArgumentError(
      'prefix',
      `must be 1 to ${PREFIX_BYTES_MAX} of A-Z, a-z, 0-9 and _ - . : /, such as fanfare`,
    );
  }
  if (prefix.endsWith(':')) {
    throw new InvalidArgumentError('prefix', 'ends with `:`, which is added anyway: leave it out');
  }
}
