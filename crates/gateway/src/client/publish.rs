//! A client publishes: what it may, by way of the backplane, from where the event comes back like any other.

use std::sync::Arc;

use bytes::Bytes;
use fanfare_backplane::PublishError;
use fanfare_core::Farewell;
use fanfare_core::rate::RateLimiter;
use fanfare_protocol::{Codec, EnvelopeError, ErrorCode, Event, Position, ServerFrame, Topic, TopicKey, Traceparent};
use futures_util::FutureExt;

use super::{Busy, Client, Done, Refused};
use crate::access::Access;
use crate::auth::Principal;
use crate::metrics::Via;
use crate::node::Node;
use crate::publishing::Publication;
use crate::traces::LogTrace;

/// What a client asks for.
pub(crate) struct Wanted<'a> {
    /// As it was written.
    pub(crate) topic: &'a str,
    /// The envelope, not checked yet, and how it is encoded.
    pub(crate) event: (Codec, Bytes),
    /// Whether the event shall be kept.
    pub(crate) durable: bool,
    /// The connection it comes by: the only one that `except` may name.
    pub(crate) connection: Option<String>,
}

/// An event that its client may publish.
pub(crate) struct Publish(Publication);

impl Publish {
    /// Judges what `principal` wants to publish.
    pub(crate) fn check(node: &Node, principal: &Principal, wanted: Wanted<'_>) -> Result<Self, Refused> {
        let topic =
            Topic::parse(wanted.topic).map_err(|error| Refused::new(ErrorCode::InvalidTopic, error.to_string()))?;
        let access = Access::new(principal, &node.config.rules, &topic);
        if !access.publish().is_allowed() {
            return Err(Refused::new(ErrorCode::Forbidden, "this token may not publish to this topic"));
        }
        let (codec, envelope) = wanted.event;
        let event = Event::from_envelope(codec, envelope, access.rule().event_bytes_max)
            .map_err(|error| Refused::new(envelope_code(&error), error.to_string()))?;
        if event.except.as_deref().is_some_and(|name| wanted.connection.as_deref() != Some(name)) {
            return Err(Refused::new(ErrorCode::Forbidden, "except may only name the connection itself"));
        }
        let key = TopicKey::new(&principal.tenant, &topic);
        let publication = Publication::new(key, access.rule(), event, wanted.durable);
        publication.map(Self).map_err(|error| Refused::new(ErrorCode::BadFrame, error.to_string()))
    }

    /// Hands it to the backplane. Returns its position when it is kept. `caller`: the trace of who asks, where the event names
    /// none.
    pub(crate) async fn send(self, node: &Node, caller: Option<Traceparent>) -> Result<Option<Position>, Refused> {
        let Self(publication) = self;
        let (key, caller) = (publication.topic().clone(), publication.event().traceparent.or(caller));
        let mut span = node.traces.publish(&key, (publication.event(), publication.is_durable()), caller);
        let published = publication.in_span(span.as_ref()).send(&node.backplane).await;
        match published {
            Ok(position) => {
                node.metrics.published(Via::Client);
                Ok(position)
            }
            Err(error) => {
                if let PublishError::Refused(words) = &error {
                    node.metrics.publish_refused(&key, words, LogTrace::of(span.as_ref(), caller));
                }
                let refused = unpublished(&error);
                if let Some(span) = &mut span {
                    span.fail(refused.code.as_str());
                }
                Err(refused)
            }
        }
    }
}

impl Client {
    pub(super) fn publish(
        &mut self,
        id: Option<i64>,
        topic: String,
        event: Bytes,
        durable: bool,
    ) -> Result<Option<Busy>, Farewell> {
        let Some(principal) = self.principal() else { return Ok(None) };
        let wanted = Wanted {
            topic: &topic,
            event: (self.session.codec(), event),
            durable,
            connection: Some(self.node.names.name(self.session.id())),
        };
        let publish = match Publish::check(&self.node, principal, wanted) {
            Ok(publish) => publish,
            Err(refused) => return self.refuse(id, Some(&topic), refused.code, &refused.message),
        };
        // Only what would reach the backplane counts. Most clients never publish, and have no limiter.
        let rate = self.node.config.publish_rate;
        let limiter = self.publishes.get_or_insert_with(|| Box::new(RateLimiter::new(rate)));
        if !limiter.passes(self.node.clock.now()) {
            self.node.metrics.rate_limited();
            self.node.metrics.limit_reached("publishes_per_minute", 1);
            let message = format!("publishes_per_minute = {} reached", rate.per_minute);
            return self.refuse(id, Some(&topic), ErrorCode::RateLimited, &message);
        }
        let (node, session) = (Arc::clone(&self.node), Arc::clone(&self.session));
        let publishing = async move {
            let published = publish.send(&node, None).await;
            let told = match &published {
                Ok(position) => ServerFrame::Published { id, position: *position },
                Err(Refused { code, message }) => ServerFrame::Error { id, topic: Some(&topic), code: *code, message },
            };
            node.metrics.answered(session.send(&told, node.clock.now()));
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

fn unpublished(error: &PublishError) -> Refused {
    match error {
        PublishError::Unavailable => Refused::new(ErrorCode::Unavailable, "the backplane is away: try again later"),
        PublishError::Timeout => {
            Refused::new(ErrorCode::Timeout, "the backplane did not answer: it may have been published")
        }
        PublishError::Refused(_) => {
            Refused::new(ErrorCode::Internal, "the backplane refused it; the node's log says why")
        }
    }
}
