//! The function library on Redis: who loads it, and what there is without it.

use std::process::Command;

use serde_json::json;

use crate::backend::Backend;
use crate::support::{Client, Node, RedisProcess, position, token};
use crate::{ORDERS, Stage, after, expect_number, since, told};

#[tokio::test]
async fn a_library_that_vanishes_is_loaded_again() {
    let stage = Stage::on_redis(&[]).await;
    let redis = stage.redis.as_ref().unwrap();
    let (mut client, begin) = stage.subscriber().await;
    stage.keep(ORDERS, 1).await;
    expect_number(&mut client, 1).await;
    redis.command(&["FUNCTION", "FLUSH"]);
    stage.keep(ORDERS, 2).await;
    expect_number(&mut client, 2).await;
    redis.command(&["FUNCTION", "FLUSH"]);
    let mut other = stage.client().await;
    assert_eq!(position(&other.subscribe("channel:new").await).seq, 0);
    assert_eq!(told(&since(&mut other, ORDERS, begin).await), (None, vec![1, 2], false));
}

#[tokio::test]
async fn a_node_that_may_not_load_it_says_who_should() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[("FANFARE_REDIS_FUNCTIONS", "check")]).await;
    let missing = "the function library `fanfare` is not loaded: run `fanfare functions load`";
    node.logged(missing).await;
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    // Where the topic stands can't be told; ephemeral events need no library.
    assert_eq!(client.subscribe(ORDERS).await["position"], "0-0");
    assert_eq!(node.publish("acme", ORDERS, r#"{"type":"ephemeral"}"#).await.status, 200);
    assert_eq!(client.expect_event(ORDERS).await["type"], "ephemeral");

    let loaded = Command::new(env!("CARGO_BIN_EXE_fanfare"))
        .args(["functions", "load", "--backplane", &redis.url()])
        .output()
        .unwrap();
    assert!(loaded.status.success(), "{loaded:?}");
    assert_eq!(node.keep("acme", ORDERS, &crate::numbered(1)).await.seq, 1);
    assert_eq!(position(&client.skip_to("event").await).seq, 1);
}

#[tokio::test]
async fn where_functions_are_forbidden_scripts_do_the_same() {
    let redis = RedisProcess::start_with(&["--rename-command", "FCALL", "", "--rename-command", "FUNCTION", ""]);
    let node = Node::start_on(&redis.url(), &[("FANFARE_REDIS_SCRIPTING", "eval")]).await;
    let stage = Stage { node, redis: None };
    let (mut client, begin) = stage.subscriber().await;
    for n in 1..=3 {
        assert_eq!(stage.keep(ORDERS, n).await, after(begin, n));
        expect_number(&mut client, n).await;
    }
    redis.command(&["SCRIPT", "FLUSH"]);
    let mut other = stage.client().await;
    assert_eq!(told(&since(&mut other, ORDERS, begin).await), (None, vec![1, 2, 3], false));
}

#[tokio::test]
async fn a_full_redis_takes_ephemeral_events_and_subscriptions_and_says_what_it_does_not_take() {
    let stage = Stage::on_redis(&[]).await;
    let mut backend = Backend::of(stage.redis.as_ref().unwrap()).await;
    let (mut client, begin) = stage.subscriber().await;
    stage.keep(ORDERS, 1).await;
    expect_number(&mut client, 1).await;
    backend.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let event = json!({ "type": "n", "data": 2 });
    client.send(&json!({ "op": "publish", "id": 1, "topic": ORDERS, "event": event, "durable": true })).await;
    assert_eq!(client.expect("error").await["code"], "internal");
    stage.node.logged("Redis is full (maxmemory)").await;
    stage.node.publish("acme", ORDERS, r#"{"type":"ephemeral"}"#).await;
    crate::expect_ephemeral(&mut client, "ephemeral").await;
    // Topics that are new have their place, and what is kept can be recovered.
    assert_eq!(position(&client.subscribe("channel:new").await).seq, 0);
    assert_eq!(told(&since(&mut client, ORDERS, begin).await), (None, vec![1], false));
    backend.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(stage.keep(ORDERS, 2).await, after(begin, 2));
    expect_number(&mut client, 2).await;
}
