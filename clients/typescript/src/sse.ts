/**
 * Frames where no WebSocket gets through: they come as an event stream, and commands go as requests (docs/sse.md).
 *
 * A stream's topics are fixed, so for others a new one is opened in its place, with the id of the last message; so it is for a
 * new token.
 */

import type { Call, ClientFrame, ErrorFrame, ServerFrame, Standing } from './frames.ts';
import type { WebSocketConstructor } from './options.ts';
import type { Hearing, Link, Opening, Transport } from './transport.ts';

/** As many as a node takes on one stream. */
const TOPICS_MAX = 32;
/** How long changes of topics are collected before a stream is opened for them, in ms. */
const COLLECT_MS = 50;
/** A stream says something after each `ping_ms`: one that is silent for so many of them is dead, or held back by a proxy. */
const PINGS_MISSED = 1.2;

/** How long until it is tried whether a WebSocket gets through by now: doubled each time. In ms. */
const RETURN_AFTER_MS = 60_000;
const RETURN_AFTER_MAX_MS = 3_600_000;

/** What a refused stream would have been closed with. */
const CLOSE_CODES: Record<number, number> = { 400: 4400, 401: 4401, 403: 4403, 429: 4429, 503: 1013 };

export class SseTransport implements Transport {
  /** Of the last message. A later stream goes on from there. */
  lastId: string | undefined;
  returnAfterMs = RETURN_AFTER_MS;

  /** `WebSocket`: what this stands in for, if it does. */
  constructor(
    readonly fetch: typeof globalThis.fetch,
    readonly WebSocket: WebSocketConstructor | undefined,
  ) {}

  open(opening: Opening, hears: Hearing): Link {
    return new SseLink(this, opening, hears);
  }
}

class SseLink implements Link {
  readonly #url: string;
  #topics: Set<string>;
  /** Those of the last stream, as long as it isn't known which of them are still wanted. */
  #earlier = new Set<string>();
  /** Those that this stream has told how they stand. */
  readonly #answered = new Map<string, Standing>();
  readonly #refused = new Map<string, ErrorFrame>();
  #token: string;
  #stream = new AbortController();
  #collecting: ReturnType<typeof setTimeout> | undefined;
  #returning: ReturnType<typeof setTimeout> | undefined;
  #isLive = false;
  #isClosed = false;
  #lastHeard = 0;
  #silenceMs = Number.POSITIVE_INFINITY;

  constructor(
    private readonly transport: SseTransport,
    opening: Opening,
    private readonly hears: Hearing,
  ) {
    this.#url = opening.url;
    this.#token = opening.token;
    this.#topics = new Set(opening.topics.slice(0, TOPICS_MAX));
    void this.#follow();
  }

  send(frame: ClientFrame): void {
    switch (frame.op) {
      case 'auth':
        this.#token = frame.token;
        return this.#anew();
      case 'subscribe':
        for (const { topic, since } of frame.topics) {
          const standing = this.#answered.get(topic);
          const refusal = this.#refused.get(topic);
          if (refusal?.code === 'forbidden') {
            this.hears.frame(refusal);
          } else if (refusal) {
            this.#anew();
          } else if (!standing) {
            this.#add(topic);
          } else if (!standing.more) {
            // Asked again, to look who is there. Of what there is more, the rest follows by itself.
            const { position, durable } = standing;
            this.hears.frame({ op: 'subscribed', topic, position: since ?? position, recovered: true, durable });
          }
        }
        return;
      case 'unsubscribe':
        // What still comes of it is nobody's.
        this.#topics.delete(frame.topic);
        this.#answered.delete(frame.topic);
        return this.hears.frame({ op: 'unsubscribed', id: frame.id, topic: frame.topic });
      case 'ping':
        if (Date.now() - this.#lastHeard < this.#silenceMs) {
          // A sign of life, but no answer whose time would mean anything.
          return this.hears.frame({ op: 'ping' });
        }
        return this.#anew();
      case 'pong':
        return;
      default:
        void this.#command(frame);
    }
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#collecting);
    clearTimeout(this.#returning);
    this.#stream.abort();
  }

  #scheduleReturn(WebSocket: WebSocketConstructor): void {
    this.#returning = setTimeout(async () => {
      this.transport.returnAfterMs = Math.min(RETURN_AFTER_MAX_MS, 2 * this.transport.returnAfterMs);
      const isBack = await getsThrough(WebSocket, this.#url);
      if (this.#isClosed) {
        return;
      }
      if (isBack) {
        this.hears.dispensable();
      } else {
        this.#scheduleReturn(WebSocket);
      }
    }, this.transport.returnAfterMs);
  }

  /** Of what stands beside the WebSocket: in the place of `ws` at the end of its address. */
  #address(path: string): URL {
    const address = new URL(this.#url.replace(/^ws/, 'http'));
    address.pathname = `${address.pathname.replace(/\/(ws)?$/, '')}/${path}`;
    return address;
  }

  #add(topic: string): void {
    if (this.#topics.has(topic)) {
      return;
    }
    if (this.#topics.size === TOPICS_MAX) {
      const message = `without a WebSocket at most ${TOPICS_MAX} channels can be subscribed`;
      return this.hears.frame({ op: 'error', topic, code: 'too_many_subscriptions', message });
    }
    this.#topics.add(topic);
    if (!this.#earlier.has(topic)) {
      this.#anew();
    }
  }

  #anew(): void {
    this.#collecting ??= setTimeout(() => {
      this.#collecting = undefined;
      this.#stream.abort();
      this.#stream = new AbortController();
      this.#answered.clear();
      this.#refused.clear();
      if (this.#isLive) {
        this.hears.interrupted();
      }
      void this.#follow();
    }, COLLECT_MS);
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stream;
    const end = (code: number, reason: string) => {
      if (!signal.aborted) {
        this.close();
        this.hears.closed(code, reason);
      }
    };
    try {
      const address = this.#address('sse');
      for (const topic of this.#topics) {
        address.searchParams.append('topic', topic);
      }
      const headers: Record<string, string> = { Authorization: `Bearer ${this.#token}` };
      const { lastId } = this.transport;
      if (lastId) {
        headers['Last-Event-ID'] = lastId;
      }
      const answer = await this.transport.fetch(address.href, { headers, signal, cache: 'no-store' });
      if (!answer.ok || !answer.body) {
        const refusal = await refusalOf(answer);
        if (answer.status === 400 && lastId) {
          // An id that this node can't read: begin without it.
          this.transport.lastId = undefined;
          return end(1006, refusal.message);
        }
        this.#tellWhenToReturn(answer, refusal.message);
        return end(CLOSE_CODES[answer.status] ?? 1006, refusal.message);
      }
      this.#isLive = true;
      await this.#read(answer.body, signal);
      end(1006, 'the event stream has ended');
    } catch (thrown) {
      end(1006, String(thrown));
    }
  }

  #tellWhenToReturn(answer: Response, reason: string): void {
    const seconds = Number(answer.headers.get('Retry-After'));
    if (seconds > 0) {
      const code = CLOSE_CODES[answer.status] ?? 1013;
      this.hears.frame({ op: 'disconnect', code, reason, reconnect: true, after_ms: seconds * 1000 });
    }
  }

  async #read(body: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<void> {
    const decoder = new TextDecoder();
    const reader = body.getReader();
    let rest = '';
    while (!signal.aborted) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      this.#lastHeard = Date.now();
      const messages = (rest + decoder.decode(value, { stream: true })).split('\n\n');
      rest = messages.pop() as string;
      for (const message of messages) {
        if (!signal.aborted) {
          this.#hear(message);
        }
      }
    }
  }

  #hear(message: string): void {
    const values = (name: string) =>
      message
        .split('\n')
        .filter((line) => line.startsWith(`${name}: `))
        .map((line) => line.slice(name.length + 2));
    const data = values('data').join('\n');
    // A comment stands where a WebSocket has a ping.
    const frame = (data ? JSON.parse(data) : { op: 'ping' }) as ServerFrame;
    if (frame.op === 'welcome') {
      this.#silenceMs = PINGS_MISSED * frame.ping_ms;
      if (this.transport.WebSocket && !this.#returning) {
        this.#scheduleReturn(this.transport.WebSocket);
      }
    }
    if (frame.op === 'error' && frame.topic !== undefined) {
      this.#refused.set(frame.topic, frame);
    }
    for (const standing of frame.op === 'welcome' ? frame.topics : frame.op === 'subscribed' ? [frame] : []) {
      this.#answered.set(standing.topic, standing);
    }
    if (frame.op === 'welcome') {
      // Those that are asked for again are wanted.
      this.#earlier = this.#topics;
      this.#topics = new Set();
      this.hears.frame(frame);
      this.#earlier = new Set();
    } else {
      this.hears.frame(frame);
    }
    this.transport.lastId = values('id')[0] ?? this.transport.lastId;
  }

  async #command(call: Call): Promise<void> {
    const { id, op, ...body } = call;
    if ('event' in body) {
      // A command has no connection that could be left out.
      const { except: _, ...event } = body.event;
      body.event = event;
    }
    try {
      const answer = await this.transport.fetch(this.#address(`client/v1/${op}`).href, {
        method: 'POST',
        headers: { Authorization: `Bearer ${this.#token}`, 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      });
      const frame = answer.ok ? await answer.json() : { op: 'error', ...(await refusalOf(answer)) };
      this.hears.frame({ ...frame, id });
    } catch (thrown) {
      this.hears.frame({ op: 'error', id, code: 'connection_lost', message: `no answer: ${thrown}` });
    }
  }
}

async function refusalOf(answer: Response): Promise<{ code: string; message: string }> {
  const { code, message } = await answer.json().catch(() => ({}));
  return { code: code ?? 'unavailable', message: message ?? `the answer had the status ${answer.status}` };
}

/** Whether a WebSocket can be had. It is closed before it says who it is. */
function getsThrough(WebSocket: WebSocketConstructor, url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, ['fanfare.v1.json']);
    const end = (isOpen: boolean) => {
      socket.onopen = socket.onclose = null;
      socket.close();
      resolve(isOpen);
    };
    socket.onopen = () => end(true);
    socket.onclose = () => end(false);
    socket.onerror = () => {};
  });
}
