import type { Client } from '@fanfare/client';
import { channel, createPublisher, createWorker, type Publisher, type Worker } from '@fanfare/server';
import { createHttpPublisher } from '@fanfare/server/http';
import { context, propagation, type SpanContext, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BasicTracerProvider,
  ParentBasedSampler,
  SimpleSpanProcessor,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { API_KEY, FanfareNode } from '../browser/support/node.ts';
import { RedisServer } from '../browser/support/redis.ts';
import { mintToken } from '../browser/support/token.ts';
import { run } from '../docs/run.ts';
import { snippet } from '../docs/snippets.ts';
import { until } from '../support/until.ts';
import { Collector } from './collector.ts';

/** What the recipe for pages exports. */
interface Page {
  client: Client;
  cancelOrder(id: number): Promise<unknown>;
}

const ORDERS = channel('orders');
const tracer = trace.getTracer('backend');

let collector: Collector;
let provider: BasicTracerProvider;
let node: FanfareNode;
let redis: Redis;
let publisher: Publisher;
let worker: Worker;
let page: Page;

beforeAll(async () => {
  collector = await Collector.start();
  const exporter = new OTLPTraceExporter({ url: `${collector.url}/v1/traces` });
  provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'shop' }),
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  });
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());

  const server = await RedisServer.start();
  node = await FanfareNode.start(server.url, {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_BSP_SCHEDULE_DELAY: '50',
  });
  redis = new Redis(server.port, '127.0.0.1');
  publisher = createPublisher({ redis });
  worker = createWorker({ redis, tenants: ['acme'], group: 'backend', blockMs: 100 });
  worker.method('orders.cancel', async () => {
    await publisher.publish('acme', ORDERS, { type: 'order.updated', data: { id: 7 } });
    return { cancelled: true };
  });
  await worker.start();
  page = await open();
});

afterAll(async () => {
  page?.client.disconnect();
  await worker?.stop();
  redis?.disconnect();
  await provider?.shutdown();
  context.disable();
  propagation.disable();
  trace.disable();
  vi.unstubAllGlobals();
});

/** The page of the recipe, which looks at the orders. */
async function open(): Promise<Page> {
  vi.stubGlobal('location', { href: `http://127.0.0.1:${node.port}/` });
  vi.stubGlobal('WebSocket', WebSocket);
  const token = new Response(mintToken({ tenant: 'acme', user: '42', lifetimeS: 600 }));
  const { fetch } = globalThis;
  vi.stubGlobal('fetch', async (url: string, init?: RequestInit) =>
    url === '/api/realtime-token' ? token : fetch(url, init),
  );
  const opened = (await run(snippet('docs/recipes.md', 'traces'))) as unknown as Page;
  const orders = opened.client.channel('orders');
  orders.subscribe();
  await until('the orders are live', () => orders.state.get().status === 'subscribed');
  return opened;
}

/** Does something within a span of the backend's own, as its route handlers do. */
function within(name: string, act: () => Promise<unknown>): Promise<SpanContext> {
  return tracer.startActiveSpan(name, async (span) => {
    await act();
    span.end();
    return span.spanContext();
  });
}

test('from the publisher through Redis and the node to the listener in the page', async () => {
  const event = { type: 'order.updated', id: 'evt_1', at: Date.now(), data: { id: 7 } };
  const { traceId, spanId } = await within('pay', () => publisher.publish('acme', ORDERS, event));

  const topic = {
    'messaging.system': 'fanfare',
    'messaging.destination.name': 'channel:orders',
    'messaging.destination.template': 'channel',
    'fanfare.tenant': 'acme',
  };
  const about = {
    'messaging.message.id': 'evt_1',
    'messaging.message.body.size': expect.any(Number),
    'fanfare.event.type': 'order.updated',
    'fanfare.durable': false,
  };
  const send = await collector.span('send channel', traceId);
  expect(send).toMatchObject({ parentSpanId: spanId, kind: 'producer', service: 'shop', scope: '@fanfare/server' });
  expect(send.attributes).toEqual({
    ...topic,
    ...about,
    'messaging.operation.name': 'send',
    'messaging.operation.type': 'send',
  });

  const transit = await collector.span('transit channel', traceId);
  expect(transit).toMatchObject({ parentSpanId: send.spanId, kind: 'internal', service: 'fanfare', startMs: event.at });
  expect(transit.attributes).toMatchObject(topic);

  const deliver = await collector.span('deliver channel', traceId);
  expect(deliver).toMatchObject({ parentSpanId: send.spanId, kind: 'consumer', service: 'fanfare' });
  expect(deliver.startMs).toBeCloseTo(transit.endMs, 0);
  expect(deliver.attributes).toEqual({
    ...topic,
    ...about,
    'messaging.message.body.size': send.attributes['messaging.message.body.size'],
    'messaging.operation.name': 'deliver',
    'messaging.operation.type': 'process',
    'fanfare.topic.kind': 'channel',
    'fanfare.recipients': 1,
    'fanfare.queue_us': expect.any(Number),
    'fanfare.write_us': expect.any(Number),
    'fanfare.node': expect.any(String),
  });

  const handled = await collector.span('process event', traceId);
  expect(handled).toMatchObject({ parentSpanId: deliver.spanId, kind: 'consumer', scope: 'page' });
  expect(handled.attributes).toEqual({
    'messaging.destination.name': 'channel:orders',
    'fanfare.event.type': 'order.updated',
  });
});

test('each event of a batch by itself', async () => {
  const batch = ['a', 'b'].map((id) => ({ topic: ORDERS, event: { type: 'order.updated', id, data: null } }));
  const { traceId } = await within('import', () => publisher.publishBatch('acme', batch));
  const named = (name: string) => collector.spans.filter((span) => span.name === name && span.traceId === traceId);
  await until('both are handled', () => named('process event').length === 2);
  const path = (id: string) => {
    const create = named('create channel').find((span) => span.attributes['messaging.message.id'] === id);
    const deliver = named('deliver channel').find((span) => span.parentSpanId === create?.spanId);
    return [deliver?.attributes['messaging.message.id'], deliver?.spanId];
  };
  await until('both are told of', () => named('create channel').length + named('deliver channel').length === 4);
  expect(['a', 'b'].map((id) => path(id)[0])).toEqual(['a', 'b']);
  expect(named('process event').map(({ parentSpanId }) => parentSpanId)).toEqual(['a', 'b'].map((id) => path(id)[1]));
});

test('over the HTTP API', async () => {
  const { publish } = createHttpPublisher({ url: node.apiUrl, apiKey: API_KEY });
  const { traceId } = await within('pay', () => publish('acme', ORDERS, { type: 'order.updated', data: null }));
  const send = await collector.span('send channel', traceId);
  const taken = await collector.span('publish channel', traceId);
  const deliver = await collector.span('deliver channel', traceId);
  expect(taken).toMatchObject({ parentSpanId: send.spanId, kind: 'server', service: 'fanfare' });
  expect(taken.attributes).toMatchObject({ 'fanfare.via': 'http', 'messaging.destination.name': ORDERS });
  expect(deliver.parentSpanId).toBe(send.spanId);
});

test('what a page publishes', async () => {
  const { traceId, spanId } = await within('draw', () => page.client.channel('orders').publish('order.updated', null));
  const taken = await collector.span('publish channel', traceId);
  const deliver = await collector.span('deliver channel', traceId);
  const handled = await collector.span('process event', traceId);
  expect(taken).toMatchObject({ parentSpanId: spanId, kind: 'server', service: 'fanfare' });
  expect(taken.attributes).toMatchObject({ 'fanfare.via': 'client', 'messaging.destination.name': ORDERS });
  expect([deliver.parentSpanId, handled.parentSpanId]).toEqual([spanId, deliver.spanId]);
});

test('from the page through the node to the worker and back, and on with what the worker publishes', async () => {
  expect(await page.cancelOrder(7)).toEqual({ cancelled: true });
  const asked = await until('the page has told', () =>
    collector.spans.find(({ name, scope }) => name === 'request orders.cancel' && scope === 'page'),
  );
  expect(asked).toMatchObject({ parentSpanId: '', kind: 'client' });

  const request = await collector.span('request orders.cancel', asked.traceId, 'fanfare');
  expect(request).toMatchObject({ kind: 'client', parentSpanId: asked.spanId });
  expect(request.attributes).toMatchObject({
    'rpc.method': 'orders.cancel',
    'fanfare.tenant': 'acme',
    'fanfare.outcome': 'reply',
  });

  const work = await collector.span('fanfare orders.cancel', asked.traceId);
  expect(work).toMatchObject({ kind: 'server', parentSpanId: request.spanId });
  expect(work.attributes).toMatchObject({
    'rpc.method': 'orders.cancel',
    'fanfare.tenant': 'acme',
    'fanfare.request': request.attributes['fanfare.request'],
  });

  const send = await collector.span('send channel', asked.traceId);
  expect(send.parentSpanId).toBe(work.spanId);
  const deliver = await collector.span('deliver channel', asked.traceId);
  const handled = await collector.span('process event', asked.traceId);
  expect([deliver.parentSpanId, handled.parentSpanId]).toEqual([send.spanId, deliver.spanId]);
});

test('of a trace that is not sampled nobody tells anything', async () => {
  const silent = new BasicTracerProvider({
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(0) }),
  });
  const heard: (string | undefined)[] = [];
  const off = page.client.on('order.updated', ({ traceparent }) => heard.push(traceparent));
  const root = silent.getTracer('backend').startSpan('pay');
  const { traceId } = root.spanContext();
  await context.with(trace.setSpan(context.active(), root), () =>
    publisher.publish('acme', ORDERS, { type: 'order.updated', data: null }),
  );
  const next = await within('pay', () => publisher.publish('acme', ORDERS, { type: 'order.updated', data: null }));
  await collector.span('process event', next.traceId);
  await collector.span('deliver channel', next.traceId);
  expect(heard[0]).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
  expect(collector.spans.filter((span) => span.traceId === traceId)).toEqual([]);
  expect(collector.complaints).toEqual([]);
  off();
});
