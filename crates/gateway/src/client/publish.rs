//! A client publishes: what it may, by way of the backplane, from where the event comes back like any other.

use std::sync::Arc;

use bytes::Bytes;
use fanfare_backplane::PublishError;
use fanfare_core::Farewell;
use fanfare_core::rate::RateLimiter;
use fanfare_protocol::{Codec, EnvelopeError, ErrorCode, Event, ServerFrame, Topic, TopicKey};
use futures_util::FutureExt;

use super::{Busy, Client, Done};
use crate::access::Access;
use crate::auth::Principal;
use crate::metrics::Via;
use crate::node::Node;
use crate::publishing::Publication;

/// What a client asks to be published.
pub(crate) struct Wish {
    /// The topic, as it was written.
    pub(crate) topic: String,
    /// The event as it was written, in the client's encoding. Not checked.
    pub(crate) event: Bytes,
    /// Whether it shall be kept.
    pub(crate) durable: bool,
}

/// Why a wish is refused.
pub(crate) type Refusal = (ErrorCode, String);

impl Wish {
    /// Checks it all. `connection` is the name of the connection that asks, if it is one: only that may be left out.
    pub(crate) fn checked(
        self,
        node: &Node,
        principal: &Principal,
        codec: Codec,
        connection: Option<&str>,
    ) -> Result<Publication, Refusal> {
        let topic = Topic::parse(&self.topic).map_err(|error| (ErrorCode::InvalidTopic, error.to_string()))?;
        let access = Access::new(principal, &node.config.rules, &topic);
        if !access.publish().is_allowed() {
            return Err((ErrorCode::Forbidden, "this token may not publish to this topic".to_owned()));
        }
        let event = Event::from_envelope(codec, self.event, access.rule().event_bytes_max)
            .map_err(|error| (envelope_code(&error), error.to_string()))?;
        if event.except.as_deref().is_some_and(|name| Some(name) != connection) {
            return Err((ErrorCode::Forbidden, "except may only name the connection itself".to_owned()));
        }
        let key = TopicKey::new(&principal.tenant, &topic);
        Publication::new(key, access.rule(), event, self.durable)
            .map_err(|error| (ErrorCode::BadFrame, error.to_string()))
    }
}

impl Client {
    pub(super) fn publish(&mut self, id: Option<i64>, wish: Wish) -> Result<Option<Busy>, Farewell> {
        let topic = wish.topic.clone();
        let Some(principal) = self.principal() else { return Ok(None) };
        let connection = self.node.names.name(self.session.id());
        let publication = match wish.checked(&self.node, principal, self.session.codec(), Some(&connection)) {
            Ok(publication) => publication,
            Err((code, message)) => return self.refuse(id, Some(&topic), code, &message),
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
            let key = publication.topic().clone();
            let published = publication.send(&node.backplane).await;
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
                    session.send(&ServerFrame::Error { id, topic: Some(&topic), code, message }, now)
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

/// What a client is told of a publish that failed.
pub(crate) fn publish_code(error: &PublishError) -> (ErrorCode, &'static str) {
    match error {
        PublishError::Unavailable => (ErrorCode::Unavailable, "the backplane is away: try again later"),
        PublishError::Timeout => (ErrorCode::Timeout, "the backplane did not answer: it may have been published"),
        PublishError::Refused(_) => (ErrorCode::Internal, "the backplane refused it; the node's log says why"),
    }
}
