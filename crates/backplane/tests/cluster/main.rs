//! A node on a real Redis Cluster: its topics come from all primaries, and go with their slots.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod outages;
mod primaries;
mod slots;
#[path = "../support/mod.rs"]
mod support;

use bytes::Bytes;
use fanfare_backplane::{Backplane, Read, ReadLimits, RedisConfig, State, Tail};
use fanfare_protocol::{Position, TopicKey};

use support::cluster::{first_owner, slot_of};
use support::node::{Node, topic};

const LIMITS: ReadLimits = ReadLimits { events_max: 10_000, bytes_max: 10_000_000 };

fn channel(topic: &TopicKey) -> String {
    format!("fanfare:{}", topic.as_str())
}

fn slot(topic: &TopicKey) -> usize {
    slot_of(&channel(topic))
}

/// Topics whose slots are so, the first ones by their number.
fn topics_where(is_so: impl Fn(usize) -> bool, count: usize) -> Vec<TopicKey> {
    let all = (0..).map(|number| topic(&format!("acme:channel:{number}")));
    all.filter(|topic| is_so(slot(topic))).take(count).collect()
}

/// One topic of each primary.
fn one_of_each() -> [TopicKey; 3] {
    [0, 1, 2].map(|node| topics_where(|slot| first_owner(slot) == node, 1).remove(0))
}

async fn settled(config: RedisConfig, topics: &[TopicKey]) -> Node {
    let mut node = Node::new(Backplane::redis(config));
    node.want(topics).await;
    node.until_state(State::is_up).await;
    node
}

fn envelope(number: usize) -> Bytes {
    Bytes::from(format!(r#"{{"type":"numbered","data":{number}}}"#))
}

async fn read(node: &Node, topic: &TopicKey, after: Option<Position>) -> Tail {
    node.backplane.read(&[Read { topic: topic.clone(), after }], LIMITS).await.remove(0).unwrap()
}
