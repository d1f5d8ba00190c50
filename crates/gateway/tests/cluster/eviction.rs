//! A Redis that throws histories away when it is full.

use serde_json::json;

use crate::support::{Client, Node, RedisProcess, token, until};
use crate::{EVENT, leave, subscribers};

const CHANNEL: &str = "fanfare:acme:channel:orders";

#[tokio::test]
async fn a_redis_that_evicts_histories_is_warned_of_and_what_it_evicted_is_told() {
    let redis = RedisProcess::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let node = Node::start_on(&redis.url(), &[("FANFARE_UNSUBSCRIBE_DELAY_MS", "0")]).await;
    let warning = node.logged("set maxmemory-policy noeviction").await;
    assert!(warning.contains("allkeys-lru"), "{warning}");
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    let begun = client.subscribe("channel:orders").await["position"].clone();
    leave(client).await;
    until("nobody is subscribed", async || subscribers(&redis, CHANNEL) == 0).await;
    redis.command(&["FCALL", "fanfare_publish", "1", CHANNEL, EVENT]);
    // As eviction does it: key by key, without a word.
    redis.command(&["DEL", CHANNEL]);
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    client.send(&json!({ "op": "subscribe", "id": 1, "topic": "channel:orders", "since": begun })).await;
    let answer = client.expect("subscribed").await;
    assert_eq!((&answer["recovered"], &answer["events"]), (&json!(false), &json!([])), "{answer}");
}
