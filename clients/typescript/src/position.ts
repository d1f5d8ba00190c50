/** Where a durable event stands in its topic: `<epoch>-<seq>`. */

/** More digits than 64 bits have. */
const DIGITS = 20;

/** Whether what stands at `position` was seen by a client that has seen everything up to `seen`. Only within one epoch. */
export function isSeen(position: string, seen = ''): boolean {
  const [epoch, seq = ''] = position.split('-');
  const [seenEpoch, seenSeq = ''] = seen.split('-');
  // As text, since a number of JavaScript would round them.
  return epoch === seenEpoch && seq.padStart(DIGITS, '0') <= seenSeq.padStart(DIGITS, '0');
}
