//! What a node says, byte for byte, and the same map in `MessagePack`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fanfare_protocol::{
    CloseCode, Codec, ErrorCode, Event, GapReason, Kept, Limits, Lost, PROTOCOL_VERSION, Position, ServerFrame,
    TopicState, Traceparent, assemble, event_frame_json, event_frame_msgpack, json_to_msgpack,
};
use proptest::prelude::*;
use serde_json::value::RawValue;

const AT: Position = Position { epoch: 17, seq: 4 };

/// Asserts a frame's JSON to the byte, and that its `MessagePack` is the same map in the same order.
fn assert_frame(frame: &ServerFrame<'_>, json: &str) {
    assert_encoded(|codec| frame.encode(codec), json);
}

fn assert_encoded(encode: impl Fn(Codec) -> Vec<u8>, json: &str) {
    assert_eq!(String::from_utf8(encode(Codec::Json)).unwrap(), json);
    assert_eq!(encode(Codec::Msgpack), json_to_msgpack(json.as_bytes()).unwrap(), "{json}");
}

#[test]
fn welcome() {
    let frame = ServerFrame::Welcome {
        version: PROTOCOL_VERSION,
        features: &["publish", "subscribe_many"],
        connection: "c-1",
        node: "n-1",
        tenant: "acme",
        user: "42",
        expires_at: 1_752_000_600_000,
        server_time: 1_752_000_000_000,
        ping_ms: 25_000,
        limits: Limits {
            message_bytes: 65_536,
            subscriptions: 1000,
            frames_per_minute: 600,
            publishes_per_minute: 300,
            outbox_bytes: 1_048_576,
        },
    };
    let topics = [
        TopicState {
            topic: "tenant",
            position: Position::NONE,
            durable: false,
            recovered: None,
            reason: None,
            more: false,
        },
        TopicState {
            topic: "user:42",
            position: AT,
            durable: true,
            recovered: Some(false),
            reason: Some(GapReason::Expired),
            more: true,
        },
    ];
    let encode = |codec| {
        let mut encoded = frame.encode(codec);
        let topics = assemble::list(codec, topics.iter().map(|topic| topic.encode(codec)));
        assemble::add_field(codec, &mut encoded, "topics", &topics);
        encoded
    };
    assert_encoded(
        encode,
        concat!(
            r#"{"op":"welcome","version":1,"features":["publish","subscribe_many"],"connection":"c-1","node":"n-1","#,
            r#""tenant":"acme","user":"42","expires_at":1752000600000,"server_time":1752000000000,"ping_ms":25000,"#,
            r#""limits":{"message_bytes":65536,"subscriptions":1000,"frames_per_minute":600,"publishes_per_minute":300,"outbox_bytes":1048576},"#,
            r#""topics":[{"topic":"tenant","position":"0-0"},"#,
            r#"{"topic":"user:42","position":"17-4","durable":true,"recovered":false,"reason":"expired","more":true}]}"#
        ),
    );
}

#[test]
fn subscribed_and_unsubscribed() {
    let subscribed = |id, recovered, reason| {
        let state = TopicState { topic: "channel:a", position: AT, durable: false, recovered, reason, more: false };
        ServerFrame::Subscribed { id, state }
    };
    assert_frame(
        &subscribed(Some(1), None, None),
        r#"{"op":"subscribed","id":1,"topic":"channel:a","position":"17-4"}"#,
    );
    assert_frame(
        &subscribed(None, Some(true), None),
        r#"{"op":"subscribed","topic":"channel:a","position":"17-4","recovered":true}"#,
    );
    assert_frame(
        &subscribed(Some(-1), Some(false), Some(GapReason::Backplane)),
        r#"{"op":"subscribed","id":-1,"topic":"channel:a","position":"17-4","recovered":false,"reason":"backplane"}"#,
    );
    let unsubscribed = |id, code| ServerFrame::Unsubscribed { id, topic: "channel:\"a\"", code };
    assert_frame(&unsubscribed(Some(2), None), r#"{"op":"unsubscribed","id":2,"topic":"channel:\"a\""}"#);
    assert_frame(
        &unsubscribed(None, Some(ErrorCode::Forbidden)),
        r#"{"op":"unsubscribed","topic":"channel:\"a\"","code":"forbidden"}"#,
    );
}

#[test]
fn events_of_a_history_stay_as_they_were_published() {
    let kept = |envelope: &[u8]| Kept::new(&event(Codec::Json, envelope, Some(AT))).unwrap();
    let events = [kept(br#"{"type":"a","data":1.10}"#), kept(br#"{"type":"b"}"#)];
    for count in [0, 1, 2, 20] {
        let encode = |codec| {
            let events = events.iter().cycle().take(count).map(|kept| kept.encode(codec));
            let mut encoded = ServerFrame::History { id: Some(6), topic: "channel:a", more: true }.encode(codec);
            assemble::add_field(codec, &mut encoded, "events", &assemble::list(codec, events));
            encoded
        };
        let one =
            [r#"{"position":"17-4","event":{"type":"a","data":1.10}}"#, r#"{"position":"17-4","event":{"type":"b"}}"#];
        let events = one.iter().cycle().take(count).copied().collect::<Vec<_>>().join(",");
        let json = format!(r#"{{"op":"history","id":6,"topic":"channel:a","more":true,"events":[{events}]}}"#);
        assert_encoded(encode, &json);
    }
    assert_eq!(Kept::new(&event(Codec::Json, br#"{"type":"a"}"#, None)), None);
}

#[test]
fn a_kept_event_is_translated_for_who_speaks_the_other_encoding() {
    let envelope = json_to_msgpack(br#"{"type":"a","data":[1]}"#).unwrap();
    let kept = Kept::new(&event(Codec::Msgpack, &envelope, Some(AT))).unwrap();
    assert_encoded(|codec| kept.encode(codec), r#"{"position":"17-4","event":{"type":"a","data":[1]}}"#);
}

#[test]
fn published_and_renewed() {
    assert_frame(&ServerFrame::Published { id: Some(3), position: None }, r#"{"op":"published","id":3}"#);
    assert_frame(&ServerFrame::Published { id: None, position: Some(AT) }, r#"{"op":"published","position":"17-4"}"#);
    assert_frame(
        &ServerFrame::Renewed { expires_at: 1_752_000_600_000 },
        r#"{"op":"renewed","expires_at":1752000600000}"#,
    );
}

#[test]
fn every_error_code() {
    let codes = [
        (ErrorCode::BadFrame, "bad_frame"),
        (ErrorCode::Unauthenticated, "unauthenticated"),
        (ErrorCode::Forbidden, "forbidden"),
        (ErrorCode::InvalidTopic, "invalid_topic"),
        (ErrorCode::TooManySubscriptions, "too_many_subscriptions"),
        (ErrorCode::RateLimited, "rate_limited"),
        (ErrorCode::TooLarge, "too_large"),
        (ErrorCode::Timeout, "timeout"),
        (ErrorCode::NoBackend, "no_backend"),
        (ErrorCode::Unavailable, "unavailable"),
        (ErrorCode::Internal, "internal"),
    ];
    for (code, name) in codes {
        let frame = ServerFrame::Error { id: None, topic: None, code, message: "a\nb" };
        assert_frame(&frame, &format!(r#"{{"op":"error","code":"{name}","message":"a\nb"}}"#));
    }
    let frame = ServerFrame::Error { id: Some(7), topic: Some("x y"), code: ErrorCode::InvalidTopic, message: "no" };
    assert_frame(&frame, r#"{"op":"error","id":7,"topic":"x y","code":"invalid_topic","message":"no"}"#);
}

#[test]
fn gap() {
    let gap = |lost, reason, since, position| ServerFrame::Gap { topic: "tenant", lost, reason, since, position };
    assert_frame(
        &gap(Lost::Ephemeral, GapReason::Backplane, None, None),
        r#"{"op":"gap","topic":"tenant","lost":"ephemeral","reason":"backplane"}"#,
    );
    assert_frame(
        &gap(Lost::All, GapReason::Epoch, Some(Position { epoch: 9, seq: 1 }), Some(AT)),
        r#"{"op":"gap","topic":"tenant","lost":"all","reason":"epoch","since":"9-1","position":"17-4"}"#,
    );
    assert_frame(
        &gap(Lost::All, GapReason::Invalid, None, Some(AT)),
        r#"{"op":"gap","topic":"tenant","lost":"all","reason":"invalid","position":"17-4"}"#,
    );
}

#[test]
fn disconnect_ping_and_pong() {
    assert_frame(
        &ServerFrame::disconnect(CloseCode::Draining, 1500),
        r#"{"op":"disconnect","code":1012,"reason":"draining","reconnect":true,"after_ms":1500}"#,
    );
    let frame =
        ServerFrame::Disconnect { code: CloseCode::Unauthenticated, reason: "expired", reconnect: false, after_ms: 0 };
    assert_frame(&frame, r#"{"op":"disconnect","code":4401,"reason":"expired","reconnect":false,"after_ms":0}"#);
    assert_frame(&ServerFrame::Ping, r#"{"op":"ping"}"#);
    assert_frame(&ServerFrame::Pong, r#"{"op":"pong"}"#);
    assert_eq!(ServerFrame::Ping.encode(Codec::Msgpack), b"\x81\xa2op\xa4ping");
}

fn event(codec: Codec, envelope: &[u8], position: Option<Position>) -> Event {
    let envelope = bytes::Bytes::copy_from_slice(envelope);
    Event { position, ..Event::from_envelope(codec, envelope, usize::MAX).unwrap() }
}

fn json_frame(topic: &str, event: &Event) -> String {
    let mut out = Vec::new();
    event_frame_json(&mut out, topic, event, None);
    String::from_utf8(out).unwrap()
}

fn msgpack_frame(topic: &str, event: &Event) -> Vec<u8> {
    let mut out = Vec::new();
    event_frame_msgpack(&mut out, topic, event, None);
    out
}

#[test]
fn an_event_travels_as_it_was_published() {
    let envelope = r#"{"type":"t", "data":{"z":9223372036854775808,"a":1.10,"a":"\u00e9\/"}}"#;
    let ephemeral = event(Codec::Json, envelope.as_bytes(), None);
    let frame = json_frame("channel:a\"\\é", &ephemeral);
    assert_eq!(frame, format!(r#"{{"op":"event","topic":"channel:a\"\\é","event":{envelope}}}"#));
    let durable = event(Codec::Json, envelope.as_bytes(), Some(AT));
    let frame = json_frame("tenant", &durable);
    assert_eq!(frame, format!(r#"{{"op":"event","topic":"tenant","position":"17-4","event":{envelope}}}"#));
    let packed = event(Codec::Msgpack, b"\x81\xa4type\xd9\x01t", None);
    let frame = msgpack_frame("tenant", &packed);
    assert_eq!(frame, b"\x83\xa2op\xa5event\xa5topic\xa6tenant\xa5event\x81\xa4type\xd9\x01t");
}

#[test]
fn an_event_is_translated_for_who_speaks_the_other_encoding() {
    let from_json = event(Codec::Json, br#"{"type":"t","data":[1,null]}"#, Some(AT));
    let expected =
        json_to_msgpack(br#"{"op":"event","topic":"tenant","position":"17-4","event":{"type":"t","data":[1,null]}}"#);
    assert_eq!(msgpack_frame("tenant", &from_json), expected.unwrap());
    let from_msgpack = event(Codec::Msgpack, b"\x82\xa4type\xa1t\xa4data\xc4\x01\x00", None);
    assert_eq!(
        json_frame("tenant", &from_msgpack),
        r#"{"op":"event","topic":"tenant","event":{"type":"t","data":"AA=="}}"#
    );
}

#[test]
fn the_nodes_span_stands_outside_the_envelope() {
    let forged = event(Codec::Json, br#"{"type":"t","traceparent":"mine"}"#, Some(AT));
    let traceparent = Traceparent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let expected = r#"{"op":"event","topic":"tenant","position":"17-4","event":{"type":"t","traceparent":"mine"},"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#;
    let (mut json, mut packed) = (Vec::new(), Vec::new());
    event_frame_json(&mut json, "tenant", &forged, traceparent);
    event_frame_msgpack(&mut packed, "tenant", &forged, traceparent);
    assert_eq!(String::from_utf8(json).unwrap(), expected);
    assert_eq!(packed, json_to_msgpack(expected.as_bytes()).unwrap());
}

#[test]
fn frames_are_appended() {
    let one = event(Codec::Json, br#"{"type":"t"}"#, None);
    let mut out = b"before".to_vec();
    event_frame_json(&mut out, "tenant", &one, None);
    event_frame_json(&mut out, "tenant", &one, None);
    assert_eq!(
        out,
        [&b"before"[..], json_frame("tenant", &one).as_bytes(), json_frame("tenant", &one).as_bytes()].concat()
    );
}

#[test]
fn nothing_in_an_envelope_can_forge_the_frame_around_it() {
    let forged = br#"{"op":"gap","topic":"user:1","position":"9-9","type":"t","event":{}}"#;
    let frame = json_frame("channel:a", &event(Codec::Json, forged, Some(AT)));
    let parsed: serde_json::Value = serde_json::from_str(&frame).unwrap();
    assert_eq!(
        (&parsed["op"], &parsed["topic"], &parsed["position"]),
        (&"event".into(), &"channel:a".into(), &"17-4".into())
    );
    assert_eq!(parsed["event"]["topic"], "user:1");
}

#[derive(serde::Deserialize)]
struct EventFrame<'a> {
    op: String,
    topic: String,
    position: Option<String>,
    #[serde(borrow)]
    event: &'a RawValue,
}

proptest! {
    #[test]
    fn the_client_s_parser_finds_the_very_bytes(topic: String, data: String, epoch in 1..u64::MAX, durable: bool) {
        let envelope = serde_json::json!({ "type": "t", "data": [data] }).to_string();
        let position = durable.then_some(Position { epoch, seq: 1 });
        let frame = json_frame(&topic, &event(Codec::Json, envelope.as_bytes(), position));
        let parsed: EventFrame<'_> = serde_json::from_str(&frame).unwrap();
        prop_assert_eq!((parsed.op, parsed.topic), ("event".to_owned(), topic));
        prop_assert_eq!(parsed.position, position.map(|position| position.to_string()));
        prop_assert_eq!(parsed.event.get(), envelope);
    }
}
