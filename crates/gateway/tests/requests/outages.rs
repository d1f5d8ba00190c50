//! Redis goes away, comes back, or says no.

use serde_json::json;

use crate::backend::Backend;
use crate::support::sentinel::Watched;
use crate::support::{Client, Node, Proxy, RedisProcess, until};
use crate::{STREAM, Stage, ask, done, error, outcome, token};

const UNSURE: &str = "the backplane did not answer for a while: a backend may have the request";

#[tokio::test]
async fn while_redis_is_away_a_client_is_told_so_at_once_and_afterwards_it_is_answered() {
    let mut stage = Stage::set(&[]).await;
    assert_eq!(stage.reply("m").await, done(1));
    stage.redis.kill();
    until("the node has noticed", async || stage.node.get("/readyz").await.status == 503).await;
    ask(&mut stage.client, 2, "m").await;
    let told = stage.client.skip_to("error").await;
    assert_eq!((&told["id"], &told["code"]), (&json!(2), &json!("unavailable")), "{told}");
    stage.redis.start_again();
    until("the node is back", async || stage.node.get("/readyz").await.status == 200).await;
    stage.backend = Backend::begin(&stage.redis, "workers").await;
    ask(&mut stage.client, 1, "m").await;
    let entry = stage.backend.take().await;
    stage.backend.reply(&entry, "\"done\"").await;
    assert_eq!(stage.client.skip_to("reply").await, done(1));
}

#[tokio::test]
async fn a_restart_in_the_middle_leaves_open_whether_a_backend_has_the_request() {
    let mut stage = Stage::set(&[]).await;
    stage.client.send(&json!({ "op": "request", "id": 1, "method": "m", "timeout_ms": 3000 })).await;
    stage.client.send(&json!({ "op": "request", "id": 2, "method": "m" })).await;
    let (_, second) = (stage.backend.take().await, stage.backend.take().await);
    stage.redis.kill();
    stage.redis.start_again();
    let told = stage.client.skip_to("error").await;
    assert_eq!(told, error(1, "timeout", UNSURE));
    // Who still waits is answered, since the node listens again.
    until("the node listens again", async || {
        !stage.redis.command(&["PUBSUB", "CHANNELS", "fanfare:acme:replies:*"]).is_empty()
    })
    .await;
    let mut backend = Backend::of(&stage.redis, "workers").await;
    assert_eq!(backend.reply(&second, "\"done\"").await, 1);
    assert_eq!(stage.client.skip_to("reply").await, done(2));
}

#[tokio::test]
async fn a_connection_that_breaks_as_a_request_is_sent_leaves_that_open_too() {
    let redis = RedisProcess::start();
    let proxy = Proxy::to(redis.port()).await;
    let mut backend = Backend::begin(&redis, "workers").await;
    let node = Node::start_on(&proxy.url(), &[crate::PATIENT]).await;
    let mut client = Client::connect(&node, &token("acme", "42", &["**"])).await;
    proxy.cut_on(Some("XADD"));
    client.send(&json!({ "op": "request", "id": 1, "method": "m", "timeout_ms": 3000 })).await;
    assert_eq!(client.message().await, error(1, "timeout", UNSURE));
    proxy.cut_on(None);
    backend.expect_none().await;
    until("the node publishes again", async || node.get("/readyz").await.status == 200).await;
    ask(&mut client, 2, "m").await;
    let entry = backend.take().await;
    backend.reply(&entry, "\"done\"").await;
    assert_eq!(client.message().await, done(2));
}

#[tokio::test]
async fn after_a_failover_requests_go_to_the_new_primary() {
    let watched = Watched::start();
    let mut backend = Backend::begin(&watched.primary, "workers").await;
    let node = Node::start_on(&watched.url(), &[crate::PATIENT]).await;
    let mut client = Client::connect(&node, &token("acme", "42", &["**"])).await;
    ask(&mut client, 1, "m").await;
    let entry = backend.take().await;
    backend.reply(&entry, "\"done\"").await;
    assert_eq!(client.message().await, done(1));
    until("the replica has the group", async || {
        watched.replica.command(&["XINFO", "GROUPS", STREAM]).contains(entry.id.as_str())
    })
    .await;
    watched.primary.freeze();
    watched.sentinel.loses_patience();
    until("the replica is the primary", async || watched.replica.command(&["ROLE"]).starts_with("master")).await;
    until("the node is there", async || {
        let listening = watched.replica.command(&["PUBSUB", "NUMSUB", "fanfare:acme:tenant"]);
        listening.ends_with('1') && node.get("/readyz").await.status == 200
    })
    .await;
    let mut backend = Backend::of(&watched.replica, "workers").await;
    ask(&mut client, 2, "m").await;
    let entry = backend.take().await;
    backend.reply(&entry, "\"done\"").await;
    assert_eq!(client.skip_to("reply").await, done(2));
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_not_waited_for_longer_than_the_client_waits() {
    let mut stage = Stage::set(&[("FANFARE_REDIS_RESPONSE_TIMEOUT_MS", "20000")]).await;
    assert_eq!(stage.reply("m").await, done(1));
    stage.redis.freeze();
    stage.client.send(&json!({ "op": "request", "id": 2, "method": "m", "timeout_ms": 100 })).await;
    assert_eq!(stage.client.message().await, error(2, "timeout", UNSURE));
    stage.redis.thaw();
}

#[tokio::test]
async fn a_request_is_not_sent_where_its_answer_could_not_be_heard() {
    let redis = RedisProcess::start();
    let rules = ["ACL", "SETUSER", "node", "on", ">secret", "+@all", "~fanfare:*", "~{fanfare:*", "resetchannels"];
    let channels = ["&fanfare:node:*", "&fanfare:acme:tenant", "&fanfare:acme:user:*"];
    redis.command(&[&rules[..], &channels].concat());
    let mut backend = Backend::begin(&redis, "workers").await;
    let node = Node::start_on(&redis.url_with("node", "secret"), &[crate::PATIENT]).await;
    let mut client = Client::connect(&node, &token("acme", "42", &["**"])).await;
    let refuses = "the backplane refuses the channel for answers; the node's log says why";
    for id in [1, 2] {
        ask(&mut client, id, "m").await;
        assert_eq!(client.message().await, error(id, "unavailable", refuses));
    }
    node.logged("the backplane refuses the channel for backends' answers").await;
    assert_eq!(backend.count().await, 0);
    // Once it is allowed, asking again is enough.
    redis.command(&["ACL", "SETUSER", "node", "&fanfare:acme:replies:*"]);
    ask(&mut client, 3, "m").await;
    let entry = backend.take().await;
    backend.reply(&entry, "\"done\"").await;
    assert_eq!(client.message().await, done(3));
}

#[tokio::test]
async fn what_redis_refuses_is_said_in_the_log_and_not_to_the_client() {
    let mut stage = Stage::set(&[]).await;
    stage.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    ask(&mut stage.client, 1, "m").await;
    let refuses = "the backplane refused it; the node's log says why";
    assert_eq!(stage.client.message().await, error(1, "internal", refuses));
    stage.node.logged("the backplane refuses a client's request").await;
    stage.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(stage.reply("m").await, done(1));
    // Somebody has put something else where the stream belongs.
    stage.redis.command(&["DEL", STREAM]);
    stage.redis.command(&["SET", STREAM, "x"]);
    ask(&mut stage.client, 2, "m").await;
    assert_eq!(stage.client.message().await, error(2, "internal", refuses));
    assert_eq!(stage.node.metric(&outcome("internal")).await, 2.0);
}

#[tokio::test]
async fn a_node_that_never_had_a_redis_says_that_it_is_away() {
    let redis = RedisProcess::not_started(&[]);
    let node = Node::start_unready_on(&redis.url(), &[]).await;
    let mut client = Client::connect(&node, &token("acme", "42", &["**"])).await;
    ask(&mut client, 1, "m").await;
    let away = "the backplane does not deliver to this node: try again later";
    assert_eq!(client.skip_to("error").await, error(1, "unavailable", away));
}
