//! An event's way through this node: one span from reading it to the last client's outbox, however many shards and clients
//! take part, and one before it for its way through Redis.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fanfare_core::{SessionId, TopicId};
use fanfare_protocol::{Event, TopicKey, Traceparent};
use opentelemetry::trace::SpanKind;

use super::attributes::{NODE, OPERATION_NAME, OPERATION_TYPE, kind, name, of_event, of_topic};
use super::span::Span;
use super::{Traces, Tracing};

/// An `at` that is older says when something happened, and not when it was published.
const TRANSIT_MAX: Duration = Duration::from_hours(1);

/// One event's span.
#[derive(Debug)]
pub struct Delivery {
    span: Span,
    topic: TopicId,
    /// Who is left out.
    except: Option<SessionId>,
    read: Instant,
    recipients: AtomicU64,
}

/// The spans of events that are handed to the shards together. Each shard that has subscribers holds it while it delivers;
/// the last one to let go ends them.
#[derive(Debug)]
pub struct Deliveries {
    each: Vec<Delivery>,
    /// When the first shard began.
    taken: OnceLock<Instant>,
}

impl Traces {
    /// The span of an event that was read at `read` and is about to be told, when its trace is recorded.
    pub(crate) fn delivery(
        &self,
        (topic, key): (TopicId, &TopicKey),
        event: &Event,
        except: Option<SessionId>,
        read: Instant,
    ) -> Option<Delivery> {
        let tracing = self.0.as_ref()?;
        let trace = tracing.sampler.decide(event.traceparent).recorded()?;
        let read_at = SystemTime::now() - read.elapsed();
        tracing.transit(key, event, trace, read_at);
        let name = name("deliver", kind(key));
        let mut span = Span::begin(&tracing.queue, SpanKind::Consumer, (trace, event.traceparent), name, read_at);
        span.extend(of_topic(key.tenant(), key.topic()));
        span.extend(of_event(event, event.position.is_some()));
        span.set(OPERATION_NAME, "deliver");
        span.set(OPERATION_TYPE, "process");
        span.set("fanfare.topic.kind", kind(key));
        span.set(NODE, tracing.node.to_string());
        Some(Delivery { span, topic, except, read, recipients: AtomicU64::new(0) })
    }
}

impl Tracing {
    /// The way through Redis, where the publisher said when it began and in which span: a trace has one root, and the delivery is
    /// that of an event that names none.
    fn transit(&self, key: &TopicKey, event: &Event, trace: u128, read_at: SystemTime) {
        let Some(parent) = event.traceparent else { return };
        let Some(at) = event.at.and_then(|at| UNIX_EPOCH.checked_add(Duration::from_millis(at))) else { return };
        if read_at.duration_since(at).is_ok_and(|took| took <= TRANSIT_MAX) {
            let name = name("transit", kind(key));
            let mut span = Span::begin(&self.queue, SpanKind::Internal, (trace, Some(parent)), name, at);
            span.extend(of_topic(key.tenant(), key.topic()));
            span.set(NODE, self.node.to_string());
            span.end_at(read_at);
        }
    }
}

impl Delivery {
    /// What the event's frame names.
    pub(crate) fn context(&self) -> Traceparent {
        self.span.context()
    }
}

impl Deliveries {
    /// None when there is nothing to trace.
    pub(crate) fn new(each: Vec<Delivery>) -> Option<Arc<Self>> {
        (!each.is_empty()).then(|| Arc::new(Self { each, taken: OnceLock::new() }))
    }

    /// A shard begins.
    pub(crate) fn take(&self) {
        self.taken.get_or_init(Instant::now);
    }

    /// A shard has handed a topic's events to so many of its sessions; `has` says which.
    pub(crate) fn reached(&self, topic: TopicId, sessions: usize, has: impl Fn(SessionId) -> bool) {
        for delivery in self.each.iter().filter(|delivery| delivery.topic == topic) {
            let left_out = usize::from(delivery.except.is_some_and(&has));
            delivery.recipients.fetch_add(sessions.saturating_sub(left_out) as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        let now = Instant::now();
        for mut delivery in self.each.drain(..) {
            let taken = self.taken.get().copied().unwrap_or(now);
            let recipients = delivery.recipients.into_inner();
            delivery.span.set("fanfare.recipients", i64::try_from(recipients).unwrap_or(i64::MAX));
            delivery.span.set("fanfare.queue_us", micros(taken.duration_since(delivery.read)));
            delivery.span.set("fanfare.write_us", micros(now.duration_since(taken)));
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
