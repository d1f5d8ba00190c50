/** A client and its app in their surroundings, to all of which things happen. */

import { type Channel, type Client, createClient, type Gap, type Message, type Off } from '@fanfare/client';
import { vi } from 'vitest';
import { sleeper } from '../../support/wake.ts';
import { type Listener, Model } from './model.ts';
import type { Random } from './random.ts';
import { Surroundings } from './surroundings.ts';
import { arrive, NOW, pass } from './time.ts';
import { CHANNELS, DURABLE, Topics } from './topics.ts';

/** The longest that a client may take to be live again when nothing keeps it: a backoff, or what it was told, and a try. */
const HEALED_MS = 180_000;

export class World {
  readonly transcript: string[] = [];
  readonly model: Model;
  /** What happens to it happens here. */
  readonly around: Surroundings;
  readonly #topics = new Topics();
  readonly #client: Client;
  readonly #lifecycle = sleeper();
  readonly #page = new Map<string, Listener>();
  readonly #components = new Map<string, { listener: Listener; off: Off }>();
  #mounted = 0;
  #wasConnected = false;
  /** `connect()` was called, or the like. */
  #isKept = false;
  #release = () => {};
  /** When the step began, by the model's clock. */
  #stepFrom = 0;
  #user = '42';
  #nextToken: 'none' | 'failure' | 'slow' | 'narrow' | undefined;
  /** How often the backend was asked, by request. */
  readonly #asked = new Map<number, number>();
  #requested = 0;
  #pending = 0;

  constructor(random: Random) {
    this.model = new Model(DURABLE, (what) => this.#say(what));
    this.around = new Surroundings(random, this.#topics, (what) => this.#say(what));
    const { url, WebSocket, fetch } = this.around.gateway;
    this.#client = createClient({
      url,
      WebSocket,
      fetch,
      getToken: () => this.#getToken(),
      lifecycle: this.#lifecycle,
      durable: ['channel:ledger'],
      lingerMs: random.pick([0, 300, 2_500]),
    });
    this.around.gateway.onRequest('echo', (n: number) => this.#answer(n));
    this.#watch();
  }

  step(happens: () => unknown): unknown {
    this.#stepFrom = this.model.now;
    return happens();
  }

  #say(what: string): void {
    this.transcript.push(`${String(Date.now() - NOW).padStart(8)}  ${what}`);
  }

  async #getToken(): Promise<string | null> {
    const next = this.#nextToken;
    this.#nextToken = undefined;
    if (next === 'failure') {
      throw new Error('the backend has failed');
    }
    if (next === 'slow') {
      await new Promise((resolve) => setTimeout(resolve, 3_000));
    }
    const channels = next === 'narrow' ? CHANNELS.filter((name) => name !== this.#topics.busy) : CHANNELS;
    return next === 'none' ? null : this.around.gateway.token({ user: this.#user, channels });
  }

  #answer(n: number): Promise<number> | number {
    this.#asked.set(n, (this.#asked.get(n) ?? 0) + 1);
    if (n % 5 === 0) {
      throw new Error('no');
    }
    if (n % 7 === 0) {
      return new Promise(() => {});
    }
    return n % 3 === 0 ? new Promise((resolve) => setTimeout(() => resolve(n), 400 * (n % 6))) : n;
  }

  /** What the app sees, all the time. */
  #watch(): void {
    const own = ['tenant', 'user:42', 'user:7'];
    const channels = CHANNELS.map((name) => `channel:${name}`);
    for (const topic of [...own, ...channels]) {
      this.#page.set(topic, this.model.listens('page', topic, false));
    }
    this.#client.on('*', (message) => this.model.message(this.#page.get(message.topic) as Listener, message));
    this.#client.onGap((gap) => {
      this.#say(`gap ${gap.lost}/${gap.reason} of ${gap.topic}`);
      this.model.gap(this.#page.get(gap.topic) as Listener, gap, this.around.isOverWebSocket());
      this.model.gapTold(gap);
    });
    this.#client.onError(({ code, message }) => this.#say(`error ${code}: ${message}`));
    let isClosed = false;
    this.#client.state.subscribe((state) => {
      this.#say(`the client is ${state.status}${'transport' in state ? ` over ${state.transport}` : ''}`);
      const isConnected = state.status === 'connected';
      if (isClosed && state.status !== 'closed') {
        this.model.beginsAnew();
      }
      isClosed = state.status === 'closed';
      if (!isConnected) {
        this.#loseAll();
      }
      if (this.#wasConnected && !isConnected) {
        this.model.disconnected();
      }
      this.#wasConnected = isConnected;
      if (isConnected) {
        this.model.stands('tenant');
        this.model.stands(`user:${state.user}`);
        this.model.connected(state.resumed);
        if (this.around.isQuiet()) {
          // What happened before this step is over.
          this.model.check('connected', this.#live(), this.#stepFrom);
        }
      }
    });
    for (const name of CHANNELS) {
      const topic = `channel:${name}`;
      this.#client.channel(name).state.subscribe(({ status }) => {
        this.#say(`${topic} is ${status}`);
        if (status === 'subscribed') {
          this.model.stands(topic);
        } else if (status === 'idle') {
          this.model.ends(topic);
        } else {
          this.model.loses(topic);
        }
      });
    }
  }

  #loseAll(): void {
    for (const topic of this.#page.keys()) {
      this.model.loses(topic);
    }
  }

  publish(draw: Random): void {
    const topic = this.#topics.any(draw);
    const isDurable = DURABLE.includes(topic) || draw.chance(0.6);
    const count = draw.chance(0.3) ? 1 + draw.below(9) : 1;
    for (let each = 0; each < count; each++) {
      const n = this.model.published(topic, isDurable);
      this.#say(`publish ${isDurable ? 'durable' : 'ephemeral'} ${topic} #${n}`);
      this.around.gateway.publish(topic, { type: 'event', data: { n } }, { durable: isDurable });
    }
  }

  /** Events that come while other things happen. */
  traffic(draw: Random): void {
    const withinMs = draw.pick([500, 5_000, 5_000, 20_000]);
    for (let count = 3 + draw.below(10); count > 0; count--) {
      setTimeout(() => this.publish(draw), draw.below(withinMs));
    }
  }

  mount(draw: Random): void {
    const channel = this.#client.channel(this.#topics.anyChannel(draw));
    this.#topics.busy = channel.name;
    const { topic } = channel;
    this.#mounted += 1;
    const name = `component ${this.#mounted}`;
    const listener = this.model.listens(name, topic, channel.state.get().status === 'idle');
    const throws = draw.chance(0.1);
    const told = (told: () => void) => {
      told();
      if (throws) {
        throw new Error(`${name} always throws`);
      }
    };
    const looks = draw.chance(0.3);
    this.#say(`${name} mounts on ${topic}${looks ? ', and looks who is there' : ''}`);
    const offs = [
      channel.on('*', (message: Message) => told(() => this.model.message(listener, message))),
      channel.onGap((gap: Gap) => told(() => this.model.gap(listener, gap, this.around.isOverWebSocket()))),
      ...(looks ? [channel.presence.subscribe(() => {})] : []),
    ];
    const off = () => {
      for (const each of offs) {
        each();
      }
    };
    this.#components.set(name, { listener, off });
  }

  unmount(draw: Random): void {
    const name = draw.pick([...this.#components.keys(), '']);
    const component = this.#components.get(name);
    if (component) {
      this.#say(`${name} leaves ${component.listener.topic}`);
      this.model.leaves(component.listener);
      component.off();
      this.#components.delete(name);
      this.#topics.busy = this.#channel(component.listener.topic).name;
    }
  }

  async wait(draw: Random): Promise<void> {
    // Most happens while messages are under way.
    const underWay = 3 * this.around.gateway.latencyMs;
    const ms = draw.below(draw.pick([20, 400, 3_000, 20_000, 90_000, underWay, underWay, underWay]) + 1);
    this.#say(`${ms} ms pass`);
    await pass(ms);
  }

  /** Nothing is under way by now. */
  async look(): Promise<void> {
    const sent = () => this.#client.health.get().sent;
    await pass(this.around.quietInMs());
    // Until the client has nothing to say any more, such as to ask for the rest of what was missed.
    let happened = 0;
    for (let before = -1, rounds = 0; before < sent(); rounds++) {
      if (rounds === 60) {
        this.model.violated('the client talks without end');
        return;
      }
      before = sent();
      happened = this.model.now;
      await pass(2 * this.around.gateway.latencyMs + 100);
    }
    this.#check('by now', happened);
  }

  /** Of what was published until `before`, by the model's clock, nothing is under way. */
  #check(when: string, before: number): boolean {
    const state = this.#client.state.get();
    const connection = this.around.gateway.connections.find(
      ({ id }) => 'connection' in state && id === state.connection,
    );
    const isLive = connection !== undefined && this.around.reaches(connection.id);
    if (isLive) {
      const topics = this.#live();
      this.model.check(when, topics, before);
      for (const topic of topics.filter((topic) => !connection.topics.includes(topic))) {
        this.model.violated(`${when}: ${topic} is subscribed, but not on this connection`);
      }
      for (const topic of this.#unanswered()) {
        this.model.violated(`${when}: ${topic} is neither subscribed nor failed`);
      }
    }
    return isLive;
  }

  /** What is subscribed, as the client says. */
  #live(): string[] {
    const state = this.#client.state.get();
    const channels = CHANNELS.map((name) => this.#client.channel(name));
    const subscribed = channels.filter(({ state }) => state.get().status === 'subscribed').map(({ topic }) => topic);
    return state.status === 'connected' ? ['tenant', `user:${state.user}`, ...subscribed] : [];
  }

  /** What somebody waits for. */
  #unanswered(): string[] {
    const topics = new Set([...this.#components.values()].map(({ listener }) => listener.topic));
    return [...topics].filter((topic) => this.#channel(topic).state.get().status === 'subscribing');
  }

  token(draw: Random): void {
    this.#nextToken = draw.pick(['none', 'failure', 'slow', 'narrow', 'narrow']);
    this.#say(`the next token: ${this.#nextToken}`);
  }

  refreshToken(): void {
    this.#say('refreshToken()');
    this.#client.refreshToken().catch(() => {});
  }

  wake(): void {
    this.#say('the page wakes');
    this.#lifecycle.wake();
  }

  reconnect(): void {
    this.#say('reconnect()');
    this.#isKept ||= ['closed', 'failed', 'idle'].includes(this.#client.state.get().status);
    this.#loseAll();
    this.#client.reconnect();
  }

  /** Somebody else may be the next. */
  logout(draw: Random): void {
    this.#user = draw.pick(['42', '42', '7']);
    this.#say(`disconnect(); the next user is ${this.#user}`);
    this.#isKept = false;
    this.#client.disconnect();
    this.model.endsAll();
  }

  login(): void {
    this.#say('connect()');
    this.#isKept = true;
    this.#client.connect();
  }

  request(draw: Random): void {
    this.#requested += 1;
    const n = 1_000 * this.#requested + draw.below(1_000);
    this.#say(`request ${n}`);
    this.#pending += 1;
    this.#client
      .request('echo', n)
      .then(
        (answer) => answer === n || this.model.violated(`request ${n} was answered with ${answer}`),
        ({ code }) => this.#say(`request ${n}: ${code}`),
      )
      .finally(() => {
        this.#pending -= 1;
      });
  }

  ownPublish(draw: Random): void {
    const channel = this.#client.channel(this.#topics.anyChannel(draw));
    const isDurable = DURABLE.includes(channel.topic) || draw.chance(0.5);
    const n = this.model.published(channel.topic, isDurable, true);
    this.#say(`the app publishes ${isDurable ? 'durable' : 'ephemeral'} ${channel.topic} #${n}`);
    this.#pending += 1;
    channel
      .publish('event', { n }, { durable: isDurable })
      .then(
        () => this.model.confirmed(n),
        ({ code }) => this.#say(`#${n}: ${code}`),
      )
      .finally(() => {
        this.#pending -= 1;
      });
  }

  /** Everything is well again, perhaps but for WebSockets; the client comes back by itself, unless it was told not to. */
  async heal(random: Random): Promise<void> {
    // The last of the traffic.
    await pass(20_000);
    this.#say('all is well again');
    this.around.heal(random);
    this.#nextToken = undefined;
    await pass(this.around.quietInMs() + 100);
    this.#release = this.#client.retain();
    for (let ms = 0; ms < HEALED_MS && !this.#isWell(); ms += 1_000) {
      this.#tryAgain();
      await pass(1_000);
    }
    await pass(this.#pending > 0 ? 11_000 : 0);
    await this.look();
    if (!this.#isWell() || !this.#check('at the end', this.model.now)) {
      this.model.violated(`not live again after ${HEALED_MS} ms`);
    }
    if (this.#pending > 0) {
      this.model.violated(`${this.#pending} calls were never answered`);
    }
    for (const [n, times] of this.#asked) {
      if (times > 1) {
        this.model.violated(`request ${n} was made ${times} times`);
      }
    }
  }

  /** What only the app can do. */
  #tryAgain(): void {
    const { status } = this.#client.state.get();
    if (['closed', 'failed', 'idle'].includes(status)) {
      this.#isKept = true;
      this.#client.reconnect();
    }
    const states = CHANNELS.map((name) => this.#client.channel(name).state.get());
    if (status === 'connected' && states.some((state) => state.status === 'failed' && !state.error.retryable)) {
      // Perhaps the last token didn't allow it.
      this.#client.refreshToken().catch(() => {});
    }
  }

  #isWell(): boolean {
    const topics = [...this.#components.values()].map(({ listener }) => listener.topic);
    return (
      this.#client.state.get().status === 'connected' &&
      topics.every((topic) => this.#channel(topic).state.get().status === 'subscribed') &&
      this.around.alive().length > 0
    );
  }

  /** Nobody needs anything any more, so nothing is left. */
  async end(): Promise<void> {
    this.#say('everybody leaves');
    for (const { listener, off } of this.#components.values()) {
      this.model.leaves(listener);
      off();
    }
    await pass(3_000);
    const isLeft = this.around.alive().some(({ topics, transport }) => transport === 'websocket' && topics.length > 2);
    if (isLeft) {
      this.model.violated(`still subscribed: ${this.around.alive().map(({ topics }) => topics)}`);
    }
    this.#release();
    if (this.#isKept) {
      this.#client.disconnect();
    }
    // As long as a backend may take.
    await pass(11_000);
    if (this.around.alive().length > 0) {
      this.model.violated(`${this.around.alive().length} connections are left`);
    }
    if (this.#lifecycle.listeners > 0) {
      this.model.violated(`${this.#lifecycle.listeners} listeners are left`);
    }
    // Those that are dead the gateway has not given up yet.
    this.around.gateway.drop();
    await arrive();
    if (vi.getTimerCount() > 0) {
      this.model.violated(`${vi.getTimerCount()} timers are left`);
    }
  }

  #channel(topic: string): Channel<string> {
    return this.#client.channel(topic.slice('channel:'.length));
  }
}
