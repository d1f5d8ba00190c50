/** From what a Redis client throws to an error of this library. Deliberately without a list of each client's classes. */

import { FanfareError, wordsOf } from '../errors.ts';

const FUNCTIONS_MISSING = /function not found/i;
/** Redis begins every refusal with a word in capitals; what clients say by themselves doesn't. */
const REFUSAL = /^(?:ReplyError: )?([A-Z][A-Z0-9]+) /;
/** Refusals that time heals. */
const PASSING = ['LOADING', 'READONLY', 'MASTERDOWN', 'CLUSTERDOWN', 'TRYAGAIN', 'BUSY', 'NOREPLICAS', 'MOVED', 'ASK'];

/** What kept a command from doing what it should. */
export function failureOf(error: unknown): FanfareError {
  if (error instanceof FanfareError) {
    return error;
  }
  const words = wordsOf(error);
  if (FUNCTIONS_MISSING.test(words)) {
    return new FanfareError(
      'functions_missing',
      'the function library `fanfare` is not loaded into this Redis: start a node, or run `fanfare functions load`',
      { cause: error, retryable: true },
    );
  }
  const refusal = refusalOf(error);
  if (refusal && !PASSING.includes(refusal)) {
    return new FanfareError('refused', `Redis refused: ${words}`, { cause: error });
  }
  const what = refusal ? `Redis can't do it now: ${words}` : `Redis can't be reached: ${words}`;
  return new FanfareError('unavailable', what, { cause: error, retryable: true });
}

/** The word that a refusal of Redis begins with; undefined when it didn't come from Redis. */
export function refusalOf(error: unknown): string | undefined {
  return REFUSAL.exec(wordsOf(error))?.[1];
}
