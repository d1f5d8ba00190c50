//! Whatever stands on a Redis channel: what is taken is carried unchanged, frames as sound JSON, and translates to an
//! envelope that is taken again.
#![no_main]

use bytes::Bytes;
use fanfare_protocol::{Codec, Event, Payload, event_frame_json, event_frame_msgpack, json_to_msgpack};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::value::RawValue;

const ENVELOPE_BYTES_MAX: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame<'a> {
    op: &'a str,
    topic: &'a str,
    position: Option<String>,
    #[serde(borrow)]
    event: &'a RawValue,
}

fuzz_target!(|payload: &[u8]| {
    let decoded = Event::decode(Bytes::copy_from_slice(payload), ENVELOPE_BYTES_MAX);
    match decoded {
        Ok(event) => check(payload, &event),
        Err(error) => assert!(!error.reason().is_empty() && !error.to_string().is_empty()),
    }
});

fn check(payload: &[u8], event: &Event) {
    let split = Payload::split(payload).expect("an event has a payload");
    assert_eq!((split.position, split.codec, split.envelope), (event.position, event.codec, &event.envelope[..]));
    assert!(event.envelope.len() <= ENVELOPE_BYTES_MAX);
    assert!((1..=200).contains(&event.event_type.len()));

    let mut frame = Vec::new();
    event_frame_json(&mut frame, "channel:orders", event, None);
    let frame: Frame<'_> = serde_json::from_slice(&frame).expect("a frame is JSON");
    assert_eq!((frame.op, frame.topic), ("event", "channel:orders"));
    assert_eq!(frame.position, event.position.map(|position| position.to_string()));
    assert_eq!(frame.event.get().as_bytes(), event.envelope_json());

    let mut frame = Vec::new();
    event_frame_msgpack(&mut frame, "channel:orders", event, None);
    let mut rest = &frame[..];
    let value = rmpv::decode::read_value(&mut rest).expect("a frame is MessagePack");
    assert!(rest.is_empty() && value["event"].is_map() && value["op"].as_str() == Some("event"));
    assert!(frame.ends_with(&event.envelope_msgpack()));

    let json = same_event(event, Codec::Json, event.envelope_json());
    let msgpack = same_event(event, Codec::Msgpack, event.envelope_msgpack());
    // One way there, all later ways give the same.
    assert_eq!(json_to_msgpack(&json.envelope).expect("JSON translates"), json.envelope_msgpack());
    assert_eq!(same_event(event, Codec::Json, msgpack.envelope_json()).envelope_msgpack(), json.envelope_msgpack());
}

/// The translation is an envelope itself, and says the same.
fn same_event(event: &Event, codec: Codec, envelope: Bytes) -> Event {
    let translated = Event::from_envelope(codec, envelope, usize::MAX).expect("a translation keeps the rules");
    assert_eq!(translated.event_type, event.event_type);
    assert_eq!(translated.key, event.key);
    assert_eq!(translated.except, event.except);
    assert_eq!(translated.traceparent, event.traceparent);
    translated
}
