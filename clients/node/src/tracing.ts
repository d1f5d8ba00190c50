/**
 * The caller's OpenTelemetry context, and a span around a handler. It speaks to the API by the place in `globalThis` where
 * every copy of `@opentelemetry/api` 1.x meets every other, so nothing is imported: a bundle for the edge without
 * OpenTelemetry needs no stub, and one with it needs no setting. Deliberately no spans for publishing: a publish is one
 * command, which the instrumentation of the Redis client or of `fetch` already tells.
 */

/** A W3C Trace Context, as an event or a request carries it. */
export interface TraceContext {
  traceparent: string;
  tracestate?: string;
}

interface SpanContext {
  traceId: string;
  spanId: string;
  traceFlags: number;
  traceState?: { serialize(): string };
  isRemote?: boolean;
}

interface Span {
  spanContext(): SpanContext;
  recordException(error: unknown): void;
  setStatus(status: { code: number; message?: string }): unknown;
  end(): void;
}

interface Context {
  getValue(key: symbol): unknown;
  setValue(key: symbol, value: unknown): Context;
}

interface Api {
  context?: { active(): Context; with<R>(context: Context, run: () => R): R };
  trace?: { getTracer(name: string): { startSpan(name: string, options: object, parent: Context): Span } };
}

const API = Symbol.for('opentelemetry.js.api.1');
const SPAN = Symbol.for('OpenTelemetry Context Key SPAN');
const TRACER = '@fanfare/server';
const KIND_SERVER = 1;
const STATUS_ERROR = 2;
const NO_TRACE = '0'.repeat(32);
const NO_SPAN = '0'.repeat(16);
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;

/** The trace context of the span that is active here; undefined without OpenTelemetry or without a span. */
export function activeTrace(): TraceContext | undefined {
  const span = api()?.context?.active().getValue(SPAN) as Span | undefined;
  const context = span?.spanContext();
  if (!context || context.traceId === NO_TRACE || context.spanId === NO_SPAN) {
    return undefined;
  }
  const flags = (context.traceFlags & 0xff).toString(16).padStart(2, '0');
  const traceparent = `00-${context.traceId}-${context.spanId}-${flags}`;
  const tracestate = context.traceState?.serialize();
  return tracestate ? { traceparent, tracestate } : { traceparent };
}

/** Runs within a span whose parent is the sender of `traceparent`; just runs when there is no OpenTelemetry. */
export async function withServerSpan<R>(
  name: string,
  attributes: Record<string, string>,
  traceparent: string | undefined,
  run: () => Promise<R>,
): Promise<R> {
  const { context, trace } = api() ?? {};
  if (!context || !trace) {
    return run();
  }
  const parent = withParent(context.active(), traceparent);
  const span = trace.getTracer(TRACER).startSpan(name, { kind: KIND_SERVER, attributes }, parent);
  try {
    return await context.with(parent.setValue(SPAN, span), run);
  } catch (error) {
    span.recordException(error);
    span.setStatus({ code: STATUS_ERROR });
    throw error;
  } finally {
    span.end();
  }
}

function api(): Api | undefined {
  return (globalThis as Record<symbol, unknown>)[API] as Api | undefined;
}

function withParent(context: Context, traceparent: string | undefined): Context {
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent ?? '') ?? [];
  if (!traceId || !spanId || !flags || traceId === NO_TRACE || spanId === NO_SPAN) {
    // A worker may have been started within some span, which has nothing to do with the requests.
    return context.setValue(SPAN, undefined);
  }
  const remote: SpanContext = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
  return context.setValue(SPAN, remoteSpan(remote));
}

/** A span that happens elsewhere: it has an identity and does nothing, like the API's own for a remote parent. */
function remoteSpan(context: SpanContext): Record<string, unknown> {
  const nothing = () => span;
  const span: Record<string, unknown> = {
    spanContext: () => context,
    setAttribute: nothing,
    setAttributes: nothing,
    addEvent: nothing,
    addLink: nothing,
    addLinks: nothing,
    setStatus: nothing,
    updateName: nothing,
    end: () => {},
    isRecording: () => false,
    recordException: () => {},
  };
  return span;
}
