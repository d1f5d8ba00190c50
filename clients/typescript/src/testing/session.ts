/** One connection, as the gateway sees it: what its frames do. */

import {
  AUTH_WITHIN_MS,
  CODES,
  EXPIRY_GRACE_MS,
  FEATURES,
  FINAL,
  LIMITS,
  PRESENT,
  PRESENT_MAX,
  REASONS,
  REQUEST_MS,
  REQUEST_MS_MAX,
  TIMER_MS_MAX,
  UNANSWERED_PINGS_MAX,
} from './defaults.ts';
import { countIn, envelopeIn, type Frame, isFrame, isMap, Refusal, textIn, topicIn } from './frame.ts';
import { type Grant, matches, maySubscribe } from './grants.ts';
import { isPosition, type Room } from './history.ts';
import type { FakeNode } from './node.ts';

/** How frames get to the client. */
export interface Peer {
  readonly transport: 'websocket' | 'sse' | 'command';
  send(frame: Frame): void;
  /** Ends the connection. 1006: without a word. */
  close(code: number, reason: string): void;
}

/** What the gateway says before it closes a connection. */
export interface Farewell {
  /** The close code (docs/protocol.md). */
  code: number;
  /** Default: what the node says for this code. */
  reason?: string;
  /** Default: as the code says. */
  reconnect?: boolean;
  /** Default 0. */
  after_ms?: number;
}

type Timer = ReturnType<typeof setTimeout>;

export class Session {
  readonly id: string;
  /** What it is subscribed to. */
  readonly topics = new Set<string>();
  /** The frames that came from it. */
  readonly received: Frame[] = [];
  readonly #watched = new Set<string>();
  readonly #requests = new Set<Timer>();
  #grant: Grant | undefined;
  #isOpen = true;
  #expiry: Timer | undefined;
  #watch: Timer | undefined;
  #heardAt = Date.now();
  #sentAt = Date.now();
  #pingedAt = 0;
  #unansweredPings = 0;

  constructor(
    private readonly node: FakeNode,
    private readonly peer: Peer,
  ) {
    this.id = peer.transport === 'command' ? '' : node.name();
    if (peer.transport === 'websocket') {
      this.#expiry = setTimeout(() => this.disconnect({ code: 4401, reason: 'no token in time' }), AUTH_WITHIN_MS);
    }
    if (peer.transport !== 'command') {
      node.sessions.add(this);
    }
  }

  get transport(): Peer['transport'] {
    return this.peer.transport;
  }

  /** Who it is; undefined until the token came. */
  get user(): string | undefined {
    return this.#grant?.user;
  }

  /** Whether it is told who is there. */
  watches(topic: string): boolean {
    return this.#watched.has(topic);
  }

  send(frame: Frame): void {
    if (this.#isOpen) {
      this.#sentAt = Date.now();
      this.peer.send(frame);
    }
  }

  /** A message from the client. */
  receive(frame: unknown): void {
    if (!this.#isOpen) {
      return;
    }
    this.#heardAt = Date.now();
    this.#unansweredPings = 0;
    if (!isFrame(frame)) {
      this.disconnect({ code: 4400 });
      return;
    }
    this.node.received.push(frame);
    this.received.push(frame);
    this.do(frame);
  }

  /** Does what a frame asks for, and answers. */
  do(frame: Frame): void {
    try {
      this.#do(frame);
    } catch (error) {
      this.#refuse(frame, error);
    }
  }

  /** Takes a token as good, and the connection in. */
  admit(grant: Grant, since: Readonly<Record<string, unknown>> = {}): void {
    const own = ['tenant', `user:${grant.user}`, ...grant.subscribe];
    const wrong = own.find((topic) => since[topic] !== undefined && !isPosition(since[topic]));
    if (wrong !== undefined) {
      throw new Refusal('bad_frame', 'since is no position', wrong);
    }
    this.as(grant);
    this.#expireAt(grant.expiresAt);
    this.#watchSilence();
    const { options } = this.node;
    const room = this.#room();
    const topics = own.map((topic) => this.#stand(topic, since[topic] as string | undefined, room));
    this.send({
      op: 'welcome',
      version: 1,
      features: FEATURES,
      connection: this.id,
      node: 'fake',
      tenant: options.tenant,
      user: grant.user,
      expires_at: grant.expiresAt,
      server_time: Date.now(),
      ping_ms: options.pingMs,
      limits: LIMITS,
      topics,
    });
  }

  /** Whose frames these are. */
  as(grant: Grant): void {
    this.#grant = grant;
  }

  /** Says farewell and closes. */
  disconnect({ code, reason = REASONS[code] ?? '', reconnect = !FINAL.includes(code), after_ms = 0 }: Farewell): void {
    this.send({ op: 'disconnect', code, reason, reconnect, after_ms });
    this.drop(code, reason);
  }

  /** Closes without a frame before. */
  drop(code: number, reason: string): void {
    if (this.#isOpen) {
      this.ended();
      this.peer.close(code, reason);
    }
  }

  /** The client has gone, or is to be forgotten. */
  ended(): void {
    this.#isOpen = false;
    this.node.sessions.delete(this);
    for (const timer of [this.#expiry, this.#watch, ...this.#requests]) {
      clearTimeout(timer);
    }
    for (const topic of this.#watched) {
      this.#unwatch(topic);
    }
    this.topics.clear();
  }

  #do(frame: Frame): void {
    if (frame.id !== undefined && !Number.isInteger(frame.id)) {
      throw new Refusal(
        'bad_frame',
        '`id` must be an integer',
        typeof frame.topic === 'string' ? frame.topic : undefined,
      );
    }
    if (frame.op === 'auth') {
      this.#auth(frame);
    } else if (frame.op === 'ping') {
      this.send({ op: 'pong' });
    } else if (frame.op !== 'pong') {
      if (!this.#grant) {
        throw new Refusal('unauthenticated', 'send auth first');
      }
      this.#doAs(this.#grant, frame);
    }
  }

  #doAs(grant: Grant, frame: Frame): void {
    const deeds = new Map([
      ['subscribe', this.#subscribe],
      ['unsubscribe', this.#unsubscribe],
      ['publish', this.#publish],
      ['history', this.#history],
      ['presence', this.#presence],
      ['request', this.#request],
    ]);
    const deed = deeds.get(frame.op);
    if (!deed) {
      throw new Refusal('bad_frame', `unknown op ${JSON.stringify(frame.op)}`);
    }
    deed.call(this, frame, grant);
  }

  #auth(frame: Frame): void {
    const judged = this.node.grants.judge(textIn(frame, 'token'));
    if (!this.#grant) {
      if (typeof judged === 'string') {
        this.disconnect({ code: 4401, reason: judged });
      } else {
        this.admit(judged, isMap(frame.since) ? frame.since : {});
      }
      return;
    }
    if (typeof judged === 'string') {
      throw new Refusal('unauthenticated', judged);
    }
    if (judged.user !== this.#grant.user) {
      throw new Refusal('forbidden', "the new token is another user's; the old one stays");
    }
    this.as(judged);
    this.#expireAt(judged.expiresAt);
    this.send({ op: 'renewed', expires_at: judged.expiresAt });
    for (const topic of this.topics) {
      if (!maySubscribe(judged, topic)) {
        this.topics.delete(topic);
        this.#unwatch(topic);
        this.send({ op: 'unsubscribed', topic, code: 'forbidden' });
      }
    }
  }

  #subscribe(frame: Frame, grant: Grant): void {
    const room = this.#room();
    for (const item of Array.isArray(frame.topics) ? frame.topics : [frame]) {
      try {
        if (!isMap(item)) {
          throw new Refusal('bad_frame', '`topics` must be a list of maps');
        }
        const topic = this.#readable(item, grant);
        if (item.since !== undefined && !isPosition(item.since)) {
          throw new Refusal('bad_frame', 'since is no position', topic);
        }
        this.send({ op: 'subscribed', ...idOf(frame), ...this.#stand(topic, item.since as string | undefined, room) });
        if (item.presence === true && !this.#watched.has(topic)) {
          this.#watched.add(topic);
          const { user, info } = grant;
          this.node.enter(topic, { user, ...(info !== undefined && { info }) }, this);
        }
      } catch (error) {
        this.#refuse(frame, error);
      }
    }
  }

  #unsubscribe(frame: Frame, grant: Grant): void {
    const topic = topicIn(frame);
    if (topic === 'tenant' || topic === `user:${grant.user}`) {
      throw new Refusal('forbidden', 'a connection is always on its tenant and its user', topic);
    }
    this.topics.delete(topic);
    this.#unwatch(topic);
    this.send({ op: 'unsubscribed', ...idOf(frame), topic });
  }

  #publish(frame: Frame, grant: Grant): void {
    const topic = topicIn(frame);
    if (!matches(grant.publish, topic)) {
      throw new Refusal('forbidden', 'this token may not publish to this topic', topic);
    }
    this.node.check(topic, topic);
    const event = envelopeIn(frame.event, topic);
    if (event.except !== undefined && event.except !== this.id) {
      throw new Refusal('forbidden', 'except may only name the connection itself', topic);
    }
    this.node.publish(topic, event, frame.durable === true, (position) =>
      this.send({ op: 'published', ...idOf(frame), ...(position && { position }) }),
    );
  }

  #history(frame: Frame, grant: Grant): void {
    const topic = this.#readable(frame, grant);
    const limit = countIn(frame, 'limit');
    if (limit === undefined) {
      throw new Refusal('bad_frame', '`limit` must be there', topic);
    }
    if (frame.before !== undefined && !isPosition(frame.before)) {
      throw new Refusal('bad_frame', 'before is no position', topic);
    }
    const page = this.node.history(topic).page(limit, frame.before as string | undefined);
    this.send({ op: 'history', ...idOf(frame), topic, ...page });
  }

  #presence(frame: Frame, grant: Grant): void {
    const topic = this.#readable(frame, grant);
    const limit = Math.min(countIn(frame, 'limit') ?? PRESENT, PRESENT_MAX);
    this.send({ op: 'presence', ...idOf(frame), ...this.node.present(topic, limit, Number(frame.cursor ?? 0)) });
  }

  #request(frame: Frame, grant: Grant): void {
    const method = textIn(frame, 'method');
    if (this.transport !== 'command' && !Number.isInteger(frame.id)) {
      throw new Refusal('bad_frame', '`id` must be an integer');
    }
    if (!matches(grant.methods, method)) {
      throw new Refusal('forbidden', 'this token does not allow this method');
    }
    this.node.check(method);
    const handler = this.node.handlers.get(method);
    if (!handler) {
      throw new Refusal('no_backend', 'nobody took the request');
    }
    const traceparent = typeof frame.traceparent === 'string' ? frame.traceparent : undefined;
    const asker = { user: grant.user, connection: this.id, traceparent };
    const run = async () => structuredClone(await handler(structuredClone(frame.data ?? null), asker));
    const late = () => answer(() => this.#refuse(frame, new Refusal('timeout', 'no backend has answered in time')));
    const timer = setTimeout(late, Math.min(countIn(frame, 'timeout_ms') ?? REQUEST_MS, REQUEST_MS_MAX));
    this.#requests.add(timer);
    const answer = (tell: () => void) => {
      if (this.#requests.delete(timer)) {
        clearTimeout(timer);
        tell();
      }
    };
    run().then(
      (data) => answer(() => this.send({ op: 'reply', ...idOf(frame), data: data ?? null })),
      (error) => answer(() => this.#refuse(frame, error)),
    );
  }

  /** The topic of a frame that only those may send who may subscribe to it. */
  #readable(item: Readonly<Record<string, unknown>>, grant: Grant): string {
    const topic = topicIn(item);
    if (!maySubscribe(grant, topic)) {
      throw new Refusal('forbidden', 'this token may not subscribe to this topic', topic);
    }
    this.node.check(topic, topic);
    return topic;
  }

  /** Subscribes. Returns how the topic stands, and what was missed. */
  #stand(topic: string, since: string | undefined, room: Room): Omit<Frame, 'op'> {
    this.topics.add(topic);
    const history = this.node.history(topic);
    return {
      topic,
      position: history.position,
      ...(since !== undefined && history.after(since, room)),
      ...(this.node.isDurable(topic) && { durable: true }),
    };
  }

  #room(): Room {
    return { left: this.node.options.answerEvents, isEmpty: true };
  }

  #unwatch(topic: string): void {
    if (this.#watched.delete(topic)) {
      this.node.leave(topic, this.#grant?.user ?? '', this);
    }
  }

  /** What a handler threw counts by its `code`, if that is one of the contract's. */
  #refuse(frame: Frame, error: unknown): void {
    const { code, message } = (isMap(error) ? error : {}) as { code?: string; message?: string };
    const topic = error instanceof Refusal ? error.topic : undefined;
    this.send({
      op: 'error',
      ...idOf(frame),
      ...(topic !== undefined && { topic }),
      code: code && CODES.includes(code) ? code : 'internal',
      message: message ?? String(error),
    });
  }

  #expireAt(at: number): void {
    clearTimeout(this.#expiry);
    const inMs = at + EXPIRY_GRACE_MS - Date.now();
    const due = () => (inMs > TIMER_MS_MAX ? this.#expireAt(at) : this.disconnect({ code: 4409 }));
    this.#expiry = setTimeout(due, Math.min(inMs, TIMER_MS_MAX));
  }

  /** Pings when nothing was heard, or sent, for a while. A stream's client has no way to answer, and is never missed. */
  #watchSilence(): void {
    const { pingMs } = this.node.options;
    const nextAt = () => this.#quietSince() + pingMs;
    const look = () => {
      if (nextAt() <= Date.now()) {
        if (this.#unansweredPings >= UNANSWERED_PINGS_MAX) {
          this.disconnect({ code: 4408 });
          return;
        }
        this.#pingedAt = Date.now();
        this.#unansweredPings += this.transport === 'sse' ? 0 : 1;
        this.send({ op: 'ping' });
      }
      this.#watchSilence();
    };
    this.#watch = setTimeout(look, Math.max(nextAt() - Date.now(), 0));
  }

  #quietSince(): number {
    const quietSince = this.transport === 'sse' ? this.#sentAt : Math.min(this.#heardAt, this.#sentAt);
    return Math.max(quietSince, this.#pingedAt);
  }
}

/** The number that the answer brings back. */
function idOf(frame: Frame): { id?: number } {
  return Number.isInteger(frame.id) ? { id: frame.id as number } : {};
}
