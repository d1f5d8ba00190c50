//! A client publishes: what it may, by way of the backplane, from where the event comes back like any other.

use std::sync::Arc;

use bytes::Bytes;
use fanfare_backplane::{Keep, PublishError};
use fanfare_core::Farewell;
use fanfare_protocol::{EnvelopeError, ErrorCode, Event, ServerFrame, Tenant, Topic, TopicKey};
use futures_util::FutureExt;

use super::{Busy, Client, Done};
use crate::metrics::Via;

impl Client {
    pub(super) fn publish(
        &self,
        id: Option<i64>,
        topic: &str,
        event: Bytes,
        durable: bool,
        tenant: &Tenant,
    ) -> Result<Option<Busy>, Farewell> {
        let refuse = |code, message: &str| self.refuse(id, Some(topic), code, message);
        let parsed = match Topic::parse(topic) {
            Ok(parsed) => parsed,
            Err(error) => return refuse(ErrorCode::InvalidTopic, &error.to_string()),
        };
        if !self.principal().is_some_and(|principal| principal.may_publish(&parsed)) {
            return refuse(ErrorCode::Forbidden, "this token may not publish to this topic");
        }
        if !durable && self.node.config.durable_only.matches(parsed.as_str()) {
            return refuse(ErrorCode::BadFrame, &EnvelopeError::NotDurable.to_string());
        }
        let event = match Event::from_envelope(self.session.codec(), event, self.node.config.event_bytes_max) {
            Ok(event) => event,
            Err(error) => return refuse(envelope_code(&error), &error.to_string()),
        };
        if event.except.as_deref().is_some_and(|name| name != self.node.names.name(self.session.id())) {
            return refuse(ErrorCode::Forbidden, "except may only name the connection itself");
        }
        let (node, session) = (Arc::clone(&self.node), Arc::clone(&self.session));
        let (key, topic) = (TopicKey::new(tenant, &parsed), parsed);
        let publishing = async move {
            let published = if durable {
                node.backplane.publish_durable(&key, event.envelope, &Keep::default()).await.map(Some)
            } else {
                node.backplane.publish(&key, event.envelope).await.map(|()| None)
            };
            let now = node.clock.now();
            let pushed = match published {
                Ok(position) => {
                    node.metrics.published(Via::Client);
                    session.send(&ServerFrame::Published { id, position }, now)
                }
                Err(error) => {
                    if let PublishError::Refused(words) = &error {
                        node.metrics.publish_refused(&key, words);
                    }
                    let (code, message) = publish_code(&error);
                    session.send(&ServerFrame::Error { id, topic: Some(topic.as_str()), code, message }, now)
                }
            };
            node.metrics.answered(pushed);
            Done::Answered
        };
        Ok(Some(publishing.boxed()))
    }
}

fn envelope_code(error: &EnvelopeError) -> ErrorCode {
    match error {
        EnvelopeError::TooLarge { .. } => ErrorCode::TooLarge,
        _ => ErrorCode::BadFrame,
    }
}

fn publish_code(error: &PublishError) -> (ErrorCode, &'static str) {
    match error {
        PublishError::Unavailable => (ErrorCode::Unavailable, "the backplane is away: try again later"),
        PublishError::Timeout => (ErrorCode::Timeout, "the backplane did not answer: it may have been published"),
        PublishError::Refused(_) => (ErrorCode::Internal, "the backplane refused it; the node's log says why"),
    }
}
