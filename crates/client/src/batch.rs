//! Many events at once, with a result for each. On a single server they go in pipelines of bounded size; on a cluster topic
//! by topic, many topics at a time. Deliberately no transaction: each item stands for itself.

use std::collections::HashMap;

use fanfare_protocol::{Position, Tenant, Topic, TopicKey};
use futures_util::stream::{self, StreamExt};
use redis::Cmd;

use crate::event::Event;
use crate::publish_error::PublishError;
use crate::publisher::{Keep, Publisher, position};

/// Events in one pipeline.
pub const BATCH_EVENTS_MAX: usize = 256;
/// From so many bytes on, a pipeline takes no more events.
pub const BATCH_BYTES_MAX: usize = 1_048_576;
/// Topics of a cluster that are published to at the same time.
const TOPICS_AT_ONCE: usize = 64;

/// One item of a batch.
#[derive(Debug, Clone)]
pub struct Publication {
    topic: TopicKey,
    event: Event,
    /// None: ephemeral.
    keep: Option<Keep>,
}

/// The position of a durable event; none for an ephemeral one.
pub type Published = Result<Option<Position>, PublishError>;

/// An item that can be sent: its place in the batch, its command, and whether it is durable.
struct Ready {
    at: usize,
    command: Cmd,
    is_durable: bool,
}

impl Publication {
    /// To whoever is connected now.
    pub fn ephemeral(tenant: &Tenant, topic: &Topic, event: Event) -> Publication {
        Publication { topic: TopicKey::new(tenant, topic), event, keep: None }
    }

    /// Kept as well.
    pub fn durable(tenant: &Tenant, topic: &Topic, event: Event, keep: Keep) -> Publication {
        Publication { topic: TopicKey::new(tenant, topic), event, keep: Some(keep) }
    }
}

impl Publisher {
    /// Publishes all, those of one topic in their order, and returns a result for each in the same order. An item that is
    /// refused doesn't keep the others. When Redis is gone in the middle, the rest is not tried any more. Each pipeline of
    /// at most [`BATCH_EVENTS_MAX`] events may take as long as one call.
    pub async fn publish_all(&self, items: &[Publication]) -> Vec<Published> {
        let mut results: Vec<Published> = items.iter().map(|_| Ok(None)).collect();
        let mut ready = Vec::new();
        let mut sendings = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let mut sending = self.sending(&item.topic, &item.event, item.keep.is_some());
            let command = match &item.keep {
                None => self.ephemeral(&item.topic, &item.event, &mut sending),
                Some(keep) => self.durable(&item.topic, &item.event, (keep, &mut sending)),
            };
            sendings.push(sending);
            match command {
                Ok(command) => ready.push(Ready { at, command, is_durable: item.keep.is_some() }),
                Err(error) => results[at] = Err(error),
            }
        }
        let published =
            if self.link.is_cluster() { self.by_topic(items, ready).await } else { self.by_pipeline(&ready).await };
        for (at, result) in published {
            results[at] = result;
        }
        for (sending, result) in sendings.into_iter().zip(&results) {
            sending.end(result.as_ref().err());
        }
        results
    }

    async fn by_pipeline(&self, ready: &[Ready]) -> Vec<(usize, Published)> {
        let mut published = Vec::with_capacity(ready.len());
        let mut rest = ready;
        let mut gone = None;
        while !rest.is_empty() {
            let chunk;
            (chunk, rest) = rest.split_at(chunk_length(rest));
            if let Some(error) = &gone {
                published.extend(chunk.iter().map(|item| (item.at, Err(PublishError::clone(error)))));
                continue;
            }
            let mut pipeline = redis::pipe();
            for item in chunk {
                pipeline.add_command(item.command.clone());
            }
            match self.link.call_all(&pipeline, self.timeout).await {
                Ok(answers) => published.extend(chunk.iter().zip(answers).map(|(item, answer)| {
                    let result = match answer {
                        Ok(value) if item.is_durable => position(value).map(Some),
                        Ok(_) => Ok(None),
                        Err(error) => Err(PublishError::refused(&error)),
                    };
                    (item.at, result)
                })),
                Err(error) => {
                    let error = PublishError::from(error);
                    published.extend(chunk.iter().map(|item| (item.at, Err(error.clone()))));
                    gone = Some(PublishError::Unavailable(format!("what was sent before it failed: {error}")));
                }
            }
        }
        published
    }

    /// One after the other within a topic, since a moving slot could otherwise turn their order around.
    async fn by_topic(&self, items: &[Publication], ready: Vec<Ready>) -> Vec<(usize, Published)> {
        let mut topics: HashMap<&TopicKey, Vec<Ready>> = HashMap::new();
        for item in ready {
            topics.entry(&items[item.at].topic).or_default().push(item);
        }
        let publishing =
            topics.into_values().map(|items| async move {
                let mut published = Vec::with_capacity(items.len());
                let mut gone: Option<PublishError> = None;
                for item in items {
                    let result = match &gone {
                        Some(error) => Err(error.clone()),
                        None => self.one(&item).await,
                    };
                    if let Err(
                        error @ (PublishError::Unavailable(_) | PublishError::Broken(_) | PublishError::Timeout(_)),
                    ) = &result
                        && gone.is_none()
                    {
                        gone = Some(PublishError::Unavailable(format!("what was sent before it failed: {error}")));
                    }
                    published.push((item.at, result));
                }
                published
            });
        let publishing = stream::iter(publishing).buffer_unordered(TOPICS_AT_ONCE);
        publishing.collect::<Vec<_>>().await.concat()
    }

    async fn one(&self, item: &Ready) -> Published {
        let answer = self.link.call(&item.command, self.timeout).await?;
        if item.is_durable { position(answer).map(Some) } else { Ok(None) }
    }
}

/// How many items the next pipeline takes: one at least.
fn chunk_length(items: &[Ready]) -> usize {
    let mut bytes = 0;
    let within = |item: &&Ready| {
        let is_within = bytes < BATCH_BYTES_MAX;
        bytes += item.command.get_packed_command().len();
        is_within
    };
    items.iter().take(BATCH_EVENTS_MAX).take_while(within).count()
}
