import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createHttpPublisher } from '../src/http.ts';
import { createPublisher, createWorker } from '../src/index.ts';
import { flavours, type Made } from './support/flavours.ts';
import { RedisServer } from './support/redis.ts';
import { Replies } from './support/replies.ts';
import { until } from './support/until.ts';

const exporter = new InMemorySpanExporter();
const REMOTE = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7' };
const traceparentOf = (span: { traceId: string; spanId: string }) => `00-${span.traceId}-${span.spanId}-01`;

let server: RedisServer;
let made: Made;
let replies: Replies;

beforeAll(async () => {
  server = await RedisServer.start();
  replies = await Replies.of(server);
  made = (await flavours[0]?.single(server.port)) as Made;
});

afterAll(async () => {
  context.disable();
  trace.disable();
  replies?.close();
  await made?.close();
  await server?.stop();
});

/** What a publish puts on the channel. */
async function published(publish: () => Promise<unknown>): Promise<Record<string, unknown>> {
  const bodies: string[] = [];
  const caught = await import('ioredis').then(({ Redis }) => new Redis(server.port, '127.0.0.1'));
  caught.on('message', (_channel, text) => bodies.push(text));
  await caught.subscribe('fanfare:acme:tenant');
  await publish();
  const body = await until('the event', () => bodies[0]);
  caught.disconnect();
  return JSON.parse(body);
}

test('without OpenTelemetry events have no trace', async () => {
  const { publish } = createPublisher({ redis: made.redis });
  expect(await published(() => publish('acme', 'tenant', { type: 'a' }))).toEqual({ type: 'a' });
});

describe('with OpenTelemetry', () => {
  beforeAll(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
  });

  test('an event goes on with the trace of the active span', async () => {
    const { publish } = createPublisher({ redis: made.redis });
    await trace.getTracer('tests').startActiveSpan('order', async (span) => {
      const traceparent = traceparentOf(span.spanContext());
      expect(await published(() => publish('acme', 'tenant', { type: 'a' }))).toEqual({ type: 'a', traceparent });
      span.end();
    });
    expect(await published(() => publish('acme', 'tenant', { type: 'a' }))).toEqual({ type: 'a' });
  });

  test('tracestate goes along', async () => {
    const { publish } = createPublisher({ redis: made.redis });
    const { createTraceState } = await import('@opentelemetry/api');
    const remote = trace.setSpanContext(context.active(), {
      ...REMOTE,
      traceFlags: 0,
      traceState: createTraceState('a=1,b=2'),
    });
    const event = await context.with(remote, () => published(() => publish('acme', 'tenant', { type: 'a' })));
    expect(event).toEqual({
      type: 'a',
      traceparent: traceparentOf(REMOTE).replace(/01$/, '00'),
      tracestate: 'a=1,b=2',
    });
  });

  test('an event keeps a trace of its own, and none where that is wished', async () => {
    const { publish } = createPublisher({ redis: made.redis });
    const silent = createPublisher({ redis: made.redis, trace: false });
    await trace.getTracer('tests').startActiveSpan('order', async (span) => {
      const traceparent = traceparentOf(REMOTE);
      expect(await published(() => publish('acme', 'tenant', { type: 'a', traceparent }))).toEqual({
        type: 'a',
        traceparent,
      });
      expect(await published(() => publish('acme', 'tenant', { type: 'a', traceparent: null }))).toEqual({
        type: 'a',
        traceparent: null,
      });
      expect(await published(() => silent.publish('acme', 'tenant', { type: 'a' }))).toEqual({ type: 'a' });
      span.end();
    });
  });

  test('so does an event by HTTP', async () => {
    const bodies: string[] = [];
    const fetch = async (_: unknown, init?: RequestInit) => {
      bodies.push(String(init?.body));
      return new Response('{"published":true}');
    };
    const { publish } = createHttpPublisher({ url: 'http://node', apiKey: 'k', fetch });
    await trace.getTracer('tests').startActiveSpan('order', async (span) => {
      await publish('acme', 'tenant', { type: 'a' });
      expect(JSON.parse(bodies[0] ?? '')).toEqual({ type: 'a', traceparent: traceparentOf(span.spanContext()) });
      span.end();
    });
  });

  test('a handler runs in a span whose parent is the request', async () => {
    const active: unknown[] = [];
    // Whatever span is active when a worker is started has nothing to do with the requests.
    const worker = createWorker({
      redis: made.redis,
      tenants: ['acme'],
      group: 'backend',
      blockMs: 100,
      onError: () => {},
    });
    worker.method('good', async () => {
      await Promise.resolve();
      active.push(trace.getActiveSpan()?.spanContext().spanId);
    });
    worker.method('bad', () => {
      throw new Error('broken');
    });
    await trace.getTracer('tests').startActiveSpan('start', async (span) => {
      await worker.start();
      span.end();
    });
    exporter.reset();
    await replies.ask('acme', 'r1', { method: 'good', traceparent: traceparentOf(REMOTE) });
    await replies.ask('acme', 'r2', { method: 'bad' });
    await replies.ask('acme', 'r3', { method: 'good', traceparent: 'nonsense' });
    await replies.to('r3');
    await replies.to('r2');
    const spans = await until(
      'three spans',
      () => exporter.getFinishedSpans().length === 3 && exporter.getFinishedSpans(),
    );
    const [good, bad, orphan] = ['r1', 'r2', 'r3'].map((_, at) => spans[at]);
    expect(good).toMatchObject({
      name: 'fanfare good',
      kind: SpanKind.SERVER,
      attributes: { 'rpc.system': 'fanfare', 'rpc.method': 'good', 'fanfare.tenant': 'acme' },
      parentSpanContext: { ...REMOTE, isRemote: true },
      status: { code: SpanStatusCode.UNSET },
    });
    expect(good?.spanContext().traceId).toBe(REMOTE.traceId);
    expect(active[0]).toBe(good?.spanContext().spanId);
    expect(bad).toMatchObject({
      name: 'fanfare bad',
      status: { code: SpanStatusCode.ERROR },
      parentSpanContext: undefined,
    });
    expect(orphan?.parentSpanContext).toBeUndefined();
    await worker.stop();
  });
});
