import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createWorker } from '../src/index.ts';
import { flavours, type Made } from './support/flavours.ts';
import { RedisServer } from './support/redis.ts';
import { Replies } from './support/replies.ts';
import { until } from './support/until.ts';

const exporter = new InMemorySpanExporter();
const REMOTE = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7' };
const TRACEPARENT = `00-${REMOTE.traceId}-${REMOTE.spanId}-01`;

let server: RedisServer;
let made: Made;
let replies: Replies;

beforeAll(async () => {
  server = await RedisServer.start();
  replies = await Replies.of(server);
  made = (await flavours[0]?.single(server.port)) as Made;
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
});

afterAll(async () => {
  context.disable();
  trace.disable();
  replies?.close();
  await made?.close();
  await server?.stop();
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
  await replies.ask('acme', 'r1', { method: 'good', traceparent: TRACEPARENT });
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
    attributes: { 'rpc.system': 'fanfare', 'rpc.method': 'good', 'fanfare.tenant': 'acme', 'fanfare.request': 'r1' },
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
