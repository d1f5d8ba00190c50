import { context, createTraceState, type SpanContext, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createHttpPublisher } from '../src/http.ts';
import { createPublisher } from '../src/index.ts';
import { RedisServer } from './support/redis.ts';
import { until } from './support/until.ts';

const REMOTE = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7' };
const OWN = `00-${REMOTE.traceId}-${REMOTE.spanId}-01`;
const exporter = new InMemorySpanExporter();

let server: RedisServer;
let redis: Redis;
let subscriber: Redis;
const heard: Record<string, unknown>[] = [];

beforeAll(async () => {
  server = await RedisServer.start();
  redis = new Redis(server.port, '127.0.0.1');
  subscriber = new Redis(server.port, '127.0.0.1');
  subscriber.on('pmessage', (_pattern, _channel, text) => heard.push(JSON.parse(text)));
  await subscriber.psubscribe('fanfare:*');
});

beforeEach(() => {
  heard.length = 0;
  exporter.reset();
});

afterAll(async () => {
  context.disable();
  trace.disable();
  redis?.disconnect();
  subscriber?.disconnect();
  await server?.stop();
});

/** What stands on the channels by now: as many events as are expected. */
function events(count = 1): Promise<Record<string, unknown>[]> {
  return until(`${count} events`, () => heard.length >= count && heard);
}

function traceparentOf({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-0${traceFlags}`;
}

/** Runs within a span of the application, as a route handler does. */
async function within(run: () => Promise<unknown>): Promise<SpanContext> {
  return trace.getTracer('tests').startActiveSpan('order', async (span) => {
    await run();
    span.end();
    return span.spanContext();
  });
}

/** The spans that publishing has made, by name. */
function spans(name: string): ReadableSpan[] {
  return exporter.getFinishedSpans().filter((span) => span.name === name);
}

/** A node that takes everything, and the requests it was sent. */
function api(answer: object) {
  const bodies: string[] = [];
  const active: (string | undefined)[] = [];
  const traceparents: unknown[] = [];
  const fetch = async (_: unknown, init?: RequestInit) => {
    bodies.push(String(init?.body));
    active.push(trace.getActiveSpan()?.spanContext().spanId);
    traceparents.push(new Headers(init?.headers).get('traceparent'));
    return new Response(JSON.stringify(answer));
  };
  return { bodies, active, traceparents, ...createHttpPublisher({ url: 'http://node', apiKey: 'k', fetch }) };
}

test('without OpenTelemetry events have no trace', async () => {
  const { publish, publishBatch } = createPublisher({ redis });
  await publish('acme', 'tenant', { type: 'a' });
  await publishBatch('acme', [{ topic: 'tenant', event: { type: 'b' } }]);
  expect(await events(2)).toEqual([{ type: 'a' }, { type: 'b' }]);
});

describe('with OpenTelemetry', () => {
  beforeAll(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
  });

  test('an event is sent in a span, whose context it carries', async () => {
    const { publish } = createPublisher({ redis });
    const order = await within(() => publish('acme', 'channel:orders', { type: 'order.paid', id: 'evt_7' }));
    const [span] = spans('send channel');
    const [event] = await events();
    expect(event).toEqual({
      type: 'order.paid',
      id: 'evt_7',
      traceparent: traceparentOf(span?.spanContext() as never),
    });
    expect(span).toMatchObject({
      kind: SpanKind.PRODUCER,
      parentSpanContext: { traceId: order.traceId, spanId: order.spanId },
      status: { code: SpanStatusCode.UNSET },
      links: [],
    });
    expect(span?.attributes).toEqual({
      'messaging.system': 'fanfare',
      'messaging.operation.name': 'send',
      'messaging.operation.type': 'send',
      'messaging.destination.name': 'channel:orders',
      'messaging.destination.template': 'channel',
      'messaging.message.id': 'evt_7',
      'messaging.message.body.size': JSON.stringify(event).length,
      'fanfare.tenant': 'acme',
      'fanfare.event.type': 'order.paid',
      'fanfare.durable': false,
    });
  });

  test('outside of any span it begins a trace', async () => {
    const { publish } = createPublisher({ redis });
    await publish('acme', 'user:42', { type: 'a' });
    const [span] = spans('send user');
    expect(span?.parentSpanContext).toBeUndefined();
    expect((await events())[0]?.traceparent).toBe(traceparentOf(span?.spanContext() as SpanContext));
  });

  test('a trace that is not sampled goes on as such, and so does its tracestate', async () => {
    const { publish } = createPublisher({ redis });
    const traceState = createTraceState('a=1,b=2');
    const remote = trace.setSpanContext(context.active(), { ...REMOTE, traceFlags: 0, traceState });
    await context.with(remote, () => publish('acme', 'tenant', { type: 'a' }));
    const [event] = await events();
    expect(event).toEqual({ type: 'a', traceparent: expect.any(String), tracestate: 'a=1,b=2' });
    expect(event?.traceparent).toMatch(new RegExp(`^00-${REMOTE.traceId}-(?!${REMOTE.spanId})[0-9a-f]{16}-00$`));
    expect(exporter.getFinishedSpans()).toEqual([]);
  });

  test('an event keeps a trace of its own, to which the span has a link', async () => {
    const { publish } = createPublisher({ redis });
    await publish('acme', 'tenant', { type: 'a', traceparent: OWN });
    expect(await events()).toEqual([{ type: 'a', traceparent: OWN }]);
    expect(spans('send tenant')[0]).toMatchObject({ kind: SpanKind.CLIENT, links: [{ context: REMOTE }] });
  });

  test('an event has no trace where none is wished', async () => {
    const { publish } = createPublisher({ redis });
    const silent = createPublisher({ redis, trace: false });
    await within(async () => {
      await publish('acme', 'tenant', { type: 'a', traceparent: null });
      await silent.publish('acme', 'tenant', { type: 'b' });
      await silent.publishBatch('acme', [{ topic: 'tenant', event: { type: 'c' } }]);
    });
    expect(await events(3)).toEqual([{ type: 'a', traceparent: null }, { type: 'b' }, { type: 'c' }]);
    expect(exporter.getFinishedSpans().map(({ name }) => name)).toEqual(['order']);
  });

  test.each([
    ['an event that is none', { type: '' }, {}, 'invalid_argument'],
    ['a Redis without the functions', { type: 'a' }, { durable: true as const }, 'functions_missing'],
  ])('%s is an error of the span', async (_, event, options, code) => {
    const { publish } = createPublisher({ redis });
    await expect(publish('acme', 'tenant', event, options as { durable: true })).rejects.toMatchObject({ code });
    expect(spans('send tenant')[0]).toMatchObject({
      status: { code: SpanStatusCode.ERROR, message: expect.any(String) },
      attributes: { 'error.type': code },
    });
  });

  test('each event of a batch is made in a span, to which the one that sends them has a link', async () => {
    const { publishBatch } = createPublisher({ redis });
    const order = await within(() =>
      publishBatch('acme', [
        { topic: 'user:1', event: { type: 'a', id: 'one' } },
        { topic: 'user:2', event: { type: 'b' } },
        { topic: 'user:3', event: { type: 'c', traceparent: OWN } },
        { topic: 'user:4', event: { type: 'd', traceparent: null } },
      ]),
    );
    const created = spans('create user');
    const traceparents = created.map((span) => traceparentOf(span.spanContext()));
    expect((await events(4)).map(({ traceparent }) => traceparent)).toEqual([...traceparents, OWN, null]);
    expect(created).toHaveLength(2);
    expect(created[0]).toMatchObject({
      kind: SpanKind.PRODUCER,
      parentSpanContext: { spanId: order.spanId },
      attributes: {
        'messaging.operation.name': 'create',
        'messaging.operation.type': 'create',
        'messaging.destination.name': 'user:1',
        'messaging.message.id': 'one',
        'messaging.message.body.size': JSON.stringify(heard[0]).length,
      },
    });
    const [sent] = spans('send user');
    expect(sent).toMatchObject({ kind: SpanKind.CLIENT, parentSpanContext: { spanId: order.spanId } });
    expect(sent?.attributes).toEqual({
      'messaging.system': 'fanfare',
      'messaging.operation.name': 'send',
      'messaging.operation.type': 'send',
      'messaging.destination.template': 'user',
      'messaging.batch.message_count': 4,
      'fanfare.tenant': 'acme',
      'fanfare.durable': false,
    });
    expect(sent?.links.map((link) => [link.context.spanId, link.attributes?.['messaging.destination.name']])).toEqual([
      [created[0]?.spanContext().spanId, 'user:1'],
      [created[1]?.spanContext().spanId, 'user:2'],
      [REMOTE.spanId, 'user:3'],
    ]);
  });

  test('what fails of a batch is an error of its own span, and of the one that sent it', async () => {
    const { publishBatch } = createPublisher({ redis });
    await publishBatch('acme', [
      { topic: 'tenant', event: { type: 'a' } },
      { topic: 'user:1', event: { type: 'b' }, durable: true },
      { topic: 'channel:c', event: { type: 'x'.repeat(201) } },
    ]);
    const status = (name: string) => [spans(name)[0]?.status.code, spans(name)[0]?.attributes['error.type']];
    expect(status('create tenant')).toEqual([SpanStatusCode.UNSET, undefined]);
    expect(status('create user')).toEqual([SpanStatusCode.ERROR, 'functions_missing']);
    expect(status('create channel')).toEqual([SpanStatusCode.ERROR, 'invalid_argument']);
    expect(status('send')).toEqual([SpanStatusCode.ERROR, 'functions_missing']);
    expect(spans('send')[0]?.attributes['messaging.batch.message_count']).toBe(2);
  });

  test('an event by HTTP is sent in such a span too, within which the request is made and which it names', async () => {
    const { publish, bodies, active, traceparents } = api({ published: true });
    await publish('acme', 'tenant', { type: 'a' });
    const [span] = spans('send tenant');
    expect(JSON.parse(bodies[0] ?? '')).toEqual({
      type: 'a',
      traceparent: traceparentOf(span?.spanContext() as never),
    });
    expect(active).toEqual([span?.spanContext().spanId]);
    expect(traceparents).toEqual([traceparentOf(span?.spanContext() as SpanContext)]);
    expect(span?.kind).toBe(SpanKind.PRODUCER);
  });

  test('so is a batch by HTTP', async () => {
    const refused = { error: { code: 'rate_limited', message: 'too many' } };
    const { publishBatch, bodies, active, traceparents } = api({ results: [{ published: true }, refused] });
    const batch = ['a', 'b'].map((type) => ({ topic: 'tenant' as const, event: { type } }));
    await publishBatch('acme', batch);
    const created = spans('create tenant');
    const [sent] = spans('send tenant');
    expect(JSON.parse(bodies[0] ?? '').events.map((item: { event: object }) => item.event)).toEqual([
      { type: 'a', traceparent: traceparentOf(created[0]?.spanContext() as SpanContext) },
      { type: 'b', traceparent: traceparentOf(created[1]?.spanContext() as SpanContext) },
    ]);
    expect(active).toEqual([sent?.spanContext().spanId]);
    expect(traceparents).toEqual([traceparentOf(sent?.spanContext() as SpanContext)]);
    expect(sent?.links.map((link) => link.context)).toEqual(created.map((span) => span.spanContext()));
    expect(created.map(({ attributes }) => attributes['error.type'])).toEqual([undefined, 'rate_limited']);
  });

  test('a batch that breaks off leaves no span open', async () => {
    const apiKey = () => {
      throw new Error('the vault is closed');
    };
    const { publishBatch } = createHttpPublisher({ url: 'http://node', apiKey });
    await expect(publishBatch('acme', [{ topic: 'tenant', event: { type: 'a' } }])).rejects.toThrow('vault');
    for (const name of ['create tenant', 'send tenant']) {
      expect(spans(name)[0]?.status).toEqual({ code: SpanStatusCode.ERROR, message: 'the vault is closed' });
    }
  });
});
