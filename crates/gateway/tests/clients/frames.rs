//! What frames do and what they are answered, in JSON and in `MessagePack` alike.

use fanfare_protocol::Codec;
use serde_json::{Value, json};

use crate::support::{Client, EMPTY, Node, claims, shaped, sign, token};

/// A client of each encoding.
pub(crate) async fn both(node: &Node, token: &str) -> [Client; 2] {
    [connect(node, token, Codec::Json).await, connect(node, token, Codec::Msgpack).await]
}

pub(crate) async fn connect(node: &Node, token: &str, codec: Codec) -> Client {
    match codec {
        Codec::Json => Client::connect(node, token).await,
        Codec::Msgpack => Client::connect_msgpack(node, token).await,
    }
}

/// Sends `frame`, whose answer must be `answer` and nothing else; positions are compared by their form.
pub(crate) async fn answered(client: &mut Client, frame: &Value, answer: &Value) {
    client.send(frame).await;
    assert_eq!(shaped(client.message().await), *answer, "{frame}");
}

pub(crate) async fn published(node: &Node, topic: &str, envelope: &str) {
    let reply = node.publish("acme", topic, envelope).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn a_topic_is_subscribed_once_however_often_and_left_again() {
    let node = Node::start(&[]).await;
    for codec in [Codec::Json, Codec::Msgpack] {
        let mut client = connect(&node, &token("acme", "42"), codec).await;
        let subscribed =
            |id: i64| json!({ "op": "subscribed", "id": id, "topic": "channel:orders", "position": EMPTY });
        for id in [7, -1, i64::MAX] {
            answered(&mut client, &json!({ "op": "subscribe", "id": id, "topic": "channel:orders" }), &subscribed(id))
                .await;
        }
        let without_id = json!({ "op": "subscribed", "topic": "channel:orders", "position": EMPTY });
        let frame = json!({ "op": "subscribe", "topic": "channel:orders", "since": null, "later": "ignored" });
        answered(&mut client, &frame, &without_id).await;
        published(&node, "channel:orders", "{\"type\":\"a\"}").await;
        let event = json!({ "op": "event", "topic": "channel:orders", "event": { "type": "a" } });
        assert_eq!(client.message().await, event);
        for id in [8, 9] {
            let unsubscribe = json!({ "op": "unsubscribe", "id": id, "topic": "channel:orders" });
            let told = json!({ "op": "unsubscribed", "id": id, "topic": "channel:orders" });
            answered(&mut client, &unsubscribe, &told).await;
        }
        published(&node, "channel:orders", "{\"type\":\"b\"}").await;
        published(&node, "tenant", "{\"type\":\"c\"}").await;
        assert_eq!(client.expect_event("tenant").await["type"], "c");
    }
}

#[tokio::test]
async fn many_topics_in_one_frame_are_answered_each_and_in_order() {
    let node = Node::start(&[]).await;
    let mut claims = claims("acme", "42");
    claims["channels"] = json!(["open.*"]);
    for codec in [Codec::Json, Codec::Msgpack] {
        let mut client = connect(&node, &sign(&claims), codec).await;
        client.subscribe("channel:open.0").await;
        let topics = json!([
            { "topic": "channel:open.2" },
            { "topic": "channel:open 3" },
            { "topic": "channel:closed" },
            { "topic": "channel:open.1", "since": "5-7" },
            { "topic": "channel:open.0" },
            { "topic": "channel:open.2", "since": "newest" },
            { "topic": "channel:open.2" },
            { "topic": "tenant" },
        ]);
        client.send(&json!({ "op": "subscribe", "id": 3, "topics": topics })).await;
        let subscribed = |topic: &str| json!({ "op": "subscribed", "id": 3, "topic": topic, "position": EMPTY });
        let refused = |topic: &str, code: &str, message: &str| json!({ "op": "error", "id": 3, "topic": topic, "code": code, "message": message });
        let mut resumed = subscribed("channel:open.1");
        resumed["recovered"] = json!(false);
        resumed["reason"] = json!("epoch");
        resumed["events"] = json!([]);
        for answer in [
            subscribed("channel:open.2"),
            refused("channel:open 3", "invalid_topic", "the character ' ' is not allowed in a topic"),
            refused("channel:closed", "forbidden", "this token may not subscribe to this topic"),
            resumed,
            subscribed("channel:open.0"),
            refused("channel:open.2", "bad_frame", "since is no position"),
            subscribed("channel:open.2"),
            subscribed("tenant"),
        ] {
            assert_eq!(shaped(client.message().await), answer);
        }
        published(&node, "channel:open.2", "{\"type\":\"once\"}").await;
        client.expect_event("channel:open.2").await;
        client.expect_nothing().await;
    }
}

#[tokio::test]
async fn a_connection_stays_on_its_own_topics() {
    let node = Node::start(&[]).await;
    for codec in [Codec::Json, Codec::Msgpack] {
        let mut client = connect(&node, &token("acme", "42"), codec).await;
        for topic in ["tenant", "user:42"] {
            let subscribed = json!({ "op": "subscribed", "id": 1, "topic": topic, "position": EMPTY });
            answered(&mut client, &json!({ "op": "subscribe", "id": 1, "topic": topic }), &subscribed).await;
            let message = "a connection is always on its tenant and its user";
            let refused = json!({ "op": "error", "id": 2, "topic": topic, "code": "forbidden", "message": message });
            answered(&mut client, &json!({ "op": "unsubscribe", "id": 2, "topic": topic }), &refused).await;
            published(&node, topic, "{\"type\":\"own\"}").await;
            client.expect_event(topic).await;
        }
        client.expect_nothing().await;
    }
}

#[tokio::test]
async fn what_is_no_topic_is_refused_and_says_why() {
    let node = Node::start(&[]).await;
    let kinds = "a topic is `tenant`, `user:<id>` or `channel:<name>`";
    let empty = "the name after the kind is empty";
    let (longest, too_long) = (format!("channel:{}", "x".repeat(200)), format!("channel:{}é", "x".repeat(199)));
    let forbidden = |character: char| format!("the character {character:?} is not allowed in a topic");
    let mut cases = vec![
        ("", kinds.to_owned()),
        ("orders", kinds.to_owned()),
        ("Channel:orders", kinds.to_owned()),
        ("tenant:", kinds.to_owned()),
        // Another tenant's name is no part of a topic.
        ("globex:channel:orders", kinds.to_owned()),
        ("fanfare:globex:channel:orders", kinds.to_owned()),
        ("channel:", empty.to_owned()),
        ("user:", empty.to_owned()),
        (&too_long, "the name after the kind has 201 bytes; at most 200 are allowed".to_owned()),
    ];
    let with_character = |character: char| (character, format!("channel:a{character}b"));
    let characters = "\0\n\r\t \u{1b}\u{7f}\u{85}\u{9f}{}*?[]".chars().map(with_character).collect::<Vec<_>>();
    cases.extend(characters.iter().map(|(character, topic)| (topic.as_str(), forbidden(*character))));
    for codec in [Codec::Json, Codec::Msgpack] {
        let mut client = connect(&node, &token("acme", "42"), codec).await;
        for (topic, message) in &cases {
            for op in ["subscribe", "unsubscribe", "publish"] {
                let frame = json!({ "op": op, "id": 4, "topic": topic, "event": { "type": "t" } });
                let refused =
                    json!({ "op": "error", "id": 4, "topic": topic, "code": "invalid_topic", "message": message });
                answered(&mut client, &frame, &refused).await;
            }
        }
        client.subscribe(&longest).await;
        client.subscribe("channel:größe/42.a:\u{a0}").await;
    }
}

#[tokio::test]
async fn a_position_can_be_resumed_from_and_nothing_else() {
    let node = Node::start(&[]).await;
    for codec in [Codec::Json, Codec::Msgpack] {
        let mut client = connect(&node, &token("acme", "42"), codec).await;
        let resumed = |reason: &str| {
            json!({
                "op": "subscribed", "id": 1, "topic": "channel:a", "position": EMPTY, "recovered": false,
                "reason": reason, "events": [],
            })
        };
        let unknown = ["5-7", "18446744073709551615-18446744073709551615"].map(|since| (since, "epoch"));
        for (since, reason) in unknown.into_iter().chain([("0-0", "expired")]) {
            let subscribe = json!({ "op": "subscribe", "id": 1, "topic": "channel:a", "since": since });
            answered(&mut client, &subscribe, &resumed(reason)).await;
        }
        for since in
            ["", "0", "7", "5-", "-7", "5-7-9", "+5-7", "05-7", "5-7 ", "18446744073709551616-0", "$", "yesterday"]
        {
            let subscribe = json!({ "op": "subscribe", "id": 1, "topic": "channel:b", "since": since });
            let message = "since is no position";
            let refused =
                json!({ "op": "error", "id": 1, "topic": "channel:b", "code": "bad_frame", "message": message });
            answered(&mut client, &subscribe, &refused).await;
        }
        let subscribe = json!({ "op": "subscribe", "id": 1, "topic": "channel:b", "since": 5 });
        let message = "`since` must be a string";
        let refused = json!({ "op": "error", "id": 1, "topic": "channel:b", "code": "bad_frame", "message": message });
        answered(&mut client, &subscribe, &refused).await;
        // What was refused is not subscribed.
        published(&node, "channel:b", "{\"type\":\"b\"}").await;
        published(&node, "channel:a", "{\"type\":\"a\"}").await;
        client.expect_event("channel:a").await;
    }
}

#[tokio::test]
async fn a_frame_with_a_wrong_field_is_refused_and_the_connection_lives() {
    let node = Node::start(&[]).await;
    let no_id = "`id` must be an integer of 64 bits";
    let cases = [
        (json!({ "op": "dance", "id": 3 }), json!(3), None, "unknown op \"dance\""),
        // Ops of later versions are told apart by the features of `welcome`.
        (json!({ "op": "subscribe", "id": 3 }), json!(3), None, "`topic` is missing"),
        (json!({ "op": "subscribe", "id": 3, "topic": 7 }), json!(3), None, "`topic` must be a string"),
        (
            json!({ "op": "subscribe", "id": 3, "topics": [] }),
            json!(3),
            None,
            "`topics` must be an array with one topic at least",
        ),
        (
            json!({ "op": "subscribe", "id": 3, "topics": ["tenant"] }),
            json!(3),
            None,
            "every one of `topics` must be a map with a `topic`",
        ),
        (
            json!({ "op": "subscribe", "id": 3, "topic": "tenant", "topics": [{ "topic": "tenant" }] }),
            json!(3),
            Some("tenant"),
            "`topic` and `topics` exclude each other",
        ),
        (json!({ "op": "subscribe", "id": "3", "topic": "tenant" }), Value::Null, Some("tenant"), no_id),
        (json!({ "op": "subscribe", "id": 1.5, "topic": "tenant" }), Value::Null, Some("tenant"), no_id),
        (json!({ "op": "subscribe", "id": u64::MAX, "topic": "tenant" }), Value::Null, Some("tenant"), no_id),
        (json!({ "op": "unsubscribe", "id": 3 }), json!(3), None, "`topic` is missing"),
        (json!({ "op": "publish", "id": 3, "topic": "tenant" }), json!(3), Some("tenant"), "`event` is missing"),
        (json!({ "op": "publish", "id": 3, "event": { "type": "t" } }), json!(3), None, "`topic` is missing"),
        (json!({ "op": "history", "id": 3, "topic": "tenant" }), json!(3), Some("tenant"), "`limit` is missing"),
        (json!({ "op": "history", "id": 3, "limit": 1 }), json!(3), None, "`topic` is missing"),
        (
            json!({ "op": "history", "id": 3, "topic": "tenant", "limit": 0 }),
            json!(3),
            Some("tenant"),
            "`limit` must be an integer from 1 on",
        ),
        (
            json!({ "op": "history", "id": 3, "topic": "tenant", "limit": 1, "before": "yesterday" }),
            json!(3),
            Some("tenant"),
            "before is no position",
        ),
        (
            json!({ "op": "publish", "id": 3, "topic": "tenant", "event": {}, "durable": "yes" }),
            json!(3),
            Some("tenant"),
            "`durable` must be true or false",
        ),
        (json!({ "op": "auth" }), Value::Null, None, "`token` is missing"),
        (
            json!({ "op": "auth", "token": "x", "since": [] }),
            Value::Null,
            None,
            "`since` must be a map of topics to positions",
        ),
    ];
    for codec in [Codec::Json, Codec::Msgpack] {
        let mut client = connect(&node, &token("acme", "42"), codec).await;
        for (frame, id, topic, message) in &cases {
            let mut refused = json!({ "op": "error", "code": "bad_frame", "message": message });
            if !id.is_null() {
                refused["id"] = id.clone();
            }
            if let Some(topic) = topic {
                refused["topic"] = json!(topic);
            }
            answered(&mut client, frame, &refused).await;
        }
    }
    let mut client = Client::connect(&node, &token("acme", "42")).await;
    client.send_text("{\"op\":\"subscribe\",\"id\":3,\"topic\":\"tenant\",\"topic\":\"tenant\"}").await;
    let refused = json!({ "op": "error", "id": 3, "code": "bad_frame", "message": "`topic` stands twice" });
    assert_eq!(client.message().await, refused);
}

#[tokio::test]
async fn what_is_no_frame_closes_the_connection() {
    let node = Node::start(&[]).await;
    let token = token("acme", "42");
    let reason = "the message is not one JSON object or MessagePack map with an `op`";
    for text in [
        "",
        "hello",
        "null",
        "[]",
        "{}",
        "{\"op\":1}",
        "{\"op\":null}",
        "{\"op\":\"ping\"",
        "{\"op\":\"ping\"} {}",
        "{'op':'ping'}",
        "{\"op\":\"ping\",\"op\":\"ping\"}",
        "{\"op\":\"ping\",\"x\":\"\u{1}\"}",
        "\u{feff}{\"op\":\"ping\"}",
    ] {
        let mut client = Client::connect(&node, &token).await;
        client.send_text(text).await;
        let told = client.message().await;
        let expected = json!({ "op": "disconnect", "code": 4400, "reason": reason, "reconnect": false, "after_ms": 0 });
        assert_eq!(told, expected, "{}", &text[..text.len().min(40)]);
        assert_eq!(client.expect_close().await, (Some(4400), reason.to_owned()));
    }
    let ping = rmp_serde::to_vec(&json!({ "op": "ping" })).unwrap();
    let announces_4_gib = [&[0xdf, 0xff, 0xff, 0xff, 0xff][..], &ping[1..]].concat();
    for bytes in [
        &b""[..],
        b"\xc0",
        b"\x90",
        b"\x80",
        b"\xc1",
        &ping[..ping.len() - 1],
        &[&ping[..], b"\xc0"].concat(),
        &announces_4_gib,
    ] {
        let mut client = Client::connect_msgpack(&node, &token).await;
        client.send_frame(0x82, bytes).await;
        assert_eq!(client.expect_disconnect(4400).await["reason"], reason, "{bytes:02x?}");
    }
}

#[tokio::test]
async fn a_message_nested_as_deep_as_it_can_be_does_no_harm() {
    let node = Node::start(&[]).await;
    let token = token("acme", "42");
    let mut client = Client::connect(&node, &token).await;
    client.send_text(&format!("{{\"op\":\"ping\",\"x\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000))).await;
    client.expect("pong").await;
    let mut client = Client::connect_msgpack(&node, &token).await;
    let nested = [&b"\x82\xa2op\xa4ping\xa1x"[..], &vec![0x91; 60_000], b"\x01"].concat();
    client.send_frame(0x82, &nested).await;
    client.expect("pong").await;
    assert_eq!(node.get("/healthz").await.status, 200);
}
