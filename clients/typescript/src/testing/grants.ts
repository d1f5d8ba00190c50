/** Who a token is for and what it allows. */

/** What a token says. Everything may be left out: then its owner may do everything. */
export interface TokenGrant {
  /** Default: the gateway's `user`. */
  user?: string;
  /** Patterns of the names of channels that may be subscribed: `orders`, `team.*`, `**`. */
  channels?: readonly string[];
  /** Patterns of topics that may be published to: `channel:cursors:*`. */
  publish?: readonly string[];
  /** Patterns of methods that may be asked for. */
  methods?: readonly string[];
  /** Topics that the gateway subscribes by itself. */
  subscribe?: readonly string[];
  /** What others see of the user in presence. */
  info?: unknown;
  /** How long it is good for, from now on. Default: the gateway's `tokenTtlMs`. */
  ttlMs?: number;
}

/** A token that was believed. */
export interface Grant extends Required<Omit<TokenGrant, 'ttlMs' | 'info'>> {
  readonly info: unknown;
  /** Unix ms. */
  readonly expiresAt: number;
}

const ALL = ['**'];

/** The tokens of one gateway. Those that it did not mint are good as well, for the default user. */
export class Grants {
  readonly #minted = new Map<string, Grant>();
  /** So many of the next tokens are refused. */
  refusals = 0;

  constructor(
    private readonly user: string,
    private readonly ttlMs: number,
  ) {}

  mint(grant: TokenGrant): string {
    const token = `fake-token-${this.#minted.size + 1}`;
    this.#minted.set(token, this.#granted(grant));
    return token;
  }

  /** Everything that was minted is out of date from now on. */
  expireAll(): void {
    for (const [token, grant] of this.#minted) {
      this.#minted.set(token, { ...grant, expiresAt: Math.min(grant.expiresAt, Date.now()) });
    }
  }

  /** The grant, or why the token isn't believed. */
  judge(token: unknown): Grant | string {
    if (typeof token !== 'string' || token === '') {
      return 'send a token';
    }
    if (this.refusals > 0) {
      this.refusals -= 1;
      return 'the token is refused';
    }
    const grant = this.#minted.get(token) ?? this.#granted({});
    return grant.expiresAt <= Date.now() ? 'the token has expired' : grant;
  }

  #granted({ ttlMs = this.ttlMs, ...grant }: TokenGrant): Grant {
    const everything = { user: this.user, channels: ALL, publish: ALL, methods: ALL, subscribe: [], info: undefined };
    return { ...everything, ...grant, expiresAt: Date.now() + ttlMs };
  }
}

/** Whether a topic may be subscribed to: the tenant's and the own one always. */
export function maySubscribe(grant: Grant, topic: string): boolean {
  const isGiven = topic === 'tenant' || topic === `user:${grant.user}` || grant.subscribe.includes(topic);
  return isGiven || (topic.startsWith('channel:') && matches(grant.channels, topic.slice('channel:'.length)));
}

/** `*` stands for anything within a segment and `**` for anything at all; segments end at `:`, `.` and `/`. */
export function matches(patterns: readonly string[], text: string): boolean {
  const part = (literal: string) => literal.replace(/[\\^$+?.()|[\]{}]/g, '\\$&').replaceAll('*', '[^:./]*');
  return patterns.some((pattern) => new RegExp(`^${pattern.split('**').map(part).join('.*')}$`, 's').test(text));
}
