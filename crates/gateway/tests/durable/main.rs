//! Stories of durable events at a node's sockets: what a client that comes back is told, and what one that stays misses
//! nothing of, whatever happens to Redis meanwhile. On the memory backplane too, where that makes no difference.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::float_cmp, reason = "what is counted is a whole number")]

mod alone;
mod backend;
mod crowd;
mod functions;
mod history;
mod joining;
mod live;
mod losses;
mod more;
mod own_topics;
mod permissions;
mod resume;
#[path = "../support/mod.rs"]
mod support;

use std::fmt::Display;

use fanfare_protocol::Position;
use serde_json::{Value, json};

use support::{Client, Node, RedisProcess, position, token, until};

/// The topic of most stories, and its stream.
const ORDERS: &str = "channel:orders";
const STREAM: &str = "fanfare:acme:channel:orders";
const HEAD: &str = "{fanfare:acme:channel:orders}:head";

/// Whom nobody wants any more is forgotten at once, so that a client that comes back finds a node that knows nothing.
const FORGETFUL: (&str, &str) = ("FANFARE_UNSUBSCRIBE_DELAY_MS", "1");

/// Clients that come back get everything from the backplane's history.
const NO_RECENT: (&str, &str) = ("FANFARE_RECENT_BYTES_MAX", "0");

/// Gaps are told at once, so that a test doesn't wait.
const AT_ONCE: (&str, &str) = ("FANFARE_GAP_SPREAD_MS", "0");

/// A node and what it stands on.
struct Stage {
    node: Node,
    /// None: the memory backplane.
    redis: Option<RedisProcess>,
}

impl Stage {
    /// A node on memory; one on Redis; and one on Redis that keeps no events itself.
    async fn all(settings: &[(&str, &str)]) -> [Stage; 3] {
        [
            Stage { node: Node::start(settings).await, redis: None },
            Stage::on_redis(settings).await,
            Stage::on_redis(&[settings, &[NO_RECENT]].concat()).await,
        ]
    }

    async fn on_redis(settings: &[(&str, &str)]) -> Stage {
        let redis = RedisProcess::start();
        let node = Node::start_on(&redis.url(), settings).await;
        Stage { node, redis: Some(redis) }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.node, &token("acme", "1")).await
    }

    /// A client that is subscribed to [`ORDERS`], and where it stands.
    async fn subscriber(&self) -> (Client, Position) {
        let mut client = self.client().await;
        let position = position(&client.subscribe(ORDERS).await);
        (client, position)
    }

    /// Keeps a numbered event on a topic.
    async fn keep(&self, topic: &str, number: u64) -> Position {
        self.node.keep("acme", topic, &numbered(number)).await
    }

    /// A client leaves, and with it everything that the node knows of its topics, if it is [`FORGETFUL`].
    async fn leave(&self, client: Client) {
        drop(client);
        until("the topics are forgotten", async || self.node.metric("fanfare_topics").await == 0.0).await;
    }
}

fn numbered(number: u64) -> String {
    json!({ "type": "n", "data": number }).to_string()
}

/// Subscribes with a position that a client has, and returns the answer, which must be `subscribed`.
async fn since(client: &mut Client, topic: &str, since: impl Display) -> Value {
    client.send(&json!({ "op": "subscribe", "id": 5, "topic": topic, "since": since.to_string() })).await;
    let answer = client.expect("subscribed").await;
    assert_eq!((&answer["id"], &answer["topic"]), (&json!(5), &json!(topic)));
    answer
}

/// What an answer to a `since` says: why something may be missing, if anything; the numbers of the events; is there more?
fn told(answer: &Value) -> (Option<&str>, Vec<u64>, bool) {
    let reason = answer["reason"].as_str();
    assert_eq!(answer["recovered"], reason.is_none(), "{answer}");
    let end = position(answer);
    let mut last: Option<Position> = None;
    let numbers = answer["events"].as_array().unwrap_or_else(|| panic!("no events: {answer}")).iter().map(|event| {
        let position = position(event);
        assert!(position.epoch != end.epoch || position.seq <= end.seq, "an event beyond the answer: {answer}");
        assert!(last.is_none_or(|last| last.epoch != position.epoch || last.seq < position.seq), "{answer}");
        last = Some(position);
        number(&event["event"])
    });
    (reason, numbers.collect(), answer["more"].as_bool().unwrap_or(false))
}

/// The number of [`numbered`].
fn number(event: &Value) -> u64 {
    event["data"].as_u64().unwrap_or_else(|| panic!("no number: {event}"))
}

/// The next message is this event of [`ORDERS`]; returns where it stands.
async fn expect_number(client: &mut Client, expected: u64) -> Position {
    let message = client.expect("event").await;
    assert_eq!((&message["topic"], number(&message["event"])), (&json!(ORDERS), expected), "{message}");
    position(&message)
}

/// The next message is this ephemeral event of [`ORDERS`].
async fn expect_ephemeral(client: &mut Client, event_type: &str) {
    let expected = json!({ "op": "event", "topic": ORDERS, "event": { "type": event_type } });
    assert_eq!(client.message().await, expected);
}

/// The position so many events further on.
fn after(position: Position, events: u64) -> Position {
    Position { seq: position.seq + events, ..position }
}
