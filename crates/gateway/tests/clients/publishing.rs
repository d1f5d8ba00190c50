//! A client publishes: how much in a minute, to what, and what it is told when anything is wrong with what it sends.

use fanfare_protocol::Codec;
use serde_json::{Value, json};

use crate::frames::{answered, connect};
use crate::support::{Client, Node, claims, sign, token};

/// A publish of an event without data.
fn publish(topic: &str, id: u64) -> Value {
    json!({ "op": "publish", "id": id, "topic": topic, "event": { "type": "t" } })
}

fn error(id: u64, topic: &str, code: &str, message: &str) -> Value {
    json!({ "op": "error", "id": id, "topic": topic, "code": code, "message": message })
}

#[tokio::test]
async fn publishes_have_a_rate_of_their_own_and_nothing_else_suffers() {
    let settings = [("FANFARE_PUBLISHES_PER_MINUTE", "1"), ("FANFARE_PUBLISHES_BURST", "3")];
    let node = Node::start(&settings).await;
    for codec in [Codec::Json, Codec::Msgpack] {
        let mut client = connect(&node, &token("acme", "42"), codec).await;
        // What is refused for another reason doesn't count.
        let message = "the event has no `type`";
        let wrong = json!({ "op": "publish", "id": 9, "topic": "channel:a", "event": {} });
        for _ in 0..4 {
            answered(&mut client, &wrong, &error(9, "channel:a", "bad_frame", message)).await;
        }
        for id in 1..=3 {
            let published = json!({ "op": "published", "id": id });
            answered(&mut client, &publish("channel:a", id), &published).await;
        }
        let message = "publishes_per_minute = 1 reached";
        for id in 4..=20 {
            let refused = error(id, "channel:b", "rate_limited", message);
            answered(&mut client, &publish("channel:b", id), &refused).await;
        }
        client.subscribe("channel:a").await;
        answered(&mut client, &json!({ "op": "ping" }), &json!({ "op": "pong" })).await;
        // Another connection has a rate of its own, also one of the same user.
        let mut other = connect(&node, &token("acme", "42"), codec).await;
        answered(&mut other, &publish("channel:b", 1), &json!({ "op": "published", "id": 1 })).await;
    }
    assert_eq!(node.metric("fanfare_rate_limited_frames_total").await, 34.0);
    assert_eq!(node.metric(r#"fanfare_limit_reached_total{limit="publishes_per_minute"}"#).await, 34.0);
}

#[tokio::test]
async fn frames_count_for_both_limits() {
    let settings = [("FANFARE_FRAMES_PER_MINUTE", "1"), ("FANFARE_FRAMES_BURST", "2")];
    let node = Node::start(&settings).await;
    let mut client = Client::connect(&node, &token("acme", "42")).await;
    for id in 1..=2 {
        answered(&mut client, &publish("channel:a", id), &json!({ "op": "published", "id": id })).await;
    }
    let message = "frames_per_minute = 1 reached";
    let refused = json!({ "op": "error", "id": 3, "code": "rate_limited", "message": message });
    answered(&mut client, &publish("channel:a", 3), &refused).await;
}

#[tokio::test]
async fn what_may_not_be_published_is_refused_with_the_reason() {
    let rules = json!([{ "pattern": "channel:short.*", "event_bytes_max": 64 }]).to_string();
    let node = Node::start(&[("FANFARE_TOPICS", &rules)]).await;
    let mut narrow = claims("acme", "42");
    narrow["publish"] = json!(["channel:short.*", "channel:own.*"]);
    let may_not = "this token may not publish to this topic";
    for codec in [Codec::Json, Codec::Msgpack] {
        let mut client = connect(&node, &sign(&narrow), codec).await;
        let [mut bystander, mut stranger] =
            [connect(&node, &token("acme", "1"), codec).await, connect(&node, &token("globex", "42"), codec).await];
        let refused = [
            ("tenant", "forbidden", may_not),
            ("user:42", "forbidden", may_not),
            ("user:1", "forbidden", may_not),
            ("channel:short", "forbidden", may_not),
            ("channel:short.a.b", "forbidden", may_not),
            ("globex:channel:short.a", "invalid_topic", "a topic is `tenant`, `user:<id>` or `channel:<name>`"),
            ("channel:short.{a}", "invalid_topic", "the character '{' is not allowed in a topic"),
        ];
        for (topic, code, message) in refused {
            answered(&mut client, &publish(topic, 1), &error(1, topic, code, message)).await;
        }
        let event = json!({ "type": "t", "data": "x".repeat(60) });
        let topic = "channel:short.a";
        let frame = json!({ "op": "publish", "id": 2, "topic": topic, "event": event });
        client.send(&frame).await;
        let told = client.expect("error").await;
        assert_eq!((&told["code"], &told["topic"], &told["id"]), (&json!("too_large"), &json!(topic), &json!(2)));
        let message = told["message"].as_str().unwrap();
        assert!(message.ends_with("bytes; at most 64 are allowed"), "{message}");
        for (event, message) in [
            (json!("text"), "the event is neither a JSON object nor a MessagePack map"),
            (json!({ "type": 7 }), "the event's `type` must be a string"),
            (json!({ "type": "t", "at": "now" }), "the event's `at` must be an integer"),
        ] {
            let frame = json!({ "op": "publish", "id": 3, "topic": topic, "event": event });
            answered(&mut client, &frame, &error(3, topic, "bad_frame", message)).await;
        }
        bystander.expect_nothing().await;
        stranger.expect_nothing().await;
    }
}
