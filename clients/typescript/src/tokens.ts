/** The one way to a token, for every way to open a connection. */

import { FanfareError } from './error.ts';
import type { ClientOptions, TokenRequest } from './options.ts';

/** A token is renewed when a tenth of its life is left, and no sooner than so many ms before its end. */
const RENEW_BEFORE_MS = 60_000;
/** A token that no node has seen yet is good for so long, in ms. */
const UNTRIED_MS = 30_000;
/** Fresh tokens in a row that may be refused. */
const REFUSALS_MAX = 2;

export function createTokens(getToken: ClientOptions['getToken'], timeoutMs: number) {
  let token: string | undefined;
  /** By this machine's clock, Unix ms. */
  let expiresAt = 0;
  let renewAt = 0;
  let fetching: Promise<string | null> | undefined;
  let refusals = 0;

  async function fetch(reason: TokenRequest['reason']): Promise<string | null> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      const fetched = await Promise.race([
        getToken({ reason }),
        new Promise<never>((_, reject) => {
          timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
        }),
      ]);
      if (fetched !== null && typeof fetched !== 'string') {
        throw new TypeError('not a string');
      }
      return fetched;
    } catch (cause) {
      throw new FanfareError('token', `getToken failed: ${cause}`, { cause });
    } finally {
      clearTimeout(timer);
    }
  }

  /** The next connection may need it before the node has said what it thinks of it. */
  function keep(fetched: string | null): void {
    fetching = undefined;
    token = fetched ?? undefined;
    renewAt = Date.now() + UNTRIED_MS;
  }

  /** It expired, or the node doesn't believe it any more. */
  function expire(): void {
    token = undefined;
  }

  return {
    expire,
    /** The last one, when the node has taken it and it isn't about to expire; or else a fresh one, fetched once for all. */
    async get(reason: 'connect' | 'renew'): Promise<string | null> {
      if (reason === 'connect' && token !== undefined && Date.now() < renewAt) {
        return token;
      }
      if (!fetching) {
        const mine = fetch(refusals > 0 ? 'refused' : reason);
        fetching = mine;
        const isMine = () => fetching === mine;
        mine.then(
          (fetched) => isMine() && keep(fetched),
          () => isMine() && keep(null),
        );
      }
      return fetching;
    },
    /** The node took it. Its life is counted by the node's clock, since a page's own may be wrong. */
    accepted(taken: string, lifeMs: number): void {
      token = taken;
      refusals = 0;
      expiresAt = Date.now() + lifeMs;
      renewAt = expiresAt - Math.min(RENEW_BEFORE_MS, lifeMs / 10);
    },
    /** How long until it should be renewed, in ms. Never so often that a failing `getToken` is asked without a pause. */
    renewInMs(): number {
      const now = Date.now();
      return now < renewAt ? renewAt - now : Math.max(1_000, (expiresAt - now) / 2);
    },
    /** The node refused it; says whether another one may be tried. */
    refused(): boolean {
      expire();
      refusals += 1;
      return refusals < REFUSALS_MAX;
    },
    /** A new start, perhaps as somebody else. */
    forget(): void {
      expire();
      refusals = 0;
      fetching = undefined;
    },
  };
}
