//! Every frame and envelope that `docs/protocol.md` shows is one that this crate reads or writes.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use bytes::Bytes;
use fanfare_protocol::{
    ClientFrame, CloseCode, Codec, ErrorCode, Event, GapReason, Limits, Lost, PROTOCOL_VERSION, Position, ServerFrame,
    TopicState, event_frame_json,
};
use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/protocol.md");

/// The lines of all fenced blocks of `json` with this word after it.
fn examples(kind: &str) -> Vec<&'static str> {
    let fence = format!("```json {kind}\n");
    let blocks = PAGE.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap());
    blocks.flat_map(str::lines).collect()
}

fn value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

fn op(frame: &Value) -> String {
    frame["op"].as_str().unwrap().to_owned()
}

#[test]
fn frames_from_the_client_are_understood() {
    let mut ops = Vec::new();
    for example in examples("client") {
        let frame = ClientFrame::decode(Codec::Json, Bytes::from_static(example.as_bytes())).unwrap();
        assert!(!matches!(frame, ClientFrame::Unknown { .. }), "{example}");
        if let ClientFrame::Publish { event, .. } = &frame {
            Event::from_envelope(Codec::Json, event.clone(), 65_536).unwrap();
        }
        ops.push(op(&value(example.as_bytes())));
    }
    ops.dedup();
    assert_eq!(ops, ["auth", "subscribe", "unsubscribe", "publish", "ping", "pong"]);
}

#[test]
fn envelopes_are_valid() {
    let envelopes = examples("envelope");
    assert!(!envelopes.is_empty());
    for example in envelopes {
        Event::decode(Bytes::from_static(example.as_bytes()), 65_536).unwrap();
    }
}

#[test]
fn an_event_frame_is_what_a_node_writes() {
    let frames = examples("event");
    assert!(!frames.is_empty());
    for example in frames {
        let envelope = example.split_once(r#""event":{"#).unwrap().1.strip_suffix('}').unwrap();
        let envelope = Bytes::from(["{", envelope].concat());
        let mut written = Vec::new();
        event_frame_json(&mut written, "channel:orders", &Event::decode(envelope, 65_536).unwrap());
        assert_eq!(example.as_bytes(), written);
    }
}

#[test]
fn frames_from_the_node_are_what_a_node_writes() {
    let standing = |topic| TopicState { topic, position: Position::NONE, recovered: None, reason: None };
    let topics = [standing("tenant"), standing("user:42")];
    let limits =
        Limits { message_bytes: 65_536, subscriptions: 10_000, frames_per_minute: 600, outbox_bytes: 1_048_576 };
    let subscribed = |id, recovered, reason| ServerFrame::Subscribed {
        id: Some(id),
        topic: "channel:orders",
        position: Position::NONE,
        recovered,
        reason,
    };
    let written = [
        ServerFrame::Welcome {
            version: PROTOCOL_VERSION,
            features: &["publish"],
            connection: "9f1c27d0a4b3e586-2a",
            node: "web-1-k3x9",
            tenant: "acme",
            user: "42",
            expires_at: 1_767_226_200_000,
            server_time: 1_767_225_600_000,
            ping_ms: 25_000,
            limits,
            topics: &topics,
        },
        subscribed(1, None, None),
        subscribed(2, Some(false), Some(GapReason::Expired)),
        ServerFrame::Unsubscribed { id: Some(3), topic: "channel:orders", code: None },
        ServerFrame::Unsubscribed { id: None, topic: "channel:team.7", code: Some(ErrorCode::Forbidden) },
        ServerFrame::Published { id: Some(4), position: None },
        ServerFrame::Renewed { expires_at: 1_767_226_800_000 },
        ServerFrame::Gap {
            topic: "channel:orders",
            lost: Lost::Ephemeral,
            reason: GapReason::Backplane,
            since: None,
            position: None,
        },
        ServerFrame::Error {
            id: Some(1),
            topic: Some("channel:board"),
            code: ErrorCode::Forbidden,
            message: "this token may not subscribe to this topic",
        },
        ServerFrame::disconnect(CloseCode::Draining, 1_840),
        ServerFrame::Ping,
        ServerFrame::Pong,
    ];
    let written: Vec<_> = written.iter().map(|frame| value(&frame.encode(Codec::Json))).collect();
    let shown: Vec<_> = examples("server").into_iter().map(|example| value(example.as_bytes())).collect();
    assert_eq!(shown, written);
}

#[test]
fn every_close_code_and_error_code_is_explained() {
    let table = PAGE.split("## When the connection ends").nth(1).unwrap().split("## Errors").next().unwrap();
    let explained: Vec<_> = table
        .lines()
        .filter_map(|row| row.strip_prefix("| ")?.split('|').next())
        .flat_map(|codes| codes.split(',').map(str::trim))
        .collect();
    for code in CloseCode::ALL {
        assert!(explained.contains(&code.as_u16().to_string().as_str()), "{code:?}");
    }
    for code in [
        ErrorCode::BadFrame,
        ErrorCode::Unauthenticated,
        ErrorCode::Forbidden,
        ErrorCode::InvalidTopic,
        ErrorCode::TooManySubscriptions,
        ErrorCode::RateLimited,
        ErrorCode::TooLarge,
        ErrorCode::Timeout,
        ErrorCode::NoBackend,
        ErrorCode::Unavailable,
        ErrorCode::Internal,
    ] {
        assert!(PAGE.contains(&format!("| `{}` |", code.as_str())), "{code:?}");
    }
}
