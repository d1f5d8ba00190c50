//! What somebody asked of this node: to publish, or to ask a backend.

use fanfare_protocol::{Event, Method, RequestId, Tenant, TopicKey, Traceparent};
use hyper::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use super::attributes::{
    BATCH_COUNT, NODE, OPERATION_NAME, OPERATION_TYPE, TENANT, kind, kind_of, name, of_event, of_topic,
};
use super::span::Span;
use super::{Traces, Tracing};

/// The `traceparent` of an HTTP request. Where there are several, the first one counts, although the standard would have none
/// count: a library that names its span sends its own first, and an instrumented HTTP client under it adds another.
pub(crate) fn header(headers: &HeaderMap) -> Option<Traceparent> {
    Traceparent::parse(headers.get("traceparent")?.to_str().ok()?)
}

impl Traces {
    /// A client publishes this event. The span of a trace that is not recorded names that trace to others; none where traces
    /// are off.
    pub(crate) fn publish(
        &self,
        key: &TopicKey,
        (event, is_durable): (&Event, bool),
        parent: Option<Traceparent>,
    ) -> Option<Span> {
        let tracing = self.0.as_ref()?;
        let mut span = tracing.span(SpanKind::Server, parent, || name("publish", kind(key)))?;
        if span.is_recorded() {
            tracing.describe_publish(&mut span, "client");
            span.extend(of_topic(key.tenant(), key.topic()));
            span.extend(of_event(event, is_durable));
        }
        Some(span)
    }

    /// A backend publishes over HTTP, to one topic or to several. Likewise.
    pub(crate) fn publish_over_http(
        &self,
        tenant: &str,
        topic: Option<&str>,
        parent: Option<Traceparent>,
    ) -> Option<Span> {
        let tracing = self.0.as_ref()?;
        let mut span = tracing.span(SpanKind::Server, parent, || match topic {
            Some(topic) => name("publish", kind_of(topic)),
            None => "publish".into(),
        })?;
        if !span.is_recorded() {
            return Some(span);
        }
        tracing.describe_publish(&mut span, "http");
        match topic {
            Some(topic) => span.extend(of_topic(tenant, topic)),
            None => {
                span.extend([KeyValue::new("messaging.system", "fanfare"), KeyValue::new(TENANT, tenant.to_owned())]);
            }
        }
        Some(span)
    }

    /// A client asks a backend. Only when that is recorded.
    pub(crate) fn request(
        &self,
        (tenant, method, id): (&Tenant, &Method, RequestId),
        parent: Option<Traceparent>,
    ) -> Option<Span> {
        let tracing = self.0.as_ref()?;
        let mut span = tracing.span(SpanKind::Client, parent, || name("request", method.as_str()))?;
        if !span.is_recorded() {
            return None;
        }
        span.set("messaging.system", "fanfare");
        span.set(OPERATION_NAME, "request");
        span.set(OPERATION_TYPE, "send");
        span.set("messaging.destination.name", "requests");
        span.set(TENANT, tenant.as_str().to_owned());
        span.set("rpc.method", method.as_str().to_owned());
        span.set("fanfare.request", id.to_string());
        span.set(NODE, tracing.node.to_string());
        Some(span)
    }
}

impl Tracing {
    fn describe_publish(&self, span: &mut Span, via: &'static str) {
        span.set(OPERATION_NAME, "publish");
        span.set(OPERATION_TYPE, "send");
        span.set("fanfare.via", via);
        span.set(NODE, self.node.to_string());
    }
}

impl Span {
    /// It is about this one event.
    pub(crate) fn of_event(&mut self, event: &Event, is_durable: bool) {
        if self.is_recorded() {
            self.extend(of_event(event, is_durable));
        }
    }

    /// It is about many events, of which so many were not published.
    pub(crate) fn of_many(&mut self, events: usize, failures: usize) {
        self.set(BATCH_COUNT, i64::try_from(events).unwrap_or(i64::MAX));
        self.set("fanfare.failures", i64::try_from(failures).unwrap_or(i64::MAX));
    }

    /// What became of a request.
    pub(crate) fn outcome(&mut self, outcome: &'static str) {
        self.set("fanfare.outcome", outcome);
    }
}
