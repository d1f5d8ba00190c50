//! Stories of who is there: what members of a topic are told about each other, on one node and on several, and what becomes of
//! it when a node or Redis fails.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::float_cmp, reason = "what is counted is a whole number")]

mod bad_input;
mod cluster;
mod counts;
mod failures;
mod lists;
mod members;
mod memory;
mod rules;
#[path = "../support/mod.rs"]
mod support;
mod tokens;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use support::{Client, Node, RedisProcess, token, until};

/// The topic of most stories.
const BOARD: &str = "channel:board";

/// A node that is not heard of any more is soon taken for dead.
const SHORT: (&str, &str) = ("FANFARE_PRESENCE_TTL_MS", "3000");

/// A client may ask as often as it takes.
const UNLIMITED: [(&str, &str); 2] = [("FANFARE_FRAMES_PER_MINUTE", "10000000"), ("FANFARE_FRAMES_BURST", "1000000")];

/// A node on this Redis.
async fn node_on(redis_url: &str, settings: &[(&str, &str)]) -> Node {
    Node::start_on(redis_url, &[&UNLIMITED, settings].concat()).await
}

/// Two nodes on one Redis.
async fn two_nodes(redis: &RedisProcess, settings: &[(&str, &str)]) -> [Node; 2] {
    [node_on(&redis.url(), settings).await, node_on(&redis.url(), settings).await]
}

/// A client of tenant `acme` that is on the board and has asked to be told who is there; everybody can see that it is.
async fn member(node: &Node, user: &str) -> Client {
    let mut client = Client::connect(node, &token("acme", user)).await;
    subscribe(&mut client, BOARD).await;
    until(&format!("{user} is there"), async || {
        client.send(&json!({ "op": "presence", "id": 5, "topic": BOARD, "limit": 1_000 })).await;
        let page = client.skip_to("presence").await;
        page["id"] == 5 && users(&page).contains(user)
    })
    .await;
    client
}

/// Subscribes and asks to be told who is there.
async fn subscribe(client: &mut Client, topic: &str) -> Value {
    client.send(&json!({ "op": "subscribe", "id": 1, "topic": topic, "presence": true })).await;
    client.expect("subscribed").await
}

/// Asks for a list; the answer, whatever it is.
async fn ask(client: &mut Client, topic: &str) -> Value {
    client.send(&json!({ "op": "presence", "id": 5, "topic": topic })).await;
    loop {
        let message = client.message().await;
        if message["id"] == 5 {
            return message;
        }
    }
}

/// The users on a page.
fn users(page: &Value) -> BTreeSet<String> {
    assert_eq!(page["op"], "presence", "{page}");
    let users = page["users"].as_array().unwrap_or_else(|| panic!("no users: {page}"));
    users.iter().map(|user| user["user"].as_str().unwrap().to_owned()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// Waits until exactly these are there.
async fn until_there(client: &mut Client, topic: &str, names: &[&str]) {
    let expected = set(names);
    until(&format!("{names:?} are there"), async || {
        let answer = ask(client, topic).await;
        // Redis may still be on its way back.
        answer["op"] == "presence" && users(&answer) == expected
    })
    .await;
}

/// The next message tells this of a user of the board.
async fn expect_told(client: &mut Client, op: &str, user: &str) {
    assert_eq!(client.message().await, json!({ "op": op, "topic": BOARD, "user": user }));
}

/// Waits until a node has told Redis of so many users.
async fn until_members(node: &Node, expected: f64) {
    until(&format!("{expected} members"), async || node.metric("fanfare_presence_members").await == expected).await;
}
