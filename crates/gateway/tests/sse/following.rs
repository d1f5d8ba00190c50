//! What a stream brings while it lasts: the frames of a WebSocket, as messages.

use serde_json::json;

use crate::event_stream::{Get, Item};
use crate::support::{Client, EMPTY, Node, RedisProcess, claims, position, shaped, sign, token, until};
use crate::{ORDERS, follower, numbered};

#[tokio::test]
async fn a_stream_is_welcomed_then_subscribed_and_then_told_events() {
    let node = Node::start(&[]).await;
    let query = "topics=channel:orders,channel:a%2Fb&topics=channel%3Ac";
    let mut stream = Get::sse(&node, query).bearer(&token("acme", "ann")).open().await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("connection", "close"),
    ] {
        assert_eq!(stream.head.header(name), Some(value), "{name}");
    }
    // Enough for a proxy that waits for a full buffer.
    let Item::Comment(opening) = stream.next().await else { panic!("a stream opens with a comment") };
    assert!(opening.len() > 2_000, "{}", opening.len());

    let (welcome, id) = stream.text().await;
    assert!(id.is_some(), "{welcome}");
    let welcome = shaped(serde_json::from_str(&welcome).unwrap());
    assert_eq!(
        (&welcome["op"], &welcome["tenant"], &welcome["user"]),
        (&json!("welcome"), &json!("acme"), &json!("ann"))
    );
    let own = ["tenant", "user:ann"].map(|topic| json!({ "topic": topic, "position": EMPTY }));
    assert_eq!(welcome["topics"], json!(own));
    for topic in [ORDERS, "channel:a/b", "channel:c"] {
        let subscribed = json!({ "op": "subscribed", "topic": topic, "position": EMPTY });
        assert_eq!(shaped(stream.expect("subscribed").await), subscribed);
    }

    for (topic, kind) in [(ORDERS, "one"), ("user:ann", "two"), ("tenant", "three"), ("channel:c", "four")] {
        node.publish("acme", topic, &json!({ "type": kind }).to_string()).await;
        let event = json!({ "op": "event", "topic": topic, "event": { "type": kind } });
        let (data, id) = stream.text().await;
        assert_eq!(serde_json::from_str::<serde_json::Value>(&data).unwrap(), event);
        assert_eq!(id, None, "an ephemeral event changes nothing");
    }
    let before = stream.last_id.clone();
    let at = node.keep("acme", ORDERS, &numbered(7)).await;
    let event = stream.message().await;
    assert_eq!((position(&event), &event["event"]["data"]), (at, &json!(7)));
    assert_ne!(stream.last_id, before);
    // Other topics, other users and other tenants are none of its business.
    for (tenant, topic) in [("acme", "channel:other"), ("acme", "user:bob"), ("globex", ORDERS), ("globex", "tenant")] {
        node.publish(tenant, topic, r#"{"type":"secret"}"#).await;
    }
    node.publish("acme", "tenant", r#"{"type":"last"}"#).await;
    assert_eq!(stream.expect("event").await["event"]["type"], "last");
}

#[tokio::test]
async fn a_publishers_words_reach_the_stream_as_they_are() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    let mut stream = follower(&node).await;
    let delicate = r#"{"type":"t","data":{"b":1.10,"a":9223372036854775808,"a":"\u00e9é\u2028 data: x"},"id":"e1"}"#;
    redis.command(&["PUBLISH", crate::STREAM, delicate]);
    let (data, _) = stream.text().await;
    assert_eq!(data, format!(r#"{{"op":"event","topic":"channel:orders","event":{delicate}}}"#));
    // White space may have line breaks, which would end a message's line.
    let spread = "{\"type\":\"t\",\n\n\"data\":\n[1,\n2]}";
    redis.command(&["PUBLISH", crate::STREAM, spread]);
    let (data, _) = stream.text().await;
    assert_eq!(data, format!("{{\"op\":\"event\",\"topic\":\"channel:orders\",\"event\":{spread}}}"));
}

#[tokio::test]
async fn a_topic_that_may_not_be_had_is_told_and_the_others_are_followed() {
    let node = Node::start(&[("FANFARE_SUBSCRIPTIONS_PER_CONNECTION_MAX", "3")]).await;
    let mut claims = claims("acme", "ann");
    claims["channels"] = json!(["orders", "more"]);
    let query = "topics=channel:secret,nonsense,user:bob,channel:orders,channel:more";
    let mut stream = Get::sse(&node, query).bearer(&sign(&claims)).open().await;
    stream.expect("welcome").await;
    let forbidden = "this token may not subscribe to this topic";
    for (topic, code, message) in [
        ("channel:secret", "forbidden", forbidden),
        ("nonsense", "invalid_topic", "a topic is `tenant`, `user:<id>` or `channel:<name>`"),
        ("user:bob", "forbidden", forbidden),
    ] {
        let refused = json!({ "op": "error", "topic": topic, "code": code, "message": message });
        assert_eq!(stream.message().await, refused);
    }
    assert_eq!(stream.expect("subscribed").await["topic"], ORDERS);
    assert_eq!(stream.expect("error").await["code"], "too_many_subscriptions");
    node.publish("acme", "channel:secret", r#"{"type":"secret"}"#).await;
    node.publish("acme", ORDERS, r#"{"type":"t"}"#).await;
    assert_eq!(stream.expect("event").await["topic"], ORDERS);
}

#[tokio::test]
async fn a_stream_and_a_websocket_see_the_same() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    let mut stream = follower(&node).await;
    let mut client = Client::connect(&node, &token("acme", "2")).await;
    client.subscribe(ORDERS).await;
    for n in 0..50 {
        if n % 2 == 0 {
            node.keep("acme", ORDERS, &numbered(n)).await;
        } else {
            node.publish("acme", ORDERS, &numbered(n)).await;
        }
        assert_eq!(stream.message().await, client.message().await);
    }
}

#[tokio::test]
async fn a_quiet_stream_shows_by_comments_that_it_lives() {
    let node = Node::start(&[("FANFARE_PING_MS", "50")]).await;
    let mut stream = follower(&node).await;
    // Many times as long as a client that answers no ping would live.
    for _ in 0..12 {
        assert_eq!(stream.next().await, Item::Comment(" ping".to_owned()));
    }
    node.publish("acme", ORDERS, r#"{"type":"t"}"#).await;
    stream.expect("event").await;
    assert_eq!(node.metric("fanfare_frames_received_total").await, 0.0);
}

#[tokio::test]
async fn a_stream_counts_as_a_connection() {
    let node = Node::start(&[]).await;
    let stream = follower(&node).await;
    assert_eq!(node.metric("fanfare_event_streams").await, 1.0);
    assert_eq!(node.metric(r#"fanfare_connections{tenant="acme"}"#).await, 1.0);
    assert_eq!(node.metric("fanfare_connections_opened_total").await, 1.0);
    // A subscription is counted after its answer.
    until("its subscriptions are counted", async || node.metric("fanfare_subscriptions").await == 3.0).await;
    assert!(node.metric("fanfare_sent_bytes_total").await > 200.0);
    drop(stream);
    for (series, left) in [
        ("fanfare_event_streams", 0.0),
        ("fanfare_subscriptions", 0.0),
        (r#"fanfare_connections{tenant="acme"}"#, 0.0),
        (r#"fanfare_connections_closed_total{code="1006"}"#, 1.0),
    ] {
        until(series, async || node.metric(series).await == left).await;
    }
}
