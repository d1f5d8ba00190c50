/**
 * OpenTelemetry by the place in `globalThis` where every copy of `@opentelemetry/api` 1.x meets every other, so nothing is
 * imported: a bundle for the edge without OpenTelemetry needs no stub, and one with it needs no setting. Deliberately
 * without knowledge of what the spans are about.
 */

/** A W3C Trace Context, as an event or a request carries it. */
export interface TraceContext {
  traceparent: string;
  tracestate?: string;
}

/** What is told of a span. */
export type Attributes = Record<string, string | number | boolean>;

/** A span elsewhere that has to do with this one, though it is not its parent. */
export interface Link {
  context: SpanContext;
  attributes: Attributes;
}

export interface SpanContext {
  traceId: string;
  spanId: string;
  traceFlags: number;
  traceState?: { serialize(): string };
  isRemote?: boolean;
}

export interface Span {
  spanContext(): SpanContext;
  isRecording(): boolean;
  setAttribute(name: string, value: string | number | boolean): unknown;
  recordException(error: unknown): void;
  setStatus(status: { code: number; message?: string }): unknown;
  end(): void;
}

export interface Context {
  getValue(key: symbol): unknown;
  setValue(key: symbol, value: unknown): Context;
}

export interface SpanOptions {
  kind: number;
  attributes: Attributes;
  links?: Link[];
}

interface Api {
  context?: { active(): Context; with<R>(context: Context, run: () => R): R };
  trace?: { getTracer(name: string): { startSpan(name: string, options: SpanOptions, parent: Context): Span } };
}

/** OpenTelemetry, set up. */
export type OpenTelemetry = Required<Api>;

/** Of a span's `traceFlags`. */
export const SAMPLED = 1;
export const KIND_SERVER = 1;
export const KIND_CLIENT = 2;
export const KIND_PRODUCER = 3;

const API = Symbol.for('opentelemetry.js.api.1');
const SPAN = Symbol.for('OpenTelemetry Context Key SPAN');
const TRACER = '@fanfare/server';
const STATUS_ERROR = 2;
const NO_TRACE = '0'.repeat(32);
const NO_SPAN = '0'.repeat(16);
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;

/** Undefined in a process that hasn't set up both halves, contexts and tracers. */
export function openTelemetry(): OpenTelemetry | undefined {
  const { context, trace } = ((globalThis as Record<symbol, unknown>)[API] ?? {}) as Api;
  return context && trace && { context, trace };
}

export function startSpan({ trace }: OpenTelemetry, name: string, options: SpanOptions, parent: Context): Span {
  return trace.getTracer(TRACER).startSpan(name, options, parent);
}

/** Runs with the span as the active one, and ends it. What is thrown is the span's error, and thrown on. */
export async function during<R>({ context }: OpenTelemetry, span: Span, run: () => Promise<R>): Promise<R> {
  try {
    return await context.with(context.active().setValue(SPAN, span), run);
  } catch (error) {
    span.recordException(error);
    fail(span, error);
    throw error;
  } finally {
    span.end();
  }
}

/** Says that what the span is about went wrong. `error.type` is the error's code, where it has one. */
export function fail(span: Span, error: unknown): void {
  const { code, name, message } = (error instanceof Error ? error : {}) as Partial<Error & { code: unknown }>;
  span.setAttribute('error.type', typeof code === 'string' ? code : (name ?? '_OTHER'));
  span.setStatus({ code: STATUS_ERROR, ...(message && { message }) });
}

/** The span's identity, for an envelope; undefined when it has none, as where nothing is traced. */
export function traceOf(span: Span): TraceContext | undefined {
  const { traceId, spanId, traceFlags, traceState } = span.spanContext();
  if (traceId === NO_TRACE || spanId === NO_SPAN) {
    return undefined;
  }
  const flags = (traceFlags & 0xff).toString(16).padStart(2, '0');
  const traceparent = `00-${traceId}-${spanId}-${flags}`;
  const tracestate = traceState?.serialize();
  return tracestate ? { traceparent, tracestate } : { traceparent };
}

/** The span that a `traceparent` names; undefined when it names none. */
export function remoteOf(traceparent: string | undefined): SpanContext | undefined {
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent ?? '') ?? [];
  if (!traceId || !spanId || !flags || traceId === NO_TRACE || spanId === NO_SPAN) {
    return undefined;
  }
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & SAMPLED, isRemote: true };
}

/** A context in which the parent is that remote span, or in which there is none. */
export function withParent(context: Context, parent: SpanContext | undefined): Context {
  return context.setValue(SPAN, parent && remoteSpan(parent));
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
