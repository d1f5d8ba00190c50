//! Topics that carry durable events alone: an outage costs them nothing that history doesn't have, so no gap is told; and
//! what could be lost in silence is not taken.

use serde_json::json;

use crate::outages::{AT_ONCE, expect_gaps};
use crate::support::{Node, RedisProcess, token, until};
use crate::{EVENT, publish, subscriber, subscribers, until_count};

const TOPIC: &str = "channel:orders.7";
const CHANNEL: &str = "fanfare:acme:channel:orders.7";

#[tokio::test]
async fn a_topic_of_durable_events_alone_is_caught_up_without_a_gap() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[AT_ONCE, ("FANFARE_DURABLE_ONLY", "channel:orders.*")]).await;
    let mut client = subscriber(&node, &token("acme", "1"), TOPIC).await;
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    redis.command(&["FCALL", "fanfare_publish", "1", CHANNEL, EVENT]);
    // The gaps of the other topics and the event come in any order; nothing else does.
    let mut told = Vec::new();
    while told.len() < 3 {
        let message = client.message().await;
        told.push((message["op"].to_string(), message["topic"].to_string(), message["lost"].to_string()));
    }
    told.sort();
    let expected = [("event", TOPIC, ""), ("gap", "tenant", "ephemeral"), ("gap", "user:1", "ephemeral")];
    let quoted = |text: &str| if text.is_empty() { "null".to_owned() } else { json!(text).to_string() };
    assert_eq!(told, expected.map(|(op, topic, lost)| (quoted(op), quoted(topic), quoted(lost))));
    client.expect_nothing().await;
}

#[tokio::test]
async fn a_topic_of_durable_events_alone_takes_no_ephemeral_one() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[AT_ONCE, ("FANFARE_DURABLE_ONLY", "channel:orders.*")]).await;
    let mut client = subscriber(&node, &token("acme", "1"), TOPIC).await;
    assert_eq!(publish(&redis, CHANNEL, EVENT), 1);
    until_count(&node, r#"fanfare_events_invalid_total{reason="not_durable",tenant="acme"}"#, 1).await;
    let refused = node.publish("acme", TOPIC, EVENT).await;
    let why = "the topic takes durable events alone: publish it as one (fanfare_publish, durable=true)";
    assert_eq!((refused.status, &refused.json()["detail"]), (400, &json!(why)));
    client.send(&json!({ "op": "publish", "id": 1, "topic": TOPIC, "event": { "type": "t" } })).await;
    let error = client.expect("error").await;
    assert_eq!((&error["code"], &error["message"]), (&json!("bad_frame"), &json!(why)));
    client.expect_nothing().await;
}

#[tokio::test]
async fn other_topics_get_their_gap() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[AT_ONCE, ("FANFARE_DURABLE_ONLY", "channel:orders.*")]).await;
    let mut client = subscriber(&node, &token("acme", "1"), "channel:chat").await;
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    expect_gaps(&mut client, &["tenant", "user:1", "channel:chat"]).await;
    until("it is subscribed again", async || subscribers(&redis, "fanfare:acme:channel:chat") == 1).await;
    publish(&redis, "fanfare:acme:channel:chat", EVENT);
    assert_eq!(client.expect_event("channel:chat").await["type"], "order.updated");
}
