//! Stories about nodes that share a real Redis: what reaches whom, what fails and comes back, how a node leaves, how it
//! is configured. What one client and one node say to each other is told elsewhere.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod accept_budget;
mod bad_events;
mod client_publish;
mod command_line;
mod config;
mod control;
mod drain;
mod eviction;
mod explain;
mod fan_out;
mod gaps;
mod long_outage;
mod outages;
mod permissions;
mod redis_cluster;
mod rotation;
mod rules;
mod sentinel;
mod shedding;
#[path = "../support/mod.rs"]
mod support;
mod traffic;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use support::{Client, Frame, Handshake, Node, RedisProcess, until};

/// The event of the examples, and the frame that a client must have of it.
const EVENT: &str = r#"{"type":"order.updated","data":{"id":7}}"#;

/// What a client is told about an event, byte for byte.
fn frame(topic: &str, envelope: &str) -> String {
    format!(r#"{{"op":"event","topic":"{topic}","event":{envelope}}}"#)
}

/// An event with nothing but a type.
fn event(event_type: &str) -> String {
    json!({ "type": event_type }).to_string()
}

/// Two nodes on one Redis.
async fn two_nodes(redis: &RedisProcess, settings: &[(&str, &str)]) -> [Node; 2] {
    [Node::start_on(&redis.url(), settings).await, Node::start_on(&redis.url(), settings).await]
}

/// A client and the welcome it was given.
async fn welcomed(node: &Node, token: &str) -> (Client, Value) {
    let mut client = Handshake::to(node).bearer(token).open().await;
    let welcome = client.expect("welcome").await;
    (client, welcome)
}

/// A client that is subscribed to `topic`.
async fn subscriber(node: &Node, token: &str, topic: &str) -> Client {
    let mut client = Client::connect(node, token).await;
    client.subscribe(topic).await;
    client
}

/// Closes a connection as a client does that leaves.
async fn leave(mut client: Client) {
    client.send_close(1000).await;
    while client.next().await != Frame::End {}
}

/// Sends a subscribe and returns the answer, whatever it is.
async fn try_subscribe(client: &mut Client, topic: &str) -> Value {
    client.send(&json!({ "op": "subscribe", "id": 8, "topic": topic })).await;
    client.message().await
}

/// Sends a publish and returns the answer, whatever it is. The client must not be on the topic.
async fn try_publish(client: &mut Client, topic: &str) -> Value {
    client.send(&json!({ "op": "publish", "id": 9, "topic": topic, "event": { "type": "try" } })).await;
    client.message().await
}

/// Publishes as a backend does that has nothing but Redis; returns how many nodes Redis handed it to.
fn publish(redis: &RedisProcess, channel: &str, payload: &str) -> u32 {
    redis.command(&["PUBLISH", channel, payload]).parse().unwrap()
}

/// Publishes bytes that no command line could carry.
fn publish_bytes(redis: &RedisProcess, channel: &str, payload: &[u8]) {
    let mut process = Command::new("redis-cli")
        .arg("-s")
        .arg(redis.socket_path())
        .args(["-x", "PUBLISH", channel])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(payload).unwrap();
    let Output { status, stdout, .. } = process.wait_with_output().unwrap();
    assert!(status.success());
    assert_eq!(String::from_utf8_lossy(&stdout).trim(), "1", "one node has it");
}

/// How many nodes are subscribed to a channel.
fn subscribers(redis: &RedisProcess, channel: &str) -> u32 {
    let answer = redis.command(&["PUBSUB", "NUMSUB", channel]);
    answer.lines().last().unwrap().parse().unwrap()
}

/// Waits until the admin port answers `status` at `path`; returns why, when it isn't 200.
async fn until_status(node: &Node, path: &str, status: u16) -> String {
    until(&format!("{path} says {status}"), async || node.get(path).await.status == status).await;
    let reply = node.get(path).await;
    if reply.status == status { reply.json()["reason"].as_str().unwrap_or_default().to_owned() } else { String::new() }
}

/// Waits until a counter of `/metrics` has this value.
async fn until_count(node: &Node, series: &str, expected: u32) {
    until(&format!("{series} is {expected}"), async || count(node, series).await == f64::from(expected).to_string())
        .await;
}

/// A counter of `/metrics`, as text: what counts is not compared as a floating point number.
async fn count(node: &Node, series: &str) -> String {
    node.metric(series).await.to_string()
}
