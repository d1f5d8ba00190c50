//! Stories of clients that have no WebSocket: an event stream to follow topics, and commands over HTTP. Told at the node's
//! sockets, with a real Redis where there are two nodes or a history to lose.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::float_cmp, reason = "what is counted is a whole number")]

mod bad_requests;
mod commands;
mod event_stream;
mod following;
mod leaving;
mod limits;
mod pages;
mod proxies;
mod resuming;
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};

use event_stream::{EventStream, Get};
use support::{Node, token};

/// The topic of most stories, and its stream.
const ORDERS: &str = "channel:orders";
const STREAM: &str = "fanfare:acme:channel:orders";

/// Whom nobody wants any more is forgotten at once, so that a client that comes back finds a node that knows nothing.
const FORGETFUL: (&str, &str) = ("FANFARE_UNSUBSCRIBE_DELAY_MS", "1");

/// A stream of user 1 of acme on [`ORDERS`], which stands.
async fn follower(node: &Node) -> EventStream {
    let mut stream = Get::sse(node, "topics=channel:orders").bearer(&token("acme", "1")).open().await;
    stream.expect("welcome").await;
    // A node that has only just begun may first tell a gap of the client's own topics.
    stream.skip_to("subscribed").await;
    stream
}

fn numbered(number: u64) -> String {
    json!({ "type": "n", "data": number }).to_string()
}

/// The numbers of the events that stand in the answer to a `since`.
fn numbers(answer: &Value) -> Vec<u64> {
    let events = answer["events"].as_array().unwrap_or_else(|| panic!("no events: {answer}"));
    events.iter().map(|event| event["event"]["data"].as_u64().unwrap()).collect()
}

/// What a stream brings of the stories' topics, and in which order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    orders: Vec<u64>,
    own: Vec<u64>,
}

impl Seen {
    /// Takes messages until so many numbers of [`ORDERS`] and of the user's topic have come, however they come: what a node
    /// doesn't know yet when it answers follows as events. Nothing may be missing.
    async fn until(stream: &mut EventStream, orders: usize, own: usize) -> Self {
        let mut seen = Self::default();
        while seen.orders.len() < orders || seen.own.len() < own {
            seen.note(&stream.message().await);
        }
        seen
    }

    /// Adds what a message tells.
    fn note(&mut self, message: &Value) {
        match message["op"].as_str().unwrap() {
            "welcome" => message["topics"].as_array().unwrap().iter().for_each(|state| self.stand(state)),
            "subscribed" => self.stand(message),
            "event" => self.add(&message["topic"], vec![message["event"]["data"].as_u64().unwrap()]),
            _ => panic!("{message}"),
        }
    }

    fn stand(&mut self, state: &Value) {
        assert_ne!(state["recovered"], false, "{state}");
        if state["events"].is_array() {
            self.add(&state["topic"], numbers(state));
        }
    }

    fn add(&mut self, topic: &Value, numbers: Vec<u64>) {
        match topic.as_str() {
            Some(ORDERS) => self.orders.extend(numbers),
            Some("user:1") => self.own.extend(numbers),
            _ => {}
        }
    }
}
