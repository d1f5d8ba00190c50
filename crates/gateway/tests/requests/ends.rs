//! No answer: what the client is told, and when.

use serde_json::json;

use crate::backend::Backend;
use crate::support::{Client, Node, RedisProcess, token as plain_token, until};
use crate::{STREAM, Stage, ask, done, dropped, error, outcome, token};

/// A client waits for this long, unless it says otherwise.
const SOON: (&str, &str) = ("FANFARE_REQUEST_TIMEOUT_MS", "1000");

const NOBODY: &str = "no backend took the request in time";
const TAKEN: &str = "a backend has the request and did not answer in time";

/// Asks, and waits for this long.
async fn ask_within(client: &mut Client, id: i64, timeout_ms: u32) {
    client.send(&json!({ "op": "request", "id": id, "method": "m", "timeout_ms": timeout_ms })).await;
}

#[tokio::test]
async fn a_request_that_nobody_takes_has_no_backend_and_one_that_somebody_took_a_timeout() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[SOON]).await;
    let mut client = Client::connect(&node, &token("acme", "42", &["**"])).await;
    // No group at all. The first request of a tenant takes longer to reach Redis.
    ask_within(&mut client, 1, 2_000).await;
    assert_eq!(client.message().await, error(1, "no_backend", NOBODY));
    // Two groups, of which none reads.
    let mut first = Backend::begin(&redis, "first").await;
    let mut second = Backend::begin(&redis, "second").await;
    ask(&mut client, 2, "m").await;
    assert_eq!(client.message().await, error(2, "no_backend", NOBODY));
    // One of them reads; what it took before is no sign.
    second.take().await;
    ask(&mut client, 3, "m").await;
    assert_eq!(client.message().await, error(3, "no_backend", NOBODY));
    second.take().await;
    ask_within(&mut client, 4, 2_000).await;
    assert_eq!(second.take().await.field("method"), "m");
    assert_eq!(client.message().await, error(4, "timeout", TAKEN));
    // The other one finds all of them in the stream, each with the time from which it may be skipped.
    for _ in 2..=4 {
        let deadline: u128 = first.take().await.field("deadline_ms").parse().unwrap();
        assert!(deadline <= std::time::UNIX_EPOCH.elapsed().unwrap().as_millis());
    }
    first.expect_none().await;
    // A stream that somebody deletes has no groups.
    ask(&mut client, 5, "m").await;
    until("the request stands in the stream", async || first.count().await == 5).await;
    first.command(&["DEL", STREAM]).await;
    assert_eq!(client.message().await, error(5, "no_backend", NOBODY));
    assert_eq!(node.metric(&outcome("no_backend")).await, 4.0);
    assert_eq!(node.metric(&outcome("timeout")).await, 1.0);
    assert_eq!(node.metric("fanfare_request_seconds_count").await, 0.0);
    assert_eq!(node.metric("fanfare_requests_open").await, 0.0);
}

#[tokio::test]
async fn a_client_may_wait_shorter_and_longer_but_not_for_ever() {
    let redis = RedisProcess::start();
    let settings = [("FANFARE_REQUEST_TIMEOUT_MS", "60000"), ("FANFARE_REQUEST_TIMEOUT_MAX_MS", "61000")];
    let node = Node::start_on(&redis.url(), &settings).await;
    let mut backend = Backend::begin(&redis, "workers").await;
    let mut client = Client::connect(&node, &token("acme", "42", &["**"])).await;
    let now_ms = || i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    for (given, allowed) in
        [(json!(null), 60_000), (json!(59_000), 59_000), (json!(i64::MAX), 61_000), (json!(61_001), 61_000)]
    {
        let before = now_ms();
        client.send(&json!({ "op": "request", "id": 1, "method": "m", "timeout_ms": given })).await;
        let deadline: i64 = backend.take().await.field("deadline_ms").parse().unwrap();
        assert!((before + allowed..=now_ms() + allowed).contains(&deadline), "{given}: {deadline}");
    }
    ask_within(&mut client, 2, 3_000).await;
    assert_eq!(client.message().await, error(2, "no_backend", NOBODY));
}

#[tokio::test]
async fn with_the_connection_its_requests_end() {
    let mut stage = Stage::set(&[]).await;
    let mut other = Client::connect(&stage.node, &token("acme", "43", &["**"])).await;
    ask(&mut other, 1, "m").await;
    ask(&mut other, 2, "m").await;
    let entries = [stage.backend.take().await, stage.backend.take().await];
    assert_eq!(stage.node.metric("fanfare_requests_open").await, 2.0);
    drop(other);
    until("they end", async || stage.node.metric(&outcome("gone")).await == 2.0).await;
    assert_eq!(stage.node.metric("fanfare_requests_open").await, 0.0);
    for entry in &entries {
        stage.backend.reply(entry, "1").await;
    }
    until("the answers are dropped", async || stage.node.metric(&dropped("late")).await == 2.0).await;
    assert_eq!(stage.reply("m").await, done(1));
}

#[tokio::test]
async fn memory_has_no_backends_and_says_so_at_once() {
    let node = Node::start(&[("FANFARE_REQUEST_TIMEOUT_MS", "60000")]).await;
    let mut client = Client::connect(&node, &token("acme", "42", &["**"])).await;
    let message = "the node's backplane is memory, where no backend can read requests: use Redis";
    for id in 1..=3 {
        ask(&mut client, id, "m").await;
        assert_eq!(client.message().await, error(id, "no_backend", message));
    }
    let mut other = Client::connect(&node, &plain_token("acme", "43")).await;
    ask(&mut other, 4, "m").await;
    assert_eq!(other.message().await, error(4, "forbidden", "this token may not make this request"));
}
