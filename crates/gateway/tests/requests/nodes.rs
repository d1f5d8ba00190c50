//! More than one node, and one that dies.

use serde_json::json;

use crate::backend::Backend;
use crate::support::{Client, Node, RedisProcess, until};
use crate::{PATIENT, ask, done, dropped, token};

#[tokio::test]
async fn an_answer_reaches_the_node_that_asked() {
    let redis = RedisProcess::start();
    let mut backend = Backend::begin(&redis, "workers").await;
    let token = token("acme", "42", &["**"]);
    let mut stages = Vec::new();
    for id in ["one", "two"] {
        let node = Node::start_on(&redis.url(), &[PATIENT, ("FANFARE_NODE_ID", id)]).await;
        let client = Client::connect(&node, &token).await;
        stages.push((id, node, client));
    }
    let mut entries = Vec::new();
    for (id, _, client) in &mut stages {
        ask(client, 1, &format!("from.{id}")).await;
        entries.push(backend.take().await);
    }
    for ((id, node, client), entry) in stages.iter_mut().zip(&entries) {
        assert_eq!(entry.field("reply_to"), format!("fanfare:acme:replies:{id}"));
        assert_eq!(backend.reply(entry, "\"done\"").await, 1);
        assert_eq!(client.message().await, done(1));
        assert_eq!(node.metric("fanfare_requests_open").await, 0.0);
    }
    // Sent to the wrong node, it is nobody's.
    ask(&mut stages[0].2, 2, "m").await;
    let entry = backend.take().await;
    backend.say("fanfare:acme:replies:two", &entry.answer("\"data\":1")).await;
    until("it is dropped", async || stages[1].1.metric(&dropped("unknown")).await == 1.0).await;
    assert_eq!(stages[0].1.metric("fanfare_requests_open").await, 1.0);
}

#[tokio::test]
async fn what_a_dead_node_has_asked_can_be_skipped_by_its_deadline() {
    let redis = RedisProcess::start();
    let mut backend = Backend::begin(&redis, "workers").await;
    let token = token("acme", "42", &["**"]);
    let mut doomed = Node::start_on(&redis.url(), &[PATIENT, ("FANFARE_NODE_ID", "doomed")]).await;
    let mut client = Client::connect(&doomed, &token).await;
    client.send(&json!({ "op": "request", "id": 1, "method": "m", "timeout_ms": 2000 })).await;
    until("the request stands in the stream", async || backend.count().await == 1).await;
    doomed.kill();

    let node = Node::start_on(&redis.url(), &[PATIENT]).await;
    let mut client = Client::connect(&node, &token).await;
    ask(&mut client, 2, "m").await;
    let now_ms = || std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    until("the first one is over", async || now_ms() > 2000 + u128::from(redis_ms(&redis))).await;
    let mut skipped = 0;
    loop {
        let entry = backend.take().await;
        if entry.field("deadline_ms").parse::<u128>().unwrap() < now_ms() {
            // Nobody listens for its answer either.
            assert_eq!(backend.reply(&entry, "1").await, 0);
            skipped += 1;
            continue;
        }
        backend.reply(&entry, "\"done\"").await;
        break;
    }
    assert_eq!((skipped, client.message().await), (1, done(2)));
}

/// When the first entry of the stream was made, by the clock of Redis, in Unix ms.
fn redis_ms(redis: &RedisProcess) -> u64 {
    let first = redis.command(&["XRANGE", crate::STREAM, "-", "+", "COUNT", "1"]);
    first.split('-').next().and_then(|ms| ms.parse().ok()).unwrap()
}
