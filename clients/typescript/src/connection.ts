/** The one connection: when there is one, over what, and how it comes back. */

import { backoff } from './backoff.ts';
import { EXPIRED, errorCode, finalReason, NOT_AUTHENTICATED } from './close-codes.ts';
import { FanfareError } from './error.ts';
import type { ClientFrame, Disconnect, ServerFrame, Welcome } from './frames.ts';
import { createHeartbeat } from './heartbeat.ts';
import { pageLifecycle } from './lifecycle.ts';
import type { ClientOptions } from './options.ts';
import type { ConnectionState, FailureReason, TransportName } from './states.ts';
import { type Off, once } from './store.ts';
import { createTokens } from './tokens.ts';
import type { Link, Transport } from './transport.ts';
import { createValue } from './value.ts';

/** Of a transport that has worked before: fewer failures in a row are no reason to try the next one. */
const FAILURES_MAX = 3;
/** Tries that the page's own events bring about are at least so far apart, in ms. */
const WAKE_MS = 1_000;
/** The longest timer that there is, in ms (https://developer.mozilla.org/docs/Web/API/Window/setTimeout#maximum_delay_value). */
const TIMER_MAX_MS = 2 ** 31 - 1;

const IDLE: ConnectionState = { status: 'idle' };
const CONNECTING: ConnectionState = { status: 'connecting' };
const NOT_RENEWED = 'token not renewed: no connection';

/** What the rest of the client hears of the connection. */
export interface ConnectionEvents {
  /** Topics of the node's own and answers may come, and frames may be sent. Again, when a stream had to begin anew. */
  began(welcome: Welcome, send: (frame: ClientFrame) => void): void;
  /** Nothing comes any more. Of a stream that begins anew: for now, and what was called is answered all the same. */
  interrupted(areCallsLost: boolean): void;
  /** Anything that isn't about the connection itself. */
  frame(frame: ServerFrame): void;
  /** What is wanted on a new connection. */
  wishes(): { since: Record<string, string>; topics: string[] };
  renewed(): void;
  /** A disconnected client forgets. */
  forgotten(): void;
  counted(direction: 'received' | 'sent'): void;
  latency(ms: number): void;
  error(error: FanfareError): void;
  thrown(thrown: unknown): void;
}

type Timer = ReturnType<typeof setTimeout> | undefined;

export function createConnection(
  { url, getToken, reconnect: retrying = {}, transports = ['websocket', 'sse'], ...options }: ClientOptions<never>,
  load: (name: TransportName) => Promise<Transport>,
  tell: ConnectionEvents,
) {
  const { enabled = true, maxAttempts, stableAfterMs = 5_000, timeoutMs = 10_000 } = retrying;
  const tokens = createTokens(getToken, timeoutMs);
  const state = createValue(IDLE, tell.thrown);
  const heartbeat = createHeartbeat(options.heartbeat ?? {}, {
    ask: () => send({ op: 'ping' }),
    answered: tell.latency,
    died: () => lost(4408, 'no answer'),
  });

  /** Which transport is in use, or is tried next. */
  let index = 0;
  let loaded: Partial<Record<TransportName, Transport>> = {};
  const worked = new Set<TransportName>();
  let failures = 0;

  /** Those who need a connection, and whether everybody does, since `connect`. */
  let holders = 0;
  let isKept = false;
  /** By `disconnect`, by a failure, or for want of a token: only `connect` and `reconnect` open one. */
  let isParked = false;
  let lingering: Timer;

  /** Each try has its own number: what belongs to an older one is of no interest. */
  let turn = 0;
  let link: Link | undefined;
  let token = '';
  let welcome: Welcome | undefined;
  let welcomedAt = 0;
  let told: Disconnect | undefined;
  let hasConnected = false;
  /** Tries in a row that did not last. */
  let attempt = 0;
  let openedAt = 0;
  let isOrderedToWait = false;
  /** The try's end, or the wait for the next one. */
  let timer: Timer;
  let stable: Timer;
  let renewing: Timer;
  let renewingNow: Promise<void> | undefined;
  let renewal: { resolve(): void; reject(error: FanfareError): void } | undefined;
  let stopLifecycle: Off | undefined;

  const transport = () => transports[index] as TransportName;
  const isWanted = () => isKept || holders > 0;

  function send(frame: ClientFrame): void {
    if (link) {
      tell.counted('sent');
      link.send(frame);
    }
  }

  /** Opens one if somebody needs it and there is none. */
  function want(): void {
    clearTimeout(lingering);
    if (isWanted() && !isParked && state.get() === IDLE) {
      void open();
    }
  }

  /** No connection, and none to come by itself, unless it is only that nobody needs it. */
  function park(next: ConnectionState, isFinal = true): void {
    isParked = isFinal;
    clearTimeout(lingering);
    stopLifecycle?.();
    stopLifecycle = undefined;
    close();
    state.set(next);
  }

  function close(): void {
    turn += 1;
    for (const each of [timer, stable, renewing]) {
      clearTimeout(each);
    }
    heartbeat.stop();
    link?.close();
    const wasLive = welcome;
    link = told = welcome = undefined;
    renewal?.reject(new FanfareError('connection_lost', NOT_RENEWED));
    renewal = undefined;
    if (wasLive) {
      tell.interrupted(true);
    }
  }

  async function open(): Promise<void> {
    close();
    const mine = turn;
    const isCurrent = () => mine === turn;
    openedAt = Date.now();
    isOrderedToWait = false;
    stopLifecycle ??= (options.lifecycle ?? pageLifecycle).onWake(wake);
    timer = setTimeout(() => lost(1006, `no answer within ${timeoutMs} ms`), timeoutMs);
    const { status } = state.get();
    if (status === 'connected') {
      const error = new FanfareError('connection_lost', 'reconnect() was called');
      state.set({ status: 'reconnecting', attempt: 1, retryAt: openedAt, error });
    } else if (status !== 'reconnecting') {
      state.set(CONNECTING);
    }
    const name = transport();
    const known = loaded;
    try {
      const [address, fresh, way] = await Promise.all([resolve(url), tokens.get('connect'), known[name] ?? load(name)]);
      known[name] = way;
      if (!isCurrent()) {
        return;
      }
      if (fresh === null) {
        return park(IDLE);
      }
      token = fresh;
      link = way.open(
        { url: address, token, ...tell.wishes() },
        {
          frame: (frame) => isCurrent() && hear(frame),
          interrupted: () => isCurrent() && tell.interrupted(false),
          dispensable() {
            index = 0;
            void open();
          },
          closed: (code, reason) => isCurrent() && lost(code, reason),
        },
      );
    } catch (thrown) {
      if (isCurrent()) {
        // Perhaps the code of a transport that is not the first could not be had.
        index = 0;
        lost(1006, '', thrown instanceof FanfareError ? thrown : new FanfareError('internal', String(thrown)));
      }
    }
  }

  function hear(frame: ServerFrame): void {
    heartbeat.heard();
    tell.counted('received');
    switch (frame?.op) {
      case 'welcome':
        return begin(frame);
      case 'renewed':
        return accepted(frame.expires_at);
      case 'disconnect':
        told = frame;
        return;
      case 'ping':
        return send({ op: 'pong' });
      case 'pong':
        return heartbeat.pong();
    }
    if (typeof frame?.op !== 'string') {
      tell.error(new FanfareError('unexpected_frame', 'the node sent no frame'));
    } else if (frame.op === 'error' && renewal && frame.id === undefined && frame.topic === undefined) {
      renewal.reject(new FanfareError(frame.code, `the new token: ${frame.message}`));
      renewal = undefined;
    } else {
      tell.frame(frame);
    }
  }

  function begin(frame: Welcome): void {
    clearTimeout(timer);
    clearTimeout(stable);
    worked.add(transport());
    failures = 0;
    welcome = frame;
    welcomedAt = Date.now();
    accepted(frame.expires_at);
    heartbeat.start(frame.ping_ms);
    stable = setTimeout(() => {
      attempt = 0;
    }, stableAfterMs);
    tell.began(frame, send);
  }

  /** The node has taken the token. */
  function accepted(expiresAt: number): void {
    if (welcome) {
      const nodeTime = welcome.server_time + Date.now() - welcomedAt;
      tokens.accepted(token, expiresAt - nodeTime);
      scheduleRenewal();
    }
    if (renewal) {
      renewal.resolve();
      renewal = undefined;
      tell.renewed();
    }
  }

  function scheduleRenewal(): void {
    clearTimeout(renewing);
    if (welcome) {
      const ms = tokens.renewInMs();
      const due = () => (ms > TIMER_MAX_MS ? scheduleRenewal() : renewOnce().catch(tell.error));
      renewing = setTimeout(due, Math.min(ms, TIMER_MAX_MS));
    }
  }

  /** Hands the node a fresh token, and another one if it refuses that. */
  async function renew(): Promise<void> {
    clearTimeout(renewing);
    const mine = turn;
    try {
      // Not before there is a node to hand it to: the next connection may be somebody else's.
      const fresh = welcome && (await tokens.get('renew'));
      if (mine !== turn || fresh === undefined) {
        throw new FanfareError('offline', NOT_RENEWED);
      }
      if (fresh === null) {
        throw new FanfareError('token', 'getToken gave none');
      }
      await new Promise<void>((resolve, reject) => {
        renewal = { resolve, reject };
        token = fresh;
        send({ op: 'auth', token });
      });
    } catch (error) {
      if ((error as FanfareError).code !== 'unauthenticated' || !tokens.refused()) {
        throw error;
      }
      await renew();
    } finally {
      scheduleRenewal();
    }
  }

  function renewOnce(): Promise<void> {
    renewingNow ??= renew().finally(() => {
      renewingNow = undefined;
    });
    return renewingNow;
  }

  function wake(): void {
    if (welcome) {
      heartbeat.probe();
      // A machine that slept has slept through the timer as well.
      scheduleRenewal();
    } else if (!link && !isOrderedToWait && Date.now() - openedAt > WAKE_MS) {
      void open();
    }
  }

  function lost(code: number, reason: string, cause?: FanfareError): void {
    const order = told;
    const wasLive = welcome;
    close();
    const what = wasLive ? 'connection lost' : 'no connection';
    const why = reason || order?.reason || 'no reason given';
    const error = cause ?? new FanfareError(errorCode(code), `${what} (${order?.code ?? code}: ${why})`);
    const final = finalReason(code, order?.reconnect);
    if (final) {
      return fail(final, error);
    }
    if (code === NOT_AUTHENTICATED) {
      return tokens.refused() ? void open() : fail('auth', error);
    }
    if (code === EXPIRED) {
      tokens.expire();
    }
    if (!wasLive && !order && !cause && turnsToAnother()) {
      return void open();
    }
    attempt += 1;
    if (!enabled || (maxAttempts !== undefined && attempt > maxAttempts)) {
      return fail('attempts', error);
    }
    if (attempt === 1) {
      tell.error(error);
    }
    // Zero: the node has no wish of its own.
    isOrderedToWait = Boolean(order?.after_ms);
    const delay = order?.after_ms || backoff(attempt - 1, retrying);
    timer = setTimeout(() => void open(), delay);
    state.set({ status: 'reconnecting', attempt, retryAt: Date.now() + delay, error });
  }

  function fail(reason: FailureReason, error: FanfareError): void {
    park({ status: 'failed', reason, error });
    tell.error(error);
  }

  /** Whether another transport shall be tried at once; after the last one, the first one's turn comes with the next try. */
  function turnsToAnother(): boolean {
    failures += 1;
    const hasNext = index + 1 < transports.length;
    if (hasNext && worked.has(transport()) && failures < FAILURES_MAX) {
      return false;
    }
    index = hasNext ? index + 1 : 0;
    return hasNext;
  }

  function connect(): void {
    isKept = true;
    if (isParked) {
      isParked = false;
      attempt = 0;
      state.set(IDLE);
    }
    want();
  }

  return {
    state,
    isWanted,
    renew: renewOnce,
    connect,
    probe: heartbeat.probe,

    retain(): Off {
      holders += 1;
      want();
      return once(() => {
        holders -= 1;
        if (!isWanted() && !isParked) {
          lingering = setTimeout(() => park(IDLE, false), options.lingerMs ?? 2_500);
        }
      });
    },

    disconnect(): void {
      isKept = hasConnected = false;
      tokens.forget();
      // They may remember where they were.
      loaded = {};
      index = 0;
      park({ status: 'closed' });
      tell.forgotten();
    },

    reconnect(): void {
      if (isParked) {
        connect();
      } else if (isWanted()) {
        attempt = 0;
        void open();
      }
    },

    /** All that is wanted is live. */
    settled(hasMissedNothing: boolean): void {
      const now = state.get();
      if (welcome && !(now.status === 'connected' && now.connection === welcome.connection)) {
        const resumed = hasConnected && hasMissedNothing;
        const { connection, user, tenant } = welcome;
        hasConnected = true;
        state.set({ status: 'connected', resumed, transport: transport(), connection, user, tenant });
      }
    },
  };
}

/** The address of the WebSocket. In a page it may be relative. */
async function resolve(url: ClientOptions['url']): Promise<string> {
  const { href } = new URL(typeof url === 'function' ? await url() : url, globalThis.location?.href);
  return href.replace(/^http/, 'ws');
}
