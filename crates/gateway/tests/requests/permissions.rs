//! What Redis has to allow: a node, and a backend that answers.

use serde_json::{Value, json};

use crate::backend::Backend;
use crate::support::{Client, Node, RedisProcess};
use crate::{PATIENT, STREAM, ask, done, error, token};

const PAGE: &str = include_str!("../../../../docs/redis.md");

/// The documented rules of a user.
fn rules(user: &str) -> Vec<&'static str> {
    let start = format!("ACL SETUSER {user} ");
    let line = PAGE.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no rules of {user}"));
    line.split(' ').collect()
}

async fn as_worker(redis: &RedisProcess) -> Backend {
    let mut backend = Backend::of(redis, "workers").await;
    backend.command(&["AUTH", "worker", "secret"]).await;
    backend
}

#[tokio::test]
async fn a_node_and_a_backend_need_no_more_than_the_documented_rights() {
    let redis = RedisProcess::start();
    for user in ["node", "worker"] {
        assert_eq!(redis.command(&rules(user)), "OK");
    }
    let node = Node::start_on(&redis.url_with("node", "secret"), &[PATIENT]).await;
    let mut client = Client::connect(&node, &token("acme", "42", &["**"])).await;
    let mut worker = as_worker(&redis).await;
    worker.command(&["XGROUP", "CREATE", STREAM, "workers", "$", "MKSTREAM"]).await;
    ask(&mut client, 1, "m").await;
    let entry = worker.take().await;
    worker.reply(&entry, "\"done\"").await;
    assert_eq!(client.message().await, done(1));
    // The way that works on a cluster too.
    let mut worker = worker.by_function();
    ask(&mut client, 2, "m").await;
    let second = worker.take().await;
    worker.reply(&second, "\"done\"").await;
    assert_eq!(client.message().await, done(2));
    // What a crashed consumer left is taken over, and what is done is acknowledged.
    let claimed = worker.command(&["XAUTOCLAIM", STREAM, "workers", "me", "0", "0-0"]).await;
    assert_eq!(claimed[1].as_array().map(Vec::len), Some(2), "{claimed}");
    assert_eq!(worker.command(&["XACK", STREAM, "workers", &entry.id]).await, 1);
    // A node that asks whether somebody took a request may do that.
    client.send(&json!({ "op": "request", "id": 3, "method": "m", "timeout_ms": 10000 })).await;
    assert_eq!(client.message().await["code"], "no_backend");
    assert!(!node.log().contains("NOPERM"), "{}", node.log());

    let mut refused = async |words: &[&str]| worker.try_command(words).await.unwrap_err();
    for words in [
        &["DEL", STREAM][..],
        &["XADD", STREAM, "*", "request", "forged"],
        &["GET", "fanfare:node:1"],
        &["SUBSCRIBE", "fanfare:acme:replies:x"],
    ] {
        let error = refused(words).await;
        assert!(error.contains("NOPERM"), "{words:?}: {error}");
    }
}

#[tokio::test]
async fn a_right_that_a_node_lacks_is_named_in_its_log() {
    let redis = RedisProcess::start();
    redis.command(&rules("node"));
    redis.command(&["ACL", "SETUSER", "node", "-xadd", "-xinfo|groups"]);
    let mut worker = Backend::begin(&redis, "workers").await;
    let node = Node::start_on(&redis.url_with("node", "secret"), &[PATIENT]).await;
    let mut client = Client::connect(&node, &token("acme", "42", &["**"])).await;
    ask(&mut client, 1, "m").await;
    let refuses = "the backplane refused it; the node's log says why";
    assert_eq!(client.message().await, error(1, "internal", refuses));
    node.logged("'xadd'").await;
    worker.expect_none().await;
    // Without the other one nobody knows whether a request was taken.
    redis.command(&["ACL", "SETUSER", "node", "+xadd"]);
    client.send(&json!({ "op": "request", "id": 2, "method": "m", "timeout_ms": 1000 })).await;
    let told: Value = client.message().await;
    assert_eq!((&told["id"], &told["code"]), (&json!(2), &json!("timeout")), "{told}");
    node.logged("'xinfo|groups'").await;
}
