//! Every frame and envelope that `docs/protocol.md` shows is one that this crate reads or writes.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use bytes::Bytes;
use fanfare_protocol::{
    Answer, Change, ClientFrame, CloseCode, Codec, ErrorCode, Event, GapReason, Info, Kept, Limits, Lost, Method,
    PROTOCOL_VERSION, Position, Present, ServerFrame, TopicState, Traceparent, assemble, event_frame_json, reply_frame,
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
        if let ClientFrame::Request { method, traceparent, .. } = &frame {
            Method::parse(method).unwrap();
            assert!(traceparent.as_deref().is_none_or(|text| Traceparent::parse(text).is_some()), "{example}");
        }
        ops.push(op(&value(example.as_bytes())));
    }
    ops.dedup();
    assert_eq!(ops, ["auth", "subscribe", "unsubscribe", "publish", "history", "request", "presence", "ping", "pong"]);
}

#[test]
fn positions_that_clients_give_back_are_positions() {
    let mut given = 0;
    for example in examples("client") {
        let frame = ClientFrame::decode(Codec::Json, Bytes::from_static(example.as_bytes())).unwrap();
        let positions = match frame {
            ClientFrame::Auth { since, .. } => since.into_iter().map(|(_, since)| since).collect(),
            ClientFrame::Subscribe { topics, .. } => topics.into_iter().filter_map(|item| item.since).collect(),
            ClientFrame::History { before, .. } => Vec::from_iter(before),
            _ => Vec::new(),
        };
        for position in positions {
            position.parse::<Position>().unwrap();
            given += 1;
        }
    }
    assert_eq!(given, 4);
}

#[test]
fn a_payload_on_the_channel_is_a_position_and_an_envelope() {
    let payload = br#"@1767225600000000-41 x=y {"type":"order.updated","data":{"id":7}}"#;
    let event = Event::decode(Bytes::from_static(payload), 65_536).unwrap();
    assert_eq!(event.position, Some(at(41)));
    assert!(PAGE.contains("`@<position>[ name=value]… <envelope>`"));
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
        let (frame, traceparent) = match example.split_once(r#","traceparent":""#) {
            Some((frame, rest)) => (frame, Traceparent::parse(rest.strip_suffix("\"}").unwrap())),
            None => (example.strip_suffix('}').unwrap(), None),
        };
        let envelope = frame.split_once(r#""event":{"#).unwrap().1;
        let envelope = Bytes::from(["{", envelope].concat());
        let position = value(example.as_bytes())["position"].as_str().map(|position| position.parse().unwrap());
        let event = Event { position, ..Event::decode(envelope, 65_536).unwrap() };
        let mut written = Vec::new();
        event_frame_json(&mut written, "channel:orders", &event, traceparent);
        assert_eq!(example.as_bytes(), written);
    }
}

/// The examples' epoch.
fn at(seq: u64) -> Position {
    Position { epoch: 1_767_225_600_000_000, seq }
}

/// A kept event, encoded.
fn kept(seq: u64, envelope: &'static str) -> Vec<u8> {
    let event = Event::decode(Bytes::from_static(envelope.as_bytes()), 65_536).unwrap();
    Kept::new(&Event { position: Some(at(seq)), ..event }).unwrap().encode(Codec::Json)
}

/// A frame or a topic's state with the list `events`.
fn with_events(mut map: Vec<u8>, events: &[Vec<u8>]) -> Vec<u8> {
    assemble::add_field(Codec::Json, &mut map, "events", &assemble::list(Codec::Json, events.to_vec()));
    map
}

fn standing(topic: &str, seq: u64) -> TopicState<'_> {
    TopicState { topic, position: at(seq), durable: false, recovered: None, reason: None, more: false }
}

fn welcome() -> Vec<u8> {
    let limits = Limits {
        message_bytes: 65_536,
        subscriptions: 10_000,
        frames_per_minute: 600,
        publishes_per_minute: 600,
        outbox_bytes: 1_048_576,
    };
    let mut welcome = ServerFrame::Welcome {
        version: PROTOCOL_VERSION,
        features: &["durable", "history", "presence", "publish", "requests"],
        connection: "9f1c27d0a4b3e586-2a",
        node: "web-1-k3x9",
        tenant: "acme",
        user: "42",
        expires_at: 1_767_226_200_000,
        server_time: 1_767_225_600_000,
        ping_ms: 25_000,
        limits,
    }
    .encode(Codec::Json);
    let recovered = |topic, seq, events: &[_]| {
        let state = TopicState { recovered: Some(true), ..standing(topic, seq) };
        with_events(state.encode(Codec::Json), events)
    };
    let ready = kept(4, r#"{"type":"export.ready","data":{"url":"/exports/9"}}"#);
    let topics = [recovered("tenant", 0, &[]), recovered("user:42", 4, &[ready])];
    assemble::add_field(Codec::Json, &mut welcome, "topics", &assemble::list(Codec::Json, topics));
    welcome
}

const ORDER_7: &str = r#"{"type":"order.updated","data":{"id":7}}"#;
const ORDER_8: &str = r#"{"type":"order.updated","data":{"id":8}}"#;

fn subscribed() -> [Vec<u8>; 5] {
    let encode = |id, state| ServerFrame::Subscribed { id: Some(id), state }.encode(Codec::Json);
    let orders = |seq| standing("channel:orders", seq);
    let all = TopicState { recovered: Some(true), ..orders(43) };
    let some = TopicState { recovered: Some(false), reason: Some(GapReason::Expired), ..orders(43) };
    let first = TopicState { recovered: Some(true), more: true, ..orders(43) };
    [
        encode(1, orders(41)),
        with_events(encode(2, all), &[kept(42, ORDER_7), kept(43, ORDER_8)]),
        with_events(encode(2, some), &[kept(43, ORDER_8)]),
        with_events(encode(2, first), &[kept(42, ORDER_7)]),
        with_events(
            encode(3, TopicState { durable: true, recovered: Some(true), ..standing("channel:audit", 7) }),
            &[],
        ),
    ]
}

fn presence() -> [Vec<u8>; 4] {
    let topic = "channel:team.7";
    let info = Info::parse(r#"{"name":"Ana"}"#).unwrap();
    let mut page = ServerFrame::Presence { id: Some(8), topic, count: 703, cursor: Some("1536") }.encode(Codec::Json);
    let users = [Present { user: "42", info: Some(&info) }, Present { user: "43", info: None }];
    let users = users.map(|user| user.encode(Codec::Json));
    assemble::add_field(Codec::Json, &mut page, "users", &assemble::list(Codec::Json, users));
    let told = ServerFrame::Presence { id: None, topic, count: 704, cursor: None }.encode(Codec::Json);
    let change = |is_joined| Change { is_joined, user: "42".into(), info: Some(info.clone()), count: 0 };
    [page, told, change(true).frame(topic, Codec::Json), change(false).frame(topic, Codec::Json)]
}

#[test]
fn frames_from_the_node_are_what_a_node_writes() {
    let topic = "channel:orders";
    let page = ServerFrame::History { id: Some(7), topic, more: true }.encode(Codec::Json);
    let gap = |lost, reason, since, position| ServerFrame::Gap { topic, lost, reason, since, position };
    let plain = [
        ServerFrame::Renewed { expires_at: 1_767_226_800_000 },
        gap(Lost::Ephemeral, GapReason::Backplane, None, None),
        gap(Lost::All, GapReason::Epoch, Some(at(44)), Some(Position { epoch: 1_767_229_200_000_000, seq: 0 })),
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
    let answers = [
        ServerFrame::Unsubscribed { id: Some(3), topic, code: None },
        ServerFrame::Unsubscribed { id: None, topic: "channel:team.7", code: Some(ErrorCode::Forbidden) },
        ServerFrame::Published { id: Some(4), position: None },
        ServerFrame::Published { id: Some(5), position: Some(at(12)) },
    ];
    let encoded = |frames: &[ServerFrame<'_>]| frames.iter().map(|frame| frame.encode(Codec::Json)).collect::<Vec<_>>();
    let written = [
        vec![welcome()],
        subscribed().to_vec(),
        encoded(&answers),
        vec![with_events(page, &[kept(38, ORDER_7), kept(39, ORDER_8)])],
        presence().to_vec(),
        encoded(&plain),
    ];
    let written: Vec<_> = written.concat().iter().map(|frame| value(frame)).collect();
    let shown: Vec<_> = examples("server").into_iter().map(|example| value(example.as_bytes())).collect();
    assert_eq!(shown, written);
}

#[test]
fn an_answer_of_a_backend_becomes_what_its_client_is_told() {
    let answers = examples("answer").into_iter();
    let answers: Vec<_> =
        answers.map(|answer| Answer::decode(Bytes::from_static(answer.as_bytes())).unwrap().outcome).collect();
    let [Ok(data), Err(error)] = &answers[..] else { panic!("one with data and one with an error: {answers:?}") };
    assert_eq!(error.code, Some(ErrorCode::Forbidden));
    let [reply] = examples("reply")[..] else { panic!("one reply") };
    assert_eq!(reply.as_bytes(), reply_frame(Codec::Json, Some(9), data));
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
    for code in ErrorCode::ALL {
        assert!(PAGE.contains(&format!("| `{}` |", code.as_str())), "{code:?}");
    }
}
