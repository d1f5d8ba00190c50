//! What a node publishes for others, whichever way it was asked: the topic's rule says whether and how an event is kept.
//! Deliberately without permissions, which are [`crate::access`]'s for users and [`crate::api_keys`]' for backends.

use fanfare_backplane::{Backplane, Keep, PublishError};
use fanfare_protocol::{Event, Position, TopicKey};

use crate::config::{NeverDurable, Rule};
use crate::traces::Span;

/// A checked event on its way to the backplane.
#[derive(Debug)]
pub struct Publication {
    topic: TopicKey,
    event: Event,
    keep: Option<Keep>,
    /// The topic's limit on an envelope.
    event_bytes_max: usize,
}

impl Publication {
    /// An event of a topic with this rule. It is kept when its publisher wants it or the topic keeps all.
    pub fn new(topic: TopicKey, rule: &Rule, event: Event, wants_durable: bool) -> Result<Self, NeverDurable> {
        let keep = rule.keeps(wants_durable)?.then(|| rule.keep(None));
        Ok(Self { topic, event, keep, event_bytes_max: rule.event_bytes_max })
    }

    /// Whether it is kept.
    pub fn is_durable(&self) -> bool {
        self.keep.is_some()
    }

    /// The publisher's id, by which a repetition is known. For a durable one only.
    #[must_use]
    pub fn with_id(mut self, id: Option<Box<str>>) -> Self {
        if let Some(keep) = &mut self.keep {
            keep.id = id;
        }
        self
    }

    /// Lets the event name the span in which it is published, unless it names one already.
    #[must_use]
    pub fn in_span(self, span: Option<&Span>) -> Self {
        match span {
            Some(span) if self.event.traceparent.is_none() => {
                Self { event: self.event.in_trace(span.context(), self.event_bytes_max), ..self }
            }
            _ => self,
        }
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The topic.
    pub fn topic(&self) -> &TopicKey {
        &self.topic
    }

    /// Publishes it. A durable one has a position then.
    pub async fn send(self, backplane: &Backplane) -> Result<Option<Position>, PublishError> {
        match &self.keep {
            Some(keep) => backplane.publish_durable(&self.topic, self.event.envelope, keep).await.map(Some),
            None => backplane.publish(&self.topic, self.event.envelope).await.map(|()| None),
        }
    }
}
