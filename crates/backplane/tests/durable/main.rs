//! Durable events of nodes on a real Redis: the library they need there, and what they are told when it can't be.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod failures;
mod library;
mod reads;
mod rights;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use bytes::Bytes;
use fanfare_backplane::{Backplane, Keep, PublishError, Read, ReadError, ReadLimits, RedisConfig, Tail};
use fanfare_protocol::{Position, TopicKey};

use support::node::{Node, PATIENCE, topic};

const SOURCE: &str = include_str!("../../src/redis/fanfare.lua");
const LIMITS: ReadLimits = ReadLimits { events_max: 100, bytes_max: 100_000 };

fn orders() -> TopicKey {
    topic("acme:channel:orders")
}

async fn publish(node: &Node, topic: &TopicKey) -> Result<Position, PublishError> {
    node.backplane.publish_durable(topic, Bytes::from_static(b"{}"), &Keep::default()).await
}

/// Publishes as soon as the backplane takes it.
async fn published(node: &Node, topic: &TopicKey) -> Position {
    eventually(async || publish(node, topic).await.ok()).await
}

/// The words in which a durable event is refused.
async fn refusal(node: &Node) -> String {
    eventually(async || match publish(node, &orders()).await {
        Err(PublishError::Refused(words)) => Some(words),
        _ => None,
    })
    .await
}

async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("it should have come")
}

async fn read(node: &Node, after: Option<Position>) -> Result<Tail, ReadError> {
    node.backplane.read(&[Read { topic: orders(), after }], LIMITS).await.remove(0)
}

async fn node(config: RedisConfig) -> Node {
    let node = Node::new(Backplane::redis(config));
    node.publish_when_possible(&topic("nobody:channel:warm-up"), "{}").await;
    node
}
