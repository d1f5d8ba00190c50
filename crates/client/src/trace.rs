//! The trace that an event or a request belongs to (W3C Trace Context). An event is sent in a span of its own, a child of the
//! caller's OpenTelemetry context, which its envelope names; and a request's handler runs in one. Without the feature
//! `opentelemetry` nothing is taken and nothing made, without an SDK no span. Deliberately blind to the propagator that the
//! backend configured: the contract has one format.

use serde::Serialize;

/// The envelope's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct TraceFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tracestate: Option<String>,
}

/// What a span says of an event.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "opentelemetry"), expect(dead_code, reason = "there is no span to say it"))]
pub(crate) struct Sent<'a> {
    pub(crate) tenant: &'a str,
    /// Without the tenant.
    pub(crate) topic: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) id: Option<&'a str>,
    pub(crate) is_durable: bool,
}

#[cfg(not(feature = "opentelemetry"))]
pub(crate) use absent::{Sending, traced};
#[cfg(feature = "opentelemetry")]
pub(crate) use active::{Sending, traced};

#[cfg(not(feature = "opentelemetry"))]
mod absent {
    use super::{Sent, TraceFields};
    use crate::publish_error::PublishError;
    use crate::worker::{Request, RequestError};

    /// No span.
    #[derive(Debug, Default)]
    pub(crate) struct Sending;

    impl Sending {
        pub(crate) fn begin(_: Sent<'_>) -> Self {
            Self
        }

        pub(crate) fn fields(&self) -> Option<TraceFields> {
            None
        }

        pub(crate) fn encoded(&mut self, _: usize) {}

        pub(crate) fn end(self, _: Option<&PublishError>) {}
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
    use std::borrow::Cow;

    use fanfare_protocol::Traceparent;
    use opentelemetry::context::FutureExt;
    use opentelemetry::global::BoxedSpan;
    use opentelemetry::trace::{Span, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, TraceState, Tracer};
    use opentelemetry::{Context, KeyValue, SpanId, TraceId, global};

    use super::{Sent, TraceFields};
    use crate::publish_error::PublishError;
    use crate::worker::{Request, RequestError};

    /// The span in which an event is sent; none of an event that is in no trace.
    #[derive(Debug, Default)]
    pub(crate) struct Sending(Option<BoxedSpan>);

    impl Sending {
        pub(crate) fn begin(sent: Sent<'_>) -> Self {
            let kind = match sent.topic.split_once(':') {
                Some(("user", _)) => "user",
                Some(_) => "channel",
                None => "tenant",
            };
            let tracer = global::tracer("fanfare-client");
            let mut span = tracer.span_builder(name(kind)).with_kind(SpanKind::Producer).start(&tracer);
            if span.is_recording() {
                let text = |key: &'static str, value: &str| KeyValue::new(key, value.to_owned());
                span.set_attributes([
                    KeyValue::new("messaging.system", "fanfare"),
                    KeyValue::new("messaging.operation.name", "send"),
                    KeyValue::new("messaging.operation.type", "send"),
                    text("messaging.destination.name", sent.topic),
                    KeyValue::new("messaging.destination.template", kind),
                    text("fanfare.tenant", sent.tenant),
                    text("fanfare.event.type", sent.event_type),
                    KeyValue::new("fanfare.durable", sent.is_durable),
                ]);
                span.set_attributes(sent.id.map(|id| text("messaging.message.id", id)));
            }
            Self(Some(span))
        }

        /// Of the span; of the caller where no SDK makes spans; none outside of any trace.
        pub(crate) fn fields(&self) -> Option<TraceFields> {
            let span = self.0.as_ref()?.span_context();
            if !span.is_valid() {
                return None;
            }
            let (trace, id, flags) = (span.trace_id(), span.span_id(), span.trace_flags().to_u8());
            let state = span.trace_state().header();
            Some(TraceFields {
                traceparent: Some(format!("00-{trace}-{id}-{flags:02x}")),
                tracestate: Some(state).filter(|state| !state.is_empty()),
            })
        }

        /// The envelope has so many bytes.
        pub(crate) fn encoded(&mut self, bytes: usize) {
            if let Some(span) = &mut self.0 {
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                span.set_attribute(KeyValue::new("messaging.message.body.size", bytes));
            }
        }

        /// Redis has it, or not. A span that is only dropped ends as well: its publish was given up.
        pub(crate) fn end(self, error: Option<&PublishError>) {
            if let (Some(mut span), Some(error)) = (self.0, error) {
                span.set_attribute(KeyValue::new("error.type", error.reason()));
                span.set_status(Status::error(error.reason()));
            }
        }
    }

    fn name(kind: &str) -> Cow<'static, str> {
        match kind {
            "user" => "send user",
            "channel" => "send channel",
            _ => "send tenant",
        }
        .into()
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
        let parent = request.traceparent().and_then(Traceparent::parse).map(remote);
        let parent = parent.map(|parent| Context::new().with_remote_span_context(parent));
        let span = builder.start_with_context(&tracer, &parent.unwrap_or_default());
        let context = Context::new().with_span(span);
        let outcome = handling.with_context(context.clone()).await;
        if let Err(error) = &outcome {
            context.span().set_status(Status::error(error.code().to_owned()));
        }
        context.span().end();
        outcome
    }

    fn remote(parent: Traceparent) -> SpanContext {
        let flags = if parent.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        let (trace, span) = (TraceId::from(parent.trace_id()), SpanId::from(parent.span_id()));
        SpanContext::new(trace, span, flags, true, TraceState::default())
    }
}
