//! What is wrong with a frame about presence is told exactly.

use serde_json::{Value, json};

use crate::support::{Client, Node, claims, sign, token};

async fn answer(client: &mut Client, frame: &Value) -> Value {
    client.send(frame).await;
    client.message().await
}

#[tokio::test]
async fn every_field_of_presence_is_checked() {
    let node = Node::start(&[]).await;
    for mut client in [
        Client::connect(&node, &token("acme", "ana")).await,
        Client::connect_msgpack(&node, &token("acme", "ana")).await,
    ] {
        let long_cursor = format!("0-0:{}", "x".repeat(201));
        for (changes, code, message) in [
            (json!({ "topic": null }), "bad_frame", "`topic` is missing"),
            (json!({ "topic": 7 }), "bad_frame", "`topic` must be a string"),
            (json!({ "topic": "orders" }), "invalid_topic", "a topic is `tenant`, `user:<id>` or `channel:<name>`"),
            (
                json!({ "topic": "acme:channel:a" }),
                "invalid_topic",
                "a topic is `tenant`, `user:<id>` or `channel:<name>`",
            ),
            (json!({ "topic": "channel:a}:presence" }), "invalid_topic", "the character '}' is not allowed in a topic"),
            (
                json!({ "topic": format!("channel:{}", "a".repeat(201)) }),
                "invalid_topic",
                "the name after the kind has 201 bytes; at most 200 are allowed",
            ),
            (json!({ "topic": "user:bo" }), "forbidden", "this token may not subscribe to this topic"),
            (json!({ "limit": 0 }), "bad_frame", "`limit` must be an integer from 1 on"),
            (json!({ "limit": -1 }), "bad_frame", "`limit` must be an integer from 1 on"),
            (json!({ "limit": 1.5 }), "bad_frame", "`limit` must be an integer from 1 on"),
            (json!({ "limit": "7" }), "bad_frame", "`limit` must be an integer from 1 on"),
            (json!({ "cursor": 7 }), "bad_frame", "`cursor` must be a string"),
            (json!({ "cursor": "" }), "bad_frame", "cursor is none that a list has given"),
            (json!({ "cursor": "x" }), "bad_frame", "cursor is none that a list has given"),
            (json!({ "cursor": "0 COUNT 9" }), "bad_frame", "cursor is none that a list has given"),
            (json!({ "cursor": long_cursor }), "bad_frame", "cursor is none that a list has given"),
        ] {
            let mut frame = json!({ "op": "presence", "id": 5, "topic": "channel:a" });
            frame.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            let told = answer(&mut client, &frame).await;
            assert_eq!((&told["op"], &told["id"]), (&json!("error"), &json!(5)), "{frame}: {told}");
            assert_eq!((&told["code"], &told["message"]), (&json!(code), &json!(message)), "{frame}");
        }
        let told = answer(&mut client, &json!({ "op": "presence", "id": "5", "topic": "channel:a" })).await;
        assert_eq!(told["message"], "`id` must be an integer of 64 bits");
        let told =
            answer(&mut client, &json!({ "op": "subscribe", "id": 5, "topic": "channel:a", "presence": 1 })).await;
        assert_eq!(
            (&told["code"], &told["message"]),
            (&json!("bad_frame"), &json!("`presence` must be true or false"))
        );
        // A cursor that nobody gave, but that could be one, brings what stands behind it.
        let told =
            answer(&mut client, &json!({ "op": "presence", "id": 5, "topic": "channel:a", "cursor": "99" })).await;
        assert_eq!((&told["op"], &told["count"]), (&json!("presence"), &json!(0)));
    }
}

#[tokio::test]
async fn a_forbidden_topic_is_refused_with_presence_as_without() {
    let node = Node::start(&[]).await;
    let mut claims = claims("acme", "ana");
    claims["channels"] = json!(["news"]);
    let mut client = Client::connect(&node, &sign(&claims)).await;
    for presence in [true, false] {
        let frame = json!({ "op": "subscribe", "id": 1, "topic": "channel:board", "presence": presence });
        let told = answer(&mut client, &frame).await;
        assert_eq!((&told["op"], &told["code"]), (&json!("error"), &json!("forbidden")), "{told}");
    }
    client.expect_nothing().await;
    assert_eq!(node.metric("fanfare_presence_members").await, 0.0);
}

#[tokio::test]
async fn an_info_that_is_too_long_makes_a_bad_token() {
    let node = Node::start(&[]).await;
    let mut claims = claims("acme", "ana");
    claims["info"] = json!("x".repeat(1_022));
    Client::connect(&node, &sign(&claims)).await;
    claims["info"] = json!("x".repeat(1_023));
    let protocol = format!("fanfare.token.{}", sign(&claims));
    let handshake = crate::support::Handshake::to(&node).header("Sec-WebSocket-Protocol", &protocol);
    let told = handshake.open().await.expect_disconnect(4401).await;
    let reason = "invalid claim \"info\": has 1025 bytes of JSON; at most 1024 are allowed";
    assert!(told["reason"].as_str().unwrap().contains(reason), "{told}");
}
