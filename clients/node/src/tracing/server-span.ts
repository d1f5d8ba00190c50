/** The span around a handler: its parent is the client's request. Deliberately without knowledge of requests. */

import { during, KIND_SERVER, openTelemetry, remoteOf, startSpan, withParent } from './open-telemetry.ts';

/** Runs within a span whose parent is the sender of `traceparent`; just runs when there is no OpenTelemetry. */
export async function withServerSpan<R>(
  name: string,
  attributes: Record<string, string>,
  traceparent: string | undefined,
  run: () => Promise<R>,
): Promise<R> {
  const api = openTelemetry();
  if (!api) {
    return run();
  }
  // A worker may have been started within some span, which has nothing to do with the requests.
  const parent = withParent(api.context.active(), remoteOf(traceparent));
  return during(api, startSpan(api, name, { kind: KIND_SERVER, attributes }, parent), run);
}
