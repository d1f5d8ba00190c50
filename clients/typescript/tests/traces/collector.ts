/** A collector: takes OTLP over HTTP, from whoever is told its address, and keeps every span. */

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import protobuf from 'protobufjs';
import { afterAll } from 'vitest';
import { until } from '../support/until.ts';

/** As much of https://github.com/open-telemetry/opentelemetry-proto, `trace/v1/trace.proto`, as is asked for. */
const SCHEMA = `
  syntax = "proto3";
  message Request { repeated ResourceSpans resource_spans = 1; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
  message Resource { repeated KeyValue attributes = 1; }
  message ScopeSpans { Scope scope = 1; repeated RawSpan spans = 2; }
  message Scope { string name = 1; }
  message RawSpan {
    bytes trace_id = 1; bytes span_id = 2; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
    fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9;
  }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message AnyValue { oneof value { string string = 1; bool bool = 2; int64 int = 3; double double = 4; } }
`;
const REQUEST = protobuf.parse(SCHEMA).root.lookupType('Request');
const KINDS = ['', 'internal', 'server', 'client', 'producer', 'consumer'];

/** A span, as its sender told of it. */
export interface Told {
  traceId: string;
  spanId: string;
  /** Empty for the first of a trace. */
  parentSpanId: string;
  name: string;
  kind: string;
  /** `service.name` of whoever sent it. */
  service: unknown;
  /** The library that made it. */
  scope: string;
  startMs: number;
  endMs: number;
  attributes: Record<string, unknown>;
}

const started: Collector[] = [];

afterAll(() => {
  for (const collector of started) {
    collector.close();
  }
});

export class Collector {
  /** In the order in which they came. */
  readonly spans: Told[] = [];
  /** What could not be read. */
  readonly complaints: unknown[] = [];

  private constructor(private readonly server: Server) {
    server.on('request', async (request, response) => {
      try {
        this.spans.push(...spansOf(await bodyOf(request)));
        response.writeHead(200, { 'Content-Type': 'application/x-protobuf' }).end();
      } catch (error) {
        this.complaints.push(error);
        response.writeHead(400).end();
      }
    });
    started.push(this);
  }

  static async start(): Promise<Collector> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Collector(server);
  }

  /** What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be. */
  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** The span of this name in a trace, from this service or from any, as soon as it is there. */
  span(name: string, traceId: string, service?: string): Promise<Told> {
    const isIt = (span: Told) =>
      span.name === name && span.traceId === traceId && (!service || span.service === service);
    return until(`the span ${name}`, () => this.spans.find(isIt));
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  if (request.url !== '/v1/traces' || request.headers['content-type'] !== 'application/x-protobuf') {
    throw new Error(`${request.url} is not for ${request.headers['content-type']}`);
  }
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

interface KeyValue {
  key: string;
  value: Record<string, unknown>;
}

interface RawSpan {
  traceId: Buffer;
  spanId: Buffer;
  parentSpanId: Buffer;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes: KeyValue[];
}

interface Request {
  resourceSpans: {
    resource: { attributes: KeyValue[] };
    scopeSpans: { scope: { name: string }; spans: RawSpan[] }[];
  }[];
}

function spansOf(body: Buffer): Told[] {
  const { resourceSpans } = REQUEST.toObject(REQUEST.decode(body), { defaults: true, longs: String }) as Request;
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ scope, spans }) =>
      spans.map((span) => ({
        traceId: hex(span.traceId),
        spanId: hex(span.spanId),
        parentSpanId: hex(span.parentSpanId),
        name: span.name,
        kind: KINDS[span.kind] ?? '',
        service: attributesOf(resource.attributes)['service.name'],
        scope: scope.name,
        startMs: msOf(span.startTimeUnixNano),
        endMs: msOf(span.endTimeUnixNano),
        attributes: attributesOf(span.attributes),
      })),
    ),
  );
}

function attributesOf(pairs: KeyValue[]): Record<string, unknown> {
  return Object.fromEntries(
    pairs.map(({ key, value }) => [key, 'int' in value ? Number(value.int) : Object.values(value)[0]]),
  );
}

/** To the microsecond: a time in ns has more digits than a number. */
function msOf(ns: string): number {
  return Number(BigInt(ns) / 1_000n) / 1_000;
}

function hex(bytes: Buffer): string {
  return Buffer.from(bytes).toString('hex');
}
