/** A `fetch` whose other end is the fake gateway: event streams and commands (docs/sse.md). */

import { type Frame, isMap, Refusal } from './frame.ts';
import type { Grant } from './grants.ts';
import { isPosition } from './history.ts';
import type { Way } from './network.ts';
import type { FakeNode } from './node.ts';
import { Session } from './session.ts';

const TOPICS_MAX = 32;
const COMMANDS = ['publish', 'request', 'presence', 'history'];
const STATUS: Readonly<Record<string, number>> = {
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  timeout: 504,
  too_large: 413,
  rate_limited: 429,
  internal: 500,
  no_backend: 503,
  unavailable: 503,
};

/** What of a request counts. */
interface Asked {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  readonly body: unknown;
  readonly signal: AbortSignal | undefined;
}

/** The `fetch` of one gateway, as the client calls it: with an address and what else there is to say. */
export function fetchFrom(node: FakeNode): typeof globalThis.fetch {
  return (input, { method = 'GET', headers, body, signal } = {}) => {
    const url = new URL(typeof input === 'object' && 'url' in input ? input.url : input);
    const asked = { url, method, headers: new Headers(headers), body, signal: signal ?? undefined };
    const way = node.network.way();
    return new Promise((resolve, reject) => {
      const abort = () => reject(signal?.reason);
      signal?.addEventListener('abort', abort);
      if (signal?.aborted) {
        abort();
        return;
      }
      way.send(() => {
        if (signal?.aborted) {
          return;
        }
        if (node.network.isStopped) {
          reject(new TypeError('fetch failed'));
        } else {
          answer(node, asked, way).then(resolve, reject);
        }
      });
    });
  };
}

async function answer(node: FakeNode, asked: Asked, way: Way): Promise<Response> {
  const command = /\/client\/v1\/([^/]*)$/.exec(asked.url.pathname)?.[1];
  try {
    if (/\/sse$/.test(asked.url.pathname)) {
      return stream(node, asked, way);
    }
    if (command === undefined || !COMMANDS.includes(command)) {
      throw new Refusal('not_found', 'there is no such address');
    }
    if (asked.method !== 'POST') {
      throw new Refusal('method_not_allowed', 'send POST');
    }
    const grant = granted(node, asked);
    return await run(node, { ...fieldsOf(asked.body), op: command }, grant, way, asked.signal);
  } catch (error) {
    if (!(error instanceof Refusal)) {
      throw error;
    }
    return refusal(error.code, error.message);
  }
}

/** Does a command. It has no connection of its own. */
function run(node: FakeNode, frame: Frame, grant: Grant, way: Way, signal: AbortSignal | undefined): Promise<Response> {
  node.received.push(frame);
  return new Promise((resolve) => {
    const respond = ({ op, code, message, ...rest }: Frame) => {
      const isRefused = op === 'error';
      const response = isRefused ? refusal(String(code), String(message)) : json({ op, ...rest });
      way.send(() => resolve(response));
    };
    const session = new Session(node, { transport: 'command', send: respond, close: () => {} });
    signal?.addEventListener('abort', () => session.ended());
    session.as(grant);
    session.do(frame);
  });
}

function stream(node: FakeNode, asked: Asked, way: Way): Response {
  const { searchParams: parameters } = asked.url;
  const grant = granted(node, asked);
  const listed = parameters.getAll('topics').flatMap((topics) => topics.split(','));
  const topics = [...listed, ...parameters.getAll('topic')].filter((topic) => topic !== '');
  if (topics.length > TOPICS_MAX) {
    throw new Refusal('too_many_subscriptions', `a stream has at most ${TOPICS_MAX} topics`);
  }
  const seen = positionsIn(asked.headers.get('Last-Event-ID') ?? parameters.get('last_event_id'));
  const wishes = topics.map((topic) => ({ topic, since: seen[topic] }));
  const messages = new Messages({ ...seen });
  const text = new TextEncoder();
  node.opened += 1;
  let session: Session;
  let isOver = false;
  const end = () => {
    isOver = true;
    if (!way.isDead) {
      session.ended();
    }
  };
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const arrive = (act: () => void) => way.send(() => isOver || act());
      const put = (chunk: string) => arrive(() => controller.enqueue(text.encode(chunk)));
      session = new Session(node, {
        transport: 'sse',
        send(frame) {
          const { message, ask } = messages.of(frame);
          put(message);
          for (const wish of ask) {
            session.do({ op: 'subscribe', topics: [wish] });
          }
        },
        close: (code) =>
          arrive(() => (code === 1006 ? controller.error(new TypeError('network error')) : controller.close())),
      });
      asked.signal?.addEventListener('abort', () => {
        end();
        controller.error(asked.signal?.reason);
      });
      put(`:${' '.repeat(2048)}\n\n`);
      session.admit(grant, seen);
      if (wishes.length > 0) {
        session.do({ op: 'subscribe', topics: wishes });
      }
    },
    cancel: end,
  });
  return new Response(body, { headers: { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' } });
}

/** Turns frames into messages of an event stream, and keeps where the stream stands. */
class Messages {
  constructor(private readonly positions: Record<string, string>) {}

  /** `ask`: of what there is more than has fitted into an answer. */
  of(frame: Frame): { message: string; ask: { topic: string; since: string }[] } {
    if (frame.op === 'ping') {
      return { message: ': ping\n\n', ask: [] };
    }
    const before = JSON.stringify(this.positions);
    const standings = frame.op === 'welcome' ? (frame.topics as Frame[]) : frame.op === 'subscribed' ? [frame] : [];
    const ask = standings.flatMap((standing) => this.#stand(standing));
    if ((frame.op === 'event' || frame.op === 'gap') && frame.position !== undefined) {
      this.positions[String(frame.topic)] = String(frame.position);
    }
    const after = JSON.stringify(this.positions);
    const id = before === after ? '' : `id: ${encodeURIComponent(after)}\n`;
    return { message: `data: ${JSON.stringify(frame)}\n${id}\n`, ask };
  }

  #stand(standing: Omit<Frame, 'op'>): { topic: string; since: string }[] {
    const topic = String(standing.topic);
    const events = (standing.events ?? []) as { position: string }[];
    const seen = standing.more ? (events.at(-1)?.position ?? this.positions[topic]) : String(standing.position);
    if (seen === undefined) {
      return [];
    }
    this.positions[topic] = seen;
    return standing.more ? [{ topic, since: seen }] : [];
  }
}

function granted(node: FakeNode, { url, headers }: Asked): Grant {
  const bearer = /^Bearer (.*)$/.exec(headers.get('Authorization') ?? '')?.[1];
  const judged = node.grants.judge(bearer ?? url.searchParams.get('token'));
  if (typeof judged === 'string') {
    throw new Refusal('unauthenticated', judged);
  }
  return judged;
}

/** The positions in a stream's id. */
function positionsIn(id: string | null): Record<string, string> {
  try {
    const positions = id ? JSON.parse(decodeURIComponent(id)) : {};
    if (isMap(positions) && Object.values(positions).every(isPosition)) {
      return positions as Record<string, string>;
    }
  } catch {
    // Refused below.
  }
  throw new Refusal('bad_frame', 'this is no id of a stream');
}

function fieldsOf(body: unknown): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(body as string);
    if (isMap(parsed)) {
      return parsed;
    }
  } catch {
    // Refused below.
  }
  throw new Refusal('bad_frame', 'the body is no JSON object');
}

function refusal(code: string, message: string): Response {
  return json({ code, message }, STATUS[code] ?? 400);
}

function json(body: object, status = 200): Response {
  return new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } });
}
