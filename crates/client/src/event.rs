//! An event on its way out: the envelope of the contract, built field by field. Deliberately without rules of its own:
//! `fanfare_protocol` checks the bytes, as every node does.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fanfare_protocol::{Codec, TopicKey};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::publish_error::PublishError;
use crate::trace::{Sending, Sent, TraceFields};

/// What is published: a `type`, `data`, and what the envelope has besides.
///
/// ```
/// use fanfare_client::Event;
/// use serde_json::json;
///
/// let event = Event::new("order.updated").data(&json!({ "id": 7, "total": 12.5 })).key("order-7");
/// ```
#[derive(Debug, Clone)]
pub struct Event {
    envelope: Envelope,
    /// Why there is no data.
    fault: Option<String>,
    is_traced: bool,
}

/// The fields in the order in which they are written.
#[derive(Debug, Clone, Serialize)]
struct Envelope {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    except: Option<String>,
    #[serde(flatten)]
    trace: TraceFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

impl Event {
    /// An event of this type, 1 to 200 bytes: `order.updated`. Its data is null.
    pub fn new(event_type: impl Into<String>) -> Event {
        let envelope = Envelope {
            event_type: event_type.into(),
            id: None,
            at: None,
            key: None,
            except: None,
            trace: TraceFields::default(),
            data: None,
        };
        Event { envelope, fault: None, is_traced: true }
    }

    /// Any value that has a form in JSON. One that has none, such as a map whose keys are no texts, is told when the event
    /// is published ([`PublishError::Data`]).
    #[must_use]
    pub fn data<T: Serialize + ?Sized>(mut self, data: &T) -> Event {
        (self.envelope.data, self.fault) = match serde_json::value::to_raw_value(data) {
            Ok(data) => (Some(data), None),
            Err(error) => (None, Some(error.to_string())),
        };
        self
    }

    /// An id for the readers. What makes a repeated publish harmless is another one: [`Keep::id`](crate::Keep::id).
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Event {
        self.envelope.id = Some(id.into());
        self
    }

    /// When it happened, to the millisecond; before 1970 counts as 1970.
    #[must_use]
    pub fn at(mut self, at: SystemTime) -> Event {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.envelope.at = Some(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// To a slow client this event replaces a waiting older one of the same topic and key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Event {
        self.envelope.key = Some(key.into());
        self
    }

    /// The id of a connection that is left out, such as [`Request::connection`](crate::Request::connection): of the client
    /// that knows already.
    #[must_use]
    pub fn except(mut self, connection: impl Into<String>) -> Event {
        self.envelope.except = Some(connection.into());
        self
    }

    /// The trace that it belongs to, in the form of W3C Trace Context, in place of the current one. It is sent as it is, and
    /// without a span.
    #[must_use]
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Event {
        self.envelope.trace = TraceFields { traceparent: Some(traceparent.into()), tracestate: None };
        self
    }

    /// Leaves the current trace out.
    #[must_use]
    pub fn without_trace(mut self) -> Event {
        self.is_traced = false;
        self.envelope.trace = TraceFields::default();
        self
    }

    /// Begins to send it to this topic. One whose trace is left out, or said by the caller, has no span.
    pub(crate) fn sending(&self, topic: &TopicKey, is_durable: bool) -> Sending {
        if !self.is_traced || self.envelope.trace.traceparent.is_some() {
            return Sending::default();
        }
        let Envelope { event_type, id, .. } = &self.envelope;
        let (tenant, topic) = (topic.tenant(), topic.topic());
        Sending::begin(Sent { tenant, topic, event_type, id: id.as_deref(), is_durable })
    }

    /// The bytes, checked.
    pub(crate) fn encode(&self, trace: Option<TraceFields>, bytes_max: usize) -> Result<Bytes, PublishError> {
        if let Some(fault) = &self.fault {
            return Err(PublishError::Data(fault.clone()));
        }
        let bytes = match trace {
            None => serde_json::to_vec(&self.envelope),
            Some(trace) => serde_json::to_vec(&Envelope { trace, ..self.envelope.clone() }),
        };
        let bytes = bytes.map_err(|error| PublishError::Data(error.to_string()))?;
        Ok(fanfare_protocol::Event::from_envelope(Codec::Json, bytes.into(), bytes_max)?.envelope)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use fanfare_protocol::EnvelopeError;
    use serde_json::json;

    use super::*;

    fn text(event: &Event) -> Result<String, PublishError> {
        event.encode(None, 65_536).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn an_event_is_written_as_the_contract_has_it() {
        assert_eq!(text(&Event::new("a")), Ok(r#"{"type":"a"}"#.to_owned()));
        let at = UNIX_EPOCH + Duration::from_millis(1_767_225_600_123);
        let event = Event::new("a").data(&json!({ "total": 1.5 })).id("1").at(at).key("k").except("c").traceparent("t");
        let expected =
            r#"{"type":"a","id":"1","at":1767225600123,"key":"k","except":"c","traceparent":"t","data":{"total":1.5}}"#;
        assert_eq!(text(&event), Ok(expected.to_owned()));
    }

    #[test]
    fn what_would_reach_nobody_is_refused_with_its_reason() {
        assert_eq!(text(&Event::new("")), Err(PublishError::Event(EnvelopeError::InvalidType(0))));
        let large = Event::new("a").data(&"x".repeat(65_536));
        assert!(matches!(text(&large), Err(PublishError::Event(EnvelopeError::TooLarge { max: 65_536, .. }))));
        let no_json = Event::new("a").data(&HashMap::from([((1, 2), 3)]));
        assert!(matches!(text(&no_json), Err(PublishError::Data(_))));
        assert_eq!(text(&no_json.data(&1)), Ok(r#"{"type":"a","data":1}"#.to_owned()));
    }
}
