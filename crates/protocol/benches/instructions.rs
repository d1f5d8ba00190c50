//! What reading and writing the contract costs, in instructions: events from Redis, the frames they leave in, and what
//! clients say. `make instructions` counts. Deliberately nothing that waits or writes to a socket.
#![allow(clippy::unwrap_used, reason = "a case that can't be prepared fails by panicking")]

mod counting;

use std::hint::black_box;

use fanfare_protocol::{
    ClientFrame, Codec, Event, TopicKey, event_frame_json, event_frame_msgpack, json_to_msgpack, payload,
};

use counting::Cases;
use counting::sample::envelope;

/// Sizes of envelopes in bytes of JSON, with how many of each are read or written in one case: one alone would cost as much
/// as the allocator happens to need for its first block.
const SIZES: [(usize, &str, usize); 3] = [(128, "128 B", 100), (1_024, "1 KB", 100), (16 * 1_024, "16 KB", 10)];
const ENVELOPE_BYTES_MAX: usize = 65_536;
const TOPIC: &str = "channel:orders";
const SUBSCRIBE: &str =
    r#"{"op":"subscribe","id":7,"topic":"channel:orders","since":"1760000000000-42","presence":true}"#;

/// How often the rest is repeated.
const REPEATED: usize = 100;

fn main() {
    let mut cases = Cases::default();
    decode_events(&mut cases);
    encode_frames(&mut cases);
    decode_client_frames(&mut cases);
    parse_names(&mut cases);
    cases.run();
}

fn decode_events(cases: &mut Cases) {
    for (bytes, size, count) in SIZES {
        for codec in [Codec::Json, Codec::Msgpack] {
            let prepare = move || vec![in_codec(codec, &envelope(bytes)); count];
            let decode = |payloads: &mut Vec<Vec<u8>>| {
                for payload in payloads.drain(..) {
                    black_box(Event::decode(payload.into(), ENVELOPE_BYTES_MAX).unwrap());
                }
            };
            cases.add(format!("decode {count} events of {size}, {codec:?}"), prepare, decode);
        }
    }
}

fn encode_frames(cases: &mut Cases) {
    for (bytes, size, count) in SIZES {
        for (of, to) in [
            (Codec::Json, Codec::Json),
            (Codec::Json, Codec::Msgpack),
            (Codec::Msgpack, Codec::Msgpack),
            (Codec::Msgpack, Codec::Json),
        ] {
            let event = move || Event::decode(in_codec(of, &envelope(bytes)).into(), ENVELOPE_BYTES_MAX).unwrap();
            let prepare = move || (std::iter::repeat_with(event).take(count).collect(), Vec::with_capacity(2 * bytes));
            let encode = move |(events, frame): &mut (Vec<Event>, Vec<u8>)| {
                for event in events {
                    frame.clear();
                    match to {
                        Codec::Json => event_frame_json(frame, TOPIC, event, None),
                        Codec::Msgpack => event_frame_msgpack(frame, TOPIC, event, None),
                    }
                }
            };
            cases.add(format!("encode {count} events of {size}, {of:?} to {to:?}"), prepare, encode);
        }
    }
}

fn decode_client_frames(cases: &mut Cases) {
    let event = envelope(1_024);
    let publish = format!(r#"{{"op":"publish","id":7,"topic":"{TOPIC}","event":{}}}"#, str::from_utf8(&event).unwrap());
    let topics: Vec<_> = (0..100).map(|number| format!(r#"{{"topic":"channel:{number}"}}"#)).collect();
    let frames = [
        ("ping", r#"{"op":"ping"}"#.to_owned()),
        ("subscribe", SUBSCRIBE.to_owned()),
        ("subscribe of 100 topics", format!(r#"{{"op":"subscribe","id":7,"topics":[{}]}}"#, topics.join(","))),
        ("publish of 1 KB", publish),
    ];
    for (what, frame) in frames {
        for codec in [Codec::Json, Codec::Msgpack] {
            let frame = in_codec(codec, frame.as_bytes());
            let prepare = move || vec![frame.clone(); REPEATED];
            let decode = move |messages: &mut Vec<Vec<u8>>| {
                for message in messages.drain(..) {
                    black_box(ClientFrame::decode(codec, message.into()).unwrap());
                }
            };
            cases.add(format!("decode {REPEATED} client frames, {what}, {codec:?}"), prepare, decode);
        }
    }
}

fn parse_names(cases: &mut Cases) {
    let longest = format!("acme:user:{}", "é".repeat(100));
    for (name, key) in [("short", "acme:channel:orders".to_owned()), ("longest", longest)] {
        let prepare = move || key.clone();
        let parse = |key: &mut String| {
            for _ in 0..REPEATED {
                black_box(TopicKey::parse(black_box(key)).unwrap());
            }
        };
        cases.add(format!("parse {REPEATED} topic keys, {name}"), prepare, parse);
    }
    let prepare = || [&b"@1760000000000-42 "[..], &envelope(128)].concat();
    cases.add(format!("read {REPEATED} positions"), prepare, |payload| {
        for _ in 0..REPEATED {
            black_box(payload::position(black_box(payload)).unwrap());
        }
    });
}

fn in_codec(codec: Codec, json: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Json => json.to_vec(),
        Codec::Msgpack => json_to_msgpack(json).unwrap(),
    }
}
