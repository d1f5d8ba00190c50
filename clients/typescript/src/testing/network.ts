/** What lies between clients and the gateway, and what may be wrong with it. */

/** The network of one gateway. */
export class Network {
  /** How long a message is under way, in each direction. */
  latencyMs = 0;
  /** Nobody answers: connections are refused. */
  isStopped = false;
  /** WebSockets are refused, as some proxies do; HTTP gets through. */
  blocksWebSockets = false;
  /** Nothing gets through, and nobody is told. */
  isFrozen = false;
  /** What was connected before the last freeze is dead for ever, as a connection whose route has changed. */
  #freezes = 0;

  freeze(): void {
    this.isFrozen = true;
    this.#freezes += 1;
  }

  /** A way that messages take from now on. */
  way(): Way {
    const freezes = this.#freezes;
    return new Way(this, () => this.isFrozen || freezes !== this.#freezes);
  }
}

/** One direction of a connection: messages arrive in order, and never at once. */
export class Way {
  readonly #underWay: (() => void)[] = [];

  constructor(
    private readonly network: Network,
    private readonly isCut: () => boolean,
  ) {}

  get isDead(): boolean {
    return this.isCut();
  }

  send(arrive: () => void): void {
    this.#underWay.push(arrive);
    const next = () => {
      const first = this.#underWay.shift();
      if (!this.isDead) {
        first?.();
      }
    };
    if (this.network.latencyMs > 0) {
      setTimeout(next, this.network.latencyMs);
    } else {
      Promise.resolve().then(next);
    }
  }
}
