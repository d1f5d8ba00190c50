import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  channel,
  createHttpPublisher,
  FanfareHttpError,
  type HttpPublisher,
  type HttpPublisherOptions,
  user,
} from '../src/http.ts';
import { Listener } from './support/listener.ts';
import { API_KEY, FanfareNode } from './support/node.ts';
import { freePort } from './support/process.ts';

describe('by the API of a node', () => {
  let node: FanfareNode;
  let publisher: HttpPublisher;

  beforeAll(async () => {
    node = await FanfareNode.start();
    publisher = createHttpPublisher({ url: node.apiUrl, apiKey: API_KEY });
  });

  afterAll(() => node?.stop());

  test('ephemeral and durable events reach whoever is subscribed', async () => {
    const listener = await Listener.connect(node);
    const topic = channel('ünï/7:a%2F&b#');
    await listener.subscribe(topic);
    await expect(publisher.publish('acme', topic, { type: 'one', data: { note: 'ü' } })).resolves.toBeUndefined();
    const position = await publisher.publish('acme', topic, { type: 'two' }, { durable: true });
    expect(position).toMatch(/^\d+-1$/);
    expect((await listener.event('one')).event).toEqual({ type: 'one', data: { note: 'ü' } });
    expect(await listener.event('two')).toMatchObject({ topic, position });
    await publisher.publish('acme', user(42), { type: 'three' });
    expect((await listener.event('three')).topic).toBe('user:42');
    listener.close();
  });

  test('an id makes a repeated publish harmless', async () => {
    const topic = channel('idempotent');
    const options = { durable: true, id: 'order-7' } as const;
    const first = await publisher.publish('acme', topic, { type: 'paid' }, options);
    expect(await publisher.publish('acme', topic, { type: 'paid' }, options)).toBe(first);
  });

  test('in a batch each item has its own result, and a bad one holds up nobody', async () => {
    const listener = await Listener.connect(node);
    await listener.subscribe('channel:a');
    await listener.subscribe('channel:b');
    // Larger than the node would take: only the node knows that.
    const huge = 'x'.repeat(70_000);
    const generous = createHttpPublisher({ url: node.apiUrl, apiKey: API_KEY, eventBytesMax: 100_000, batchChunk: 2 });
    const results = await generous.publishBatch('acme', [
      { topic: 'channel:a', event: { type: 'one' } },
      { topic: 'channel:b', event: { type: 'two' }, durable: true, id: 'two ünï' },
      { topic: 'channel:b', event: { type: '' } },
      { topic: 'channel:b', event: { type: 'huge', data: huge } },
      { topic: 'channel:a', event: { type: 'five' } },
    ]);
    expect(results.map(({ ok }) => ok)).toEqual([true, true, false, false, true]);
    expect(results[1]).toMatchObject({ topic: 'channel:b', position: expect.stringMatching(/^\d+-1$/) });
    expect(results[2]).toMatchObject({ error: { code: 'invalid_argument', field: 'event.type' } });
    expect(results[3]).toMatchObject({ error: { code: 'too_large' } });
    const again = await generous.publishBatch('acme', [
      { topic: 'channel:b', event: { type: 'two' }, durable: true, id: 'two ünï' },
    ]);
    expect(again).toEqual([results[1]]);
    await listener.event('five');
    expect([listener.typesOf('channel:a'), listener.typesOf('channel:b')]).toEqual([['one', 'five'], ['two']]);
    listener.close();
  });

  test('a refusal is an error with the status, the code and the reason', async () => {
    const event = { type: 'a', data: 'x'.repeat(70_000) };
    const generous = createHttpPublisher({ url: node.apiUrl, apiKey: API_KEY, eventBytesMax: 100_000 });
    const refused = generous.publish('acme', 'channel:a', event);
    await expect(refused).rejects.toBeInstanceOf(FanfareHttpError);
    await expect(refused).rejects.toMatchObject({
      status: 413,
      code: 'too_large',
      reason: 'too_large',
      retryable: false,
    });
    const stranger = createHttpPublisher({ url: node.apiUrl, apiKey: 'wrong-key' });
    const unknown = stranger.publish('acme', 'channel:a', { type: 'a' });
    await expect(unknown).rejects.toMatchObject({ status: 401, code: 'unauthenticated', retryable: false });
    expect(await unknown.catch(String)).not.toContain('wrong-key');
    const elsewhere = createHttpPublisher({ url: `${node.apiUrl}/elsewhere`, apiKey: API_KEY });
    await expect(elsewhere.publish('acme', 'channel:a', { type: 'a' })).rejects.toMatchObject({
      status: 404,
      code: 'not_found',
    });
    const batch = await stranger.publishBatch('acme', [{ topic: 'channel:a', event: { type: 'a' } }]);
    expect(batch).toMatchObject([{ ok: false, topic: 'channel:a', error: { status: 401, code: 'unauthenticated' } }]);
  });
});

/** A stand-in for a node that answers what a test wants, and everything that was asked of it. */
async function answering(listener: RequestListener) {
  const asked: { path: string; key: string | undefined; body: string }[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) {
      body += chunk;
    }
    asked.push({ path: request.url ?? '', key: request.headers['idempotency-key'] as string | undefined, body });
    listener(request, response);
  });
  server.listen(await freePort(), '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as { port: number };
  const publisher = (options: Partial<HttpPublisherOptions> = {}) =>
    createHttpPublisher({ url: `http://127.0.0.1:${address.port}`, apiKey: 'k', retryDelayMaxMs: 50, ...options });
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { publisher, asked, close };
}

const event = { type: 'a' };
const durable = { durable: true, id: 'once' } as const;

describe('trying again', () => {
  test('a request that was refused with Retry-After is sent again, and only so often', async () => {
    let refusals = 2;
    const api = await answering((_, response) => {
      const isRefused = refusals-- > 0;
      response.writeHead(isRefused ? 503 : 200, isRefused ? { 'retry-after': '0' } : {});
      response.end(isRefused ? '{"code":"unavailable","message":"away"}' : '{"published":true}');
    });
    await api.publisher().publish('acme', 'tenant', event);
    expect(api.asked.length).toBe(3);
    refusals = 99;
    const failing = api.publisher({ retriesMax: 1 }).publish('acme', 'tenant', event);
    await expect(failing).rejects.toMatchObject({ status: 503, code: 'unavailable', retryAfterMs: 0, retryable: true });
    expect(api.asked.length).toBe(5);
    api.close();
  });

  test('without Retry-After, only what has an id is sent again', async () => {
    const api = await answering((_, response) => response.writeHead(503).end());
    await expect(api.publisher().publish('acme', 'tenant', event)).rejects.toMatchObject({ code: 'unavailable' });
    expect(api.asked.length).toBe(1);
    await expect(api.publisher().publish('acme', 'tenant', event, { durable: true })).rejects.toMatchObject({
      status: 503,
    });
    expect(api.asked.length).toBe(2);
    await expect(api.publisher().publish('acme', 'tenant', event, durable)).rejects.toMatchObject({ status: 503 });
    expect(api.asked.slice(2).map(({ key, path }) => [key, path])).toEqual(
      Array(3).fill(['once', '/v1/tenants/acme/topics/tenant/events?durable=true']),
    );
    api.close();
  });

  test('Retry-After alone is not enough: after 504 the event may have been published', async () => {
    const api = await answering((_, response) => response.writeHead(504, { 'retry-after': '0' }).end());
    await expect(api.publisher().publish('acme', 'tenant', event)).rejects.toMatchObject({
      status: 504,
      code: 'timeout',
    });
    expect(api.asked.length).toBe(1);
    api.close();
  });

  test('a connection that breaks is tried again only with an id', async () => {
    const api = await answering((request) => request.socket.destroy());
    await expect(api.publisher().publish('acme', 'tenant', event)).rejects.toMatchObject({ code: 'unavailable' });
    expect(api.asked.length).toBe(1);
    await expect(api.publisher().publish('acme', 'tenant', event, durable)).rejects.toMatchObject({
      code: 'unavailable',
    });
    expect(api.asked.length).toBe(4);
    api.close();
  });

  test('a batch is tried again when each of its events has an id', async () => {
    const api = await answering((_, response) => response.writeHead(503).end());
    const items = [
      { topic: 'tenant', event, durable: true, id: 'a' },
      { topic: 'tenant', event, durable: true, id: 'b' },
    ] as const;
    await api.publisher().publishBatch('acme', items);
    expect(api.asked.length).toBe(3);
    expect(JSON.parse(api.asked[0]?.body ?? '')).toEqual({ events: items });
    await api.publisher().publishBatch('acme', [...items, { topic: 'tenant', event, durable: true }]);
    expect(api.asked.length).toBe(4);
    api.close();
  });

  test('who asks to wait for too long, or refuses for good, is not asked again', async () => {
    let status = 429;
    const api = await answering((_, response) => response.writeHead(status, { 'retry-after': '60' }).end());
    const limited = api.publisher().publish('acme', 'tenant', event, durable);
    await expect(limited).rejects.toMatchObject({ status: 429, code: 'rate_limited', retryAfterMs: 60_000 });
    status = 403;
    await expect(api.publisher().publish('acme', 'tenant', event, durable)).rejects.toMatchObject({
      code: 'forbidden',
    });
    expect(api.asked.length).toBe(2);
    api.close();
  });

  test('what gets no answer in time is a timeout', async () => {
    const api = await answering(() => {});
    const late = api.publisher({ timeoutMs: 1000 }).publish('acme', 'tenant', event);
    await expect(late).rejects.toMatchObject({ code: 'timeout', retryable: true });
    expect(api.asked.length).toBe(1);
    const aborting = new AbortController();
    const aborted = api.publisher().publish('acme', 'tenant', event, { signal: aborting.signal });
    aborting.abort();
    await expect(aborted).rejects.toMatchObject({ code: 'aborted', retryable: false });
    api.close();
  });

  test('a redirect is not followed, and an answer that no node gives is an error', async () => {
    let moved = true;
    const api = await answering((_, response) => {
      response.writeHead(moved ? 307 : 200, { location: 'http://127.0.0.1:1/' }).end('<html>');
    });
    await expect(api.publisher().publish('acme', 'tenant', event)).rejects.toMatchObject({ status: 307 });
    moved = false;
    await expect(api.publisher().publish('acme', 'tenant', event, durable)).rejects.toMatchObject({ code: 'internal' });
    const batch = await api.publisher().publishBatch('acme', [{ topic: 'tenant', event }]);
    expect(batch).toMatchObject([{ ok: false, error: { code: 'internal' } }]);
    api.close();
  });
});

describe('requests', () => {
  test('each result of a batch is told as the node tells it', async () => {
    const results = [
      { topic: 'tenant' },
      { topic: 'tenant', position: '1-2' },
      { topic: 'tenant', error: { code: 'bad_frame', message: 'too deep', reason: 'too_deep' } },
      { topic: 'tenant', error: { code: 'unavailable', message: 'away' } },
    ];
    const api = await answering((_, response) => response.end(JSON.stringify({ results })));
    expect(await api.publisher().publishBatch('acme', Array(4).fill({ topic: 'tenant', event }))).toMatchObject([
      { ok: true, topic: 'tenant' },
      { ok: true, topic: 'tenant', position: '1-2' },
      {
        ok: false,
        topic: 'tenant',
        error: { code: 'bad_frame', message: 'too deep', reason: 'too_deep', retryable: false },
      },
      { ok: false, topic: 'tenant', error: { code: 'unavailable', retryable: true } },
    ]);
    api.close();
  });

  test('a batch goes out in requests of bounded size, in order', async () => {
    const api = await answering((_, response) => response.end('{"results":[]}'));
    const items = Array.from({ length: 5 }, (_, at) => ({
      topic: channel(`${at}`),
      event: { type: 'a', data: 'x'.repeat(100) },
    }));
    await api.publisher({ batchBytesMax: 400 }).publishBatch('acme', items);
    await api.publisher({ batchChunk: 4 }).publishBatch('acme', items);
    await api.publisher({ batchBytesMax: 1 }).publishBatch('acme', items.slice(0, 2));
    const topics = api.asked.map(({ body }) =>
      JSON.parse(body)
        .events.map(({ topic }: { topic: string }) => topic.slice(8))
        .join(''),
    );
    expect(topics).toEqual(['01', '23', '4', '0123', '4', '0', '1']);
    expect(api.asked.slice(0, 3).every(({ body }) => body.length <= 400)).toBe(true);
    api.close();
  });

  test('the key is asked for each time', async () => {
    const keys: (string | undefined)[] = [];
    const api = await answering((request, response) => {
      keys.push(request.headers.authorization);
      response.end('{"published":true}');
    });
    let key = 1;
    const publisher = api.publisher({ apiKey: async () => `key-${key++}` });
    await publisher.publish('acme', 'tenant', event);
    await publisher.publish('acme', 'tenant', event);
    expect(keys).toEqual(['Bearer key-1', 'Bearer key-2']);
    const never = api.publisher({ apiKey: () => new Promise(() => {}), timeoutMs: 50 });
    await expect(never.publish('acme', 'tenant', event)).rejects.toMatchObject({
      code: 'timeout',
      message: expect.stringContaining('apiKey'),
    });
    api.close();
  });

  test('what breaks a rule is refused before anything is sent', async () => {
    const api = await answering((_, response) => response.end('{}'));
    const { publish } = api.publisher();
    for (const [attempt, field] of [
      [() => publish('node', 'tenant', event), 'tenant'],
      [() => publish('acme', 'orders' as 'tenant', event), 'topic'],
      [() => publish('acme', 'tenant', { type: '' }), 'event.type'],
      [() => publish('acme', 'tenant', event, { id: 'x' } as never), 'options.id'],
      [() => publish('acme', 'tenant', event, { durable: true, maxlen: 5 } as never), 'options.maxlen'],
      [() => publish('acme', 'tenant', event, { durable: true, id: 'ü' }), 'options.id'],
      [() => publish('acme', 'tenant', event, { durable: true, id: 'x'.repeat(129) }), 'options.id'],
      [() => publish('acme', 'tenant', event, { durable: 1 } as never), 'options.durable'],
    ] as const) {
      await expect(attempt()).rejects.toMatchObject({ code: 'invalid_argument', field });
    }
    const error = await api.publisher({ apiKey: 'hunter2\n' }).publish('acme', 'tenant', event).catch(String);
    expect(error).toContain('apiKey');
    expect(error).not.toContain('hunter2');
    expect(api.asked).toEqual([]);
    expect(() => createHttpPublisher({ url: 'nowhere', apiKey: 'k' })).toThrow(/^url: /);
    expect(() => createHttpPublisher({ url: 'http://user:pass@host', apiKey: 'k' })).toThrow(/^url: /);
    expect(() => createHttpPublisher({ url: 'http://host', apiKey: '' })).toThrow(/^apiKey: /);
    api.close();
  });
});
