//! The trace that an event or a request belongs to (W3C Trace Context). Events take it from the caller's OpenTelemetry
//! context, and a request's handler runs in a span of it; without the feature `opentelemetry` nothing is taken and nothing
//! made. Deliberately blind to the propagator that the backend configured: the contract has one format.

use serde::Serialize;

/// The envelope's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct TraceFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tracestate: Option<String>,
}

#[cfg(not(feature = "opentelemetry"))]
pub(crate) use absent::{current, traced};
#[cfg(feature = "opentelemetry")]
pub(crate) use active::{current, traced};

#[cfg(not(feature = "opentelemetry"))]
mod absent {
    use super::TraceFields;
    use crate::worker::{Request, RequestError};

    pub(crate) fn current() -> Option<TraceFields> {
        None
    }

    pub(crate) async fn traced<T>(
        _: &Request,
        handling: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, RequestError> {
        handling.await
    }
}

#[cfg(feature = "opentelemetry")]
mod active {
    use opentelemetry::context::FutureExt;
    use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, TraceState, Tracer};
    use opentelemetry::{Context, KeyValue, SpanId, TraceId, global};

    use super::TraceFields;
    use crate::worker::{Request, RequestError};

    /// Of the caller; none outside of any trace.
    pub(crate) fn current() -> Option<TraceFields> {
        Context::map_current(|context| {
            let span = context.span();
            let span = span.span_context();
            if !span.is_valid() {
                return None;
            }
            let (trace, id, flags) = (span.trace_id(), span.span_id(), span.trace_flags().to_u8());
            let state = span.trace_state().header();
            Some(TraceFields {
                traceparent: Some(format!("00-{trace}-{id}-{flags:02x}")),
                tracestate: Some(state).filter(|state| !state.is_empty()),
            })
        })
    }

    /// Runs a handler in a span whose parent is the request's.
    pub(crate) async fn traced<T>(
        request: &Request,
        handling: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, RequestError> {
        let tracer = global::tracer("fanfare-client");
        let builder = tracer
            .span_builder(request.method().to_owned())
            .with_kind(SpanKind::Server)
            .with_attributes([KeyValue::new("fanfare.request", request.id().to_owned())]);
        let parent =
            request.traceparent().and_then(parse).map(|parent| Context::new().with_remote_span_context(parent));
        let span = builder.start_with_context(&tracer, &parent.unwrap_or_default());
        let context = Context::new().with_span(span);
        let outcome = handling.with_context(context.clone()).await;
        if let Err(error) = &outcome {
            context.span().set_status(Status::error(error.code().to_owned()));
        }
        context.span().end();
        outcome
    }

    /// `00-<trace>-<span>-<flags>`, each in lower-case hexadecimal (<https://www.w3.org/TR/trace-context/#traceparent-header>).
    fn parse(traceparent: &str) -> Option<SpanContext> {
        let mut parts = traceparent.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let has_form = [(version, 2), (trace, 32), (span, 16), (flags, 2)].iter().all(|(part, length)| {
            part.len() == *length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        });
        // Later versions may have more to say behind it.
        if !has_form || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        Some(SpanContext::new(trace, span, flags, true, TraceState::default())).filter(SpanContext::is_valid)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn only_a_traceparent_of_the_standard_is_taken() {
            let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
            assert!(parse(good).is_some_and(|span| span.is_sampled() && span.is_remote()));
            assert!(parse(&good.replace("-01", "-00")).is_some_and(|span| !span.is_sampled()));
            assert!(parse(&format!("{}-more", good.replace("00-4", "01-4"))).is_some());
            for bad in [
                "",
                "00",
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                &good.to_uppercase(),
                &format!("{good}-more"),
                &good.replace("00-4", "ff-4"),
                &good.replace("00-4", "00-é"),
            ] {
                assert!(parse(bad).is_none(), "{bad}");
            }
        }
    }
}
