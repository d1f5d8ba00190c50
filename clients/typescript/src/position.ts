/** Where a durable event stands in its topic: `<epoch>-<seq>`. */

/** Whether what stands at `position` was seen by a client that has seen everything up to `seen`. Only within one epoch. */
export function isSeen(position: string, seen: string | undefined): boolean {
  if (seen === undefined) {
    return false;
  }
  const [epoch, seq] = split(position);
  const [seenEpoch, seenSeq] = split(seen);
  // Decimal numbers of up to 64 bits, so that a number of JavaScript would round them.
  return epoch === seenEpoch && (seq.length < seenSeq.length || (seq.length === seenSeq.length && seq <= seenSeq));
}

function split(position: string): [string, string] {
  const dash = position.indexOf('-');
  return [position.slice(0, dash), position.slice(dash + 1)];
}
