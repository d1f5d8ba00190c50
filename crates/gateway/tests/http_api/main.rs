//! Backends use the HTTP API: what they publish reaches clients as they sent it, what they order happens on every node,
//! and what can't be done is refused with a status, a code and a reason. Every answer is held against the description of
//! the API ([`document`]).
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod batches;
mod document;
mod history;
mod keys;
mod openapi;
mod orders;
mod page;
mod presence;
mod publish;
mod refusals;
mod stats;
#[path = "../support/mod.rs"]
mod support;

use std::net::SocketAddr;

use serde_json::json;
use support::{API_KEY, Node, RedisProcess, Reply, claims, request, sign};
use tempfile::TempDir;

const EVENTS: &str = "/v1/tenants/acme/topics/channel:news/events";
const EVENT: &[u8] = br#"{"type":"news"}"#;

/// Posts to [`EVENTS`] or another target with the tests' API key.
async fn post(node: &Node, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    post_with_key(node.admin, target, API_KEY, headers, body).await
}

async fn post_with_key(address: SocketAddr, target: &str, key: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    send(address, "POST", target, &[headers, &[("Authorization", &bearer(key))]].concat(), body).await
}

/// Asks with the tests' API key.
async fn get(node: &Node, target: &str) -> Reply {
    get_with_key(node, target, API_KEY).await
}

async fn get_with_key(node: &Node, target: &str, key: &str) -> Reply {
    send(node.admin, "GET", target, &[("Authorization", &bearer(key))], b"").await
}

/// Any request, whose answer must be as the API's description has it.
async fn send(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let reply = request(address, method, target, headers, body).await;
    document::check(method, target, &reply);
    reply
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

/// Status, code and message of a problem document.
fn problem(reply: &Reply) -> (u16, String, String) {
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    let document = reply.json();
    assert_eq!((&document["type"], &document["status"]), (&json!("about:blank"), &json!(reply.status)), "{document}");
    assert!(document["title"].as_str().is_some_and(|title| !title.is_empty()), "{document}");
    assert_eq!(document["detail"], document["message"]);
    (reply.status, reply.code(), document["message"].as_str().unwrap().to_owned())
}

/// The answer must be a problem document with this status and code.
fn assert_problem(reply: &Reply, status: u16, code: &str) {
    let (found, found_code, message) = problem(reply);
    assert_eq!((found, found_code.as_str()), (status, code), "{message}");
}

/// A file of API keys: `(key, tenants, verbs)`, as in `("reads", "'*'", "'read'")`.
fn key_file(keys: &[(&str, &str, &str)]) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.toml");
    std::fs::write(&file, key_table(keys)).unwrap();
    let path = file.to_str().unwrap().to_owned();
    (directory, path)
}

fn key_table(keys: &[(&str, &str, &str)]) -> String {
    let entry = |(key, tenants, verbs): &(&str, &str, &str)| {
        format!("[[key]]\nname = 'of-{key}'\nkey = '{key}'\ntenants = [{tenants}]\nverbs = [{verbs}]\n")
    };
    keys.iter().map(entry).collect()
}

/// Two nodes on one Redis that hear each other.
async fn two_nodes(redis: &RedisProcess, settings: &[(&str, &str)]) -> [Node; 2] {
    let named =
        async |name: &str| Node::start_on(&redis.url(), &[settings, &[("FANFARE_NODE_ID", name)]].concat()).await;
    let nodes = [named("one").await, named("two").await];
    let listening = || redis.command(&["PUBSUB", "NUMSUB", "fanfare:control"]).ends_with('2');
    support::until("both nodes listen", async || listening()).await;
    nodes
}

/// A token of a user of a tenant with a `jti`.
fn token_with_id(tenant: &str, user: &str, id: &str) -> String {
    let mut claims = claims(tenant, user);
    claims["jti"] = id.into();
    sign(&claims)
}
