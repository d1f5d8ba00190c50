/** The topics of a world: which there are, what they carry, and which is talked about now. */

import type { Random } from './random.ts';

/** `audit` is durable by the operator's rule, `ledger` as the app says, and in the others there is both. */
export const CHANNELS = ['orders', 'board', 'audit', 'ledger'] as const;
export const DURABLE = ['channel:audit', 'channel:ledger'];

export class Topics {
  /** The channel that somebody came to or left last: there is most of the traffic. */
  busy = 'orders';

  anyChannel(draw: Random): string {
    return draw.chance(0.5) ? this.busy : draw.pick(CHANNELS);
  }

  any(draw: Random): 'tenant' {
    return (
      draw.chance(0.7) ? `channel:${this.anyChannel(draw)}` : draw.pick(['tenant', 'user:42', 'user:7'])
    ) as 'tenant';
  }
}
