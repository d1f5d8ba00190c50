//! One span. It ends when it is dropped, so every way out of an operation ends it. One of a trace that is not recorded is its
//! context and nothing else: what is published in it has to say so, or others would decide about it once more.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::SystemTime;

use fanfare_protocol::Traceparent;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::attributes::ERROR_TYPE;
use super::queue::Queue;

static SCOPE: LazyLock<InstrumentationScope> =
    LazyLock::new(|| InstrumentationScope::builder("fanfare").with_version(env!("CARGO_PKG_VERSION")).build());

/// A span that has begun.
#[derive(Debug)]
pub struct Span {
    context: Traceparent,
    /// What is recorded, and where it goes. None once it has ended, and of a trace that is not recorded.
    data: Option<(Box<SpanData>, Queue)>,
}

impl Span {
    /// A span of `trace`, a child of `parent` if it has one.
    pub(super) fn begin(
        queue: &Queue,
        kind: SpanKind,
        (trace, parent): (u128, Option<Traceparent>),
        name: Cow<'static, str>,
        start: SystemTime,
    ) -> Self {
        // No id is 0.
        let context = Traceparent::new(trace, rand::random::<u64>().max(1), true);
        let (trace_id, span_id) = (TraceId::from(trace), SpanId::from(context.span_id()));
        let data = SpanData {
            span_context: SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: SpanId::from(parent.map_or(0, |parent| parent.span_id())),
            parent_span_is_remote: parent.is_some(),
            span_kind: kind,
            name,
            start_time: start,
            end_time: start,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: SCOPE.clone(),
        };
        Self { context, data: Some((Box::new(data), queue.clone())) }
    }

    /// One of a trace that is not recorded: its caller's own, or else the beginning of `trace`.
    pub(super) fn unrecorded(trace: u128, parent: Option<Traceparent>) -> Self {
        let context = parent.unwrap_or_else(|| Traceparent::new(trace, rand::random::<u64>().max(1), false));
        Self { context, data: None }
    }

    /// Whether what is said of it goes anywhere.
    pub(super) fn is_recorded(&self) -> bool {
        self.data.is_some()
    }

    /// What a child names as its parent.
    pub(crate) fn context(&self) -> Traceparent {
        self.context
    }

    /// One attribute more.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some((data, _)) = &mut self.data {
            data.attributes.push(KeyValue::new(key, value));
        }
    }

    /// Many attributes more.
    pub(super) fn extend(&mut self, attributes: impl IntoIterator<Item = KeyValue>) {
        if let Some((data, _)) = &mut self.data {
            data.attributes.extend(attributes);
        }
    }

    /// What it stands for has failed, for this reason of a few. The first one counts.
    pub(crate) fn fail(&mut self, reason: &'static str) {
        if let Some((data, _)) = &mut self.data
            && data.status == Status::Unset
        {
            data.attributes.push(KeyValue::new(ERROR_TYPE, reason));
            data.status = Status::error(reason);
        }
    }

    /// Ends it at a time other than now.
    pub(super) fn end_at(mut self, end: SystemTime) {
        self.finish(end);
    }

    fn finish(&mut self, end: SystemTime) {
        if let Some((mut data, queue)) = self.data.take() {
            data.end_time = end.max(data.start_time);
            queue.add(data);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.finish(SystemTime::now());
    }
}
