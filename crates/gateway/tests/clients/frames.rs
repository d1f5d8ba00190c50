//! What frames do and what they are answered, in JSON and in `MessagePack` alike; and that an event is what was published.

use fanfare_protocol::Codec;
use serde_json::{Value, json};

use crate::support::{Client, Frame, Handshake, Node, claims, sign, token};

/// A client of each encoding.
async fn both(node: &Node, token: &str) -> [Client; 2] {
    [connect(node, token, Codec::Json).await, connect(node, token, Codec::Msgpack).await]
}

async fn connect(node: &Node, token: &str, codec: Codec) -> Client {
    match codec {
        Codec::Json => Client::connect(node, token).await,
        Codec::Msgpack => Client::connect_msgpack(node, token).await,
    }
}

/// Sends `frame`, whose answer must be `answer` and nothing else.
async fn answered(client: &mut Client, frame: &Value, answer: &Value) {
    client.send(frame).await;
    assert_eq!(client.message().await, *answer, "{frame}");
}

async fn published(node: &Node, topic: &str, envelope: &str) {
    let reply = node.publish("acme", topic, envelope).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn a_topic_is_subscribed_once_however_often_and_left_again() {
    let node = Node::start(&[]).await;
    for codec in [Codec::Json, Codec::Msgpack] {
        let mut client = connect(&node, &token("acme", "42"), codec).await;
        let subscribed =
            |id: i64| json!({ "op": "subscribed", "id": id, "topic": "channel:orders", "position": "0-0" });
        for id in [7, -1, i64::MAX] {
            answered(&mut client, &json!({ "op": "subscribe", "id": id, "topic": "channel:orders" }), &subscribed(id))
                .await;
        }
        let without_id = json!({ "op": "subscribed", "topic": "channel:orders", "position": "0-0" });
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
        let subscribed = |topic: &str| json!({ "op": "subscribed", "id": 3, "topic": topic, "position": "0-0" });
        let refused = |topic: &str, code: &str, message: &str| json!({ "op": "error", "id": 3, "topic": topic, "code": code, "message": message });
        let mut resumed = subscribed("channel:open.1");
        resumed["recovered"] = json!(false);
        resumed["reason"] = json!("expired");
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
            assert_eq!(client.message().await, answer);
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
            let subscribed = json!({ "op": "subscribed", "id": 1, "topic": topic, "position": "0-0" });
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
        let resumed = json!({
            "op": "subscribed", "id": 1, "topic": "channel:a", "position": "0-0", "recovered": false, "reason": "expired"
        });
        for since in ["5-7", "0-0", "18446744073709551615-18446744073709551615"] {
            let subscribe = json!({ "op": "subscribe", "id": 1, "topic": "channel:a", "since": since });
            answered(&mut client, &subscribe, &resumed).await;
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
        (json!({ "op": "presence", "id": 3, "topic": "tenant" }), json!(3), None, "unknown op \"presence\""),
        (json!({ "op": "history", "id": 3, "topic": "tenant" }), json!(3), None, "unknown op \"history\""),
        (json!({ "op": "request", "id": 3, "method": "m" }), json!(3), None, "unknown op \"request\""),
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

#[tokio::test]
async fn a_client_publishes_to_all_subscribers_and_itself() {
    let node = Node::start(&[]).await;
    let token = token("acme", "42");
    let [mut json, mut msgpack] = both(&node, &token).await;
    json.subscribe("channel:a").await;
    msgpack.subscribe("channel:a").await;
    let publish =
        |topic: &str, n: u64| json!({ "op": "publish", "id": n, "topic": topic, "event": { "type": "t", "data": n } });
    for (n, topic) in [(1, "channel:a"), (2, "tenant"), (3, "user:42")] {
        json.send(&publish(topic, n)).await;
        msgpack.expect_event(topic).await;
        // The answer and the event take different ways, so either may come first.
        let mut told = [json.message().await, json.message().await];
        told.sort_by_key(|message| message["op"].to_string());
        let event = json!({ "op": "event", "topic": topic, "event": { "type": "t", "data": n } });
        assert_eq!(told, [event, json!({ "op": "published", "id": n })]);
    }
    answered(&mut msgpack, &publish("user:43", 4), &json!({ "op": "published", "id": 4 })).await;
    json.expect_nothing().await;
}

#[tokio::test]
async fn an_event_that_is_not_valid_is_refused_with_the_reason() {
    let node = Node::start(&[("FANFARE_EVENT_BYTES_MAX", "1024")]).await;
    let deep = (0..64).fold(json!(1), |inner, _| json!([inner]));
    let cases = [
        (json!({}), "bad_frame", "the event has no `type`"),
        (json!({ "data": 1 }), "bad_frame", "the event has no `type`"),
        (json!("text"), "bad_frame", "the event is neither a JSON object nor a MessagePack map"),
        (json!([]), "bad_frame", "the event is neither a JSON object nor a MessagePack map"),
        (json!({ "type": "" }), "bad_frame", "the event's `type` has 0 bytes; 1 to 200 are allowed"),
        (json!({ "type": "x".repeat(201) }), "bad_frame", "the event's `type` has 201 bytes; 1 to 200 are allowed"),
        (json!({ "type": 7 }), "bad_frame", "the event's `type` must be a string"),
        (json!({ "type": "t", "id": 7 }), "bad_frame", "the event's `id` must be a string"),
        (json!({ "type": "t", "at": "now" }), "bad_frame", "the event's `at` must be an integer"),
        (json!({ "type": "t", "key": [] }), "bad_frame", "the event's `key` must be a string"),
        (json!({ "type": "t", "data": deep }), "bad_frame", "the event is nested deeper than 64 levels"),
    ];
    for codec in [Codec::Json, Codec::Msgpack] {
        let mut client = connect(&node, &token("acme", "42"), codec).await;
        for (event, code, message) in &cases {
            let frame = json!({ "op": "publish", "id": 5, "topic": "tenant", "event": event });
            let refused = json!({ "op": "error", "id": 5, "topic": "tenant", "code": code, "message": message });
            answered(&mut client, &frame, &refused).await;
        }
        let frame =
            json!({ "op": "publish", "id": 5, "topic": "tenant", "event": { "type": "t", "data": "x".repeat(1_024) } });
        client.send(&frame).await;
        let refused = client.expect("error").await;
        assert_eq!((&refused["id"], &refused["code"]), (&json!(5), &json!("too_large")));
        let message = refused["message"].as_str().unwrap();
        assert!(
            message.starts_with("the event has 10") && message.ends_with(" bytes; at most 1024 are allowed"),
            "{message}"
        );
        let durable = json!({ "op": "publish", "id": 6, "topic": "tenant", "event": { "type": "t" }, "durable": true });
        let message = "this node has no durable events";
        let refused = json!({ "op": "error", "id": 6, "topic": "tenant", "code": "unavailable", "message": message });
        answered(&mut client, &durable, &refused).await;
        client.expect_nothing().await;
    }
    let mut client = Client::connect(&node, &token("acme", "42")).await;
    client
        .send_text("{\"op\":\"publish\",\"id\":7,\"topic\":\"tenant\",\"event\":{\"type\":\"a\",\"type\":\"b\"}}")
        .await;
    let message = "the event has `type` twice";
    let refused = json!({ "op": "error", "id": 7, "topic": "tenant", "code": "bad_frame", "message": message });
    assert_eq!(client.message().await, refused);
}

#[tokio::test]
async fn an_event_leaves_out_whom_it_excepts() {
    let node = Node::start(&[]).await;
    let token = token("acme", "42");
    let handshake = || Handshake::to(&node).bearer(&token);
    let (mut client, mut other) = (handshake().open().await, handshake().msgpack().open().await);
    let name = client.expect("welcome").await["connection"].clone();
    let others_name = other.expect("welcome").await["connection"].clone();
    let publish = |except: &Value| json!({ "op": "publish", "id": 1, "topic": "user:42", "event": { "type": "moved", "except": except } });
    answered(&mut client, &publish(&name), &json!({ "op": "published", "id": 1 })).await;
    assert_eq!(other.expect_event("user:42").await["type"], "moved");
    for stranger in [&others_name, &json!("nobody")] {
        let message = "except may only name the connection itself";
        let refused = json!({ "op": "error", "id": 1, "topic": "user:42", "code": "forbidden", "message": message });
        answered(&mut client, &publish(stranger), &refused).await;
    }
    // A backend may except whom it likes.
    let envelope = json!({ "type": "told", "except": others_name }).to_string();
    published(&node, "user:42", &envelope).await;
    assert_eq!(client.expect_event("user:42").await["type"], "told");
    published(&node, "user:42", "{\"type\":\"all\",\"except\":null}").await;
    assert_eq!(client.expect_event("user:42").await["type"], "all");
    assert_eq!(other.expect_event("user:42").await["type"], "all");
}

/// Envelopes that a decoder and an encoder would change: numbers, order, repeated keys, escapes, spaces, unknown fields.
const DELICATE: [&str; 8] = [
    r#"{"type":"numbers","data":[9223372036854775808,18446744073709551615,1.10,1e3,-0,0.1000000000000000055511]}"#,
    r#"{"type":"huge","data":123456789012345678901234567890}"#,
    r#"{"data":{"b":1,"a":2},"type":"order"}"#,
    r#"{"type":"repeated","data":{"k":1,"k":2}}"#,
    r#"{"type":"escapes","data":"\u0041\/\"\\\u00e9é\ud83d\ude00😀\u2028"}"#,
    r#"{ "type" : "spaces" , "data" : [ 1 , { } ] }"#,
    r#"{"type":"unknown","future":{"x":null},"at":1700000000000,"id":"e1","traceparent":"00-x","tracestate":"a=b"}"#,
    r#"{"\u0074ype":"\u0074"}"#,
];

#[tokio::test]
async fn an_event_reaches_json_clients_byte_for_byte_however_it_was_published() {
    let node = Node::start(&[]).await;
    let token = token("acme", "42");
    let mut witness = Client::connect(&node, &token).await;
    let mut publisher = Client::connect(&node, &token).await;
    witness.subscribe("channel:raw").await;
    for envelope in DELICATE {
        let expected = format!("{{\"op\":\"event\",\"topic\":\"channel:raw\",\"event\":{envelope}}}");
        published(&node, "channel:raw", envelope).await;
        assert_eq!(witness.text().await, expected);
        let frame = format!("{{\"op\":\"publish\",\"id\":1,\"topic\":\"channel:raw\",\"event\": {envelope} }}");
        publisher.send_text(&frame).await;
        publisher.expect("published").await;
        assert_eq!(witness.text().await, expected);
    }
    published(&node, "channel:raw", "\n\t {\"type\":\"trimmed\"} \r\n").await;
    let expected = "{\"op\":\"event\",\"topic\":\"channel:raw\",\"event\":{\"type\":\"trimmed\"}}";
    assert_eq!(witness.text().await, expected);
}

/// An event frame of `channel:raw` in `MessagePack`, around an envelope of such bytes.
fn msgpack_event(envelope: &[u8]) -> Frame {
    Frame::Binary([&b"\x83\xa2op\xa5event\xa5topic\xabchannel:raw\xa5event"[..], envelope].concat())
}

#[tokio::test]
async fn an_event_is_translated_for_clients_of_the_other_encoding() {
    let node = Node::start(&[]).await;
    let [mut json, mut msgpack] = both(&node, &token("acme", "42")).await;
    json.subscribe("channel:raw").await;
    msgpack.subscribe("channel:raw").await;
    for (envelope, expected) in [
        (r#"{"type":"t","data":9223372036854775808}"#, &b"\x82\xa4type\xa1t\xa4data\xcf\x80\0\0\0\0\0\0\0"[..]),
        (r#"{"data":1.10,"type":"t"}"#, b"\x82\xa4data\xcb\x3f\xf1\x99\x99\x99\x99\x99\x9a\xa4type\xa1t"),
        (r#"{"type":"t","data":{"k":1,"k":-2}}"#, b"\x82\xa4type\xa1t\xa4data\x82\xa1k\x01\xa1k\xfe"),
        (r#"{"type":"t","data":"\u00e9\ud83d\ude00"}"#, b"\x82\xa4type\xa1t\xa4data\xa6\xc3\xa9\xf0\x9f\x98\x80"),
    ] {
        published(&node, "channel:raw", envelope).await;
        assert_eq!(msgpack.next().await, msgpack_event(expected), "{envelope}");
        assert_eq!(json.text().await, format!("{{\"op\":\"event\",\"topic\":\"channel:raw\",\"event\":{envelope}}}"));
    }
    for (envelope, expected) in [
        (&b"\x82\xa4type\xa1t\xa4data\xcf\x80\0\0\0\0\0\0\0"[..], r#"{"type":"t","data":9223372036854775808}"#),
        // A number in a longer form than it needs, bytes, a key that is an integer, a float, a timestamp.
        (b"\x82\xa4data\xcd\0\x07\xa4type\xa1t", r#"{"data":7,"type":"t"}"#),
        (b"\x82\xa4type\xa1t\xa4data\xc4\x02\xff\x00", r#"{"type":"t","data":"/wA="}"#),
        (b"\x82\xa4type\xa1t\xa4data\x81\x05\xc3", r#"{"type":"t","data":{"5":true}}"#),
        (b"\x82\xa4type\xa1t\xa4data\xca\x3f\xc0\0\0", r#"{"type":"t","data":1.5}"#),
        (b"\x82\xa4type\xa1t\xa4data\xd6\xff\0\0\0\0", r#"{"type":"t","data":"1970-01-01T00:00:00Z"}"#),
    ] {
        let publish = [&b"\x84\xa2op\xa7publish\xa2id\x01\xa5topic\xabchannel:raw\xa5event"[..], envelope].concat();
        msgpack.send_frame(0x82, &publish).await;
        assert_eq!(json.text().await, format!("{{\"op\":\"event\",\"topic\":\"channel:raw\",\"event\":{expected}}}"));
        // Those of the publisher's own encoding get the publisher's own bytes.
        let answer = Frame::Binary(b"\x82\xa2op\xa9published\xa2id\x01".to_vec());
        let mut told = [msgpack.next().await, msgpack.next().await];
        told.sort_by_key(|frame| *frame == answer);
        assert_eq!(told, [msgpack_event(envelope), answer]);
    }
}
