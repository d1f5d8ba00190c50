//! The words of OpenTelemetry's conventions for messaging
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>), and our own where those have none.

use std::borrow::Cow;

use fanfare_protocol::{Event, TopicKey};
use opentelemetry::{KeyValue, StringValue, Value};

/// The reason of a failure.
pub(super) const ERROR_TYPE: &str = "error.type";
/// How many events one request brought.
pub(super) const BATCH_COUNT: &str = "messaging.batch.message_count";
/// What is done: `deliver`, `publish`.
pub(super) const OPERATION_NAME: &str = "messaging.operation.name";
/// Of which of the conventions' kinds that is.
pub(super) const OPERATION_TYPE: &str = "messaging.operation.type";
/// The tenant.
pub(super) const TENANT: &str = "fanfare.tenant";
/// The node's id.
pub(super) const NODE: &str = "fanfare.node";

/// `channel`, `user` or `tenant`.
pub(super) fn kind(key: &TopicKey) -> &'static str {
    kind_of(key.topic())
}

/// The same of a topic without its tenant.
pub(super) fn kind_of(topic: &str) -> &'static str {
    match topic.split_once(':') {
        Some(("user", _)) => "user",
        Some(_) => "channel",
        None => "tenant",
    }
}

/// The name of a span: `deliver channel`.
pub(super) fn name(operation: &str, of: &str) -> Cow<'static, str> {
    format!("{operation} {of}").into()
}

/// What every span has that belongs to a topic.
pub(super) fn of_topic(tenant: &str, topic: &str) -> [KeyValue; 4] {
    [
        KeyValue::new("messaging.system", "fanfare"),
        KeyValue::new("messaging.destination.name", topic.to_owned()),
        KeyValue::new("messaging.destination.template", kind_of(topic)),
        KeyValue::new(TENANT, tenant.to_owned()),
    ]
}

/// An id that is longer is left out. All else that a span says has a limit of its own, so spans that wait are bounded in bytes.
const ID_BYTES_MAX: usize = 200;

/// What is said of an event.
pub(super) fn of_event(event: &Event, is_durable: bool) -> impl Iterator<Item = KeyValue> {
    let id =
        event.id().filter(|id| id.len() <= ID_BYTES_MAX).map(|id| KeyValue::new("messaging.message.id", text(&id)));
    let body_bytes = i64::try_from(event.envelope.len()).unwrap_or(i64::MAX);
    let known = [
        KeyValue::new("messaging.message.body.size", body_bytes),
        KeyValue::new("fanfare.event.type", text(&event.event_type)),
        KeyValue::new("fanfare.durable", is_durable),
    ];
    known.into_iter().chain(id)
}

fn text(text: &str) -> Value {
    Value::String(StringValue::from(text.to_owned()))
}
