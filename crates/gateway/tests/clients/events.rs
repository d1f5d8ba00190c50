//! What is published: an event is what its publisher wrote, whoever that was and whatever its encoding.

use fanfare_protocol::Codec;
use serde_json::{Value, json};

use crate::frames::{answered, both, connect, published};
use crate::support::{Client, Frame, Handshake, Node, position, token};

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
async fn a_client_publishes_durable_events_and_is_told_where_they_stand() {
    let node = Node::start(&[]).await;
    for codec in [Codec::Json, Codec::Msgpack] {
        let topic = format!("channel:{codec:?}");
        let mut client = connect(&node, &token("acme", "42"), codec).await;
        let begin = position(&client.subscribe(&topic).await);
        for n in 1..=2 {
            let event = json!({ "type": "kept", "data": n });
            let publish = json!({ "op": "publish", "id": n, "topic": topic, "event": event, "durable": true });
            client.send(&publish).await;
            let mut told = [client.message().await, client.message().await];
            told.sort_by_key(|message| message["op"].to_string());
            let position = json!(format!("{}-{n}", begin.epoch));
            let delivered = json!({ "op": "event", "topic": topic, "position": position, "event": event });
            assert_eq!(told, [delivered, json!({ "op": "published", "id": n, "position": position })]);
        }
    }
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
            for durable in [false, true] {
                let frame = json!({ "op": "publish", "id": 5, "topic": "tenant", "event": event, "durable": durable });
                let refused = json!({ "op": "error", "id": 5, "topic": "tenant", "code": code, "message": message });
                answered(&mut client, &frame, &refused).await;
            }
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
