//! What checking an event and framing it costs, in nanoseconds: `cargo run --release -p fanfare-protocol --example decode_cost`.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use fanfare_protocol::{
    ClientFrame, Codec, Event, Traceparent, event_frame_json, event_frame_msgpack, json_to_msgpack,
};

const ROUNDS: u32 = 20;
const CALLS_PER_ROUND: u32 = 20_000;
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;

fn main() {
    let plain = padded(r#"{"type":"order.updated","data":{"id":7,"total":1.10,"note":"@"}}"#, 128);
    let full = padded(
        r#"{"type":"order.updated","id":"6f1","at":1752000000000,"key":"order:7","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","data":{"note":"@"}}"#,
        256,
    );
    let large = padded(r#"{"type":"doc.changed","data":[{"line":1,"text":"@"},[1,2,3]]}"#, 4096);
    for (name, json) in [("128 bytes", plain), ("256 bytes, every field", full), ("4 KiB", large)] {
        let durable = format!("@1752000000000000-42 {json}").into_bytes();
        let msgpack = json_to_msgpack(json.as_bytes()).unwrap_or_default();
        println!("{name}");
        // As the driver hands a payload over: bytes of its own. The copy is measured alone to be taken off.
        measure("copy of the payload", || Bytes::from(json.as_bytes().to_vec()));
        measure("decode, JSON, with the copy", || decode(Bytes::from(json.as_bytes().to_vec())));
        measure("decode, durable JSON, with the copy", || decode(Bytes::from(durable.clone())));
        measure("decode, MessagePack, with the copy", || decode(Bytes::from(msgpack.clone())));
        let from_json = decode(Bytes::from(json.clone().into_bytes()));
        let from_msgpack = decode(Bytes::from(msgpack.clone()));
        measure("frame, JSON to JSON", || frame(event_frame_json, from_json.as_ref()));
        measure("frame, JSON to MessagePack", || frame(event_frame_msgpack, from_json.as_ref()));
        measure("frame, MessagePack to JSON", || frame(event_frame_json, from_msgpack.as_ref()));
    }
    println!("a client's frame");
    let subscribe =
        Bytes::from_static(br#"{"op":"subscribe","id":1,"topic":"channel:orders","since":"1752000000000000-42"}"#);
    measure("decode, subscribe, JSON", || ClientFrame::decode(Codec::Json, subscribe.clone()).ok());
}

fn decode(payload: Bytes) -> Option<Event> {
    Event::decode(payload, ENVELOPE_BYTES_MAX).ok()
}

fn frame(append: fn(&mut Vec<u8>, &str, &Event, Option<Traceparent>), event: Option<&Event>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(event) = event {
        append(&mut out, "channel:orders", event, None);
    }
    out
}

/// Fills the place of `@` so that the whole has so many bytes.
fn padded(json: &str, bytes: usize) -> String {
    json.replace('@', &"x".repeat((bytes + 1).saturating_sub(json.len())))
}

/// Prints the best round: the others were disturbed.
fn measure<T>(what: &str, mut call: impl FnMut() -> T) {
    let round = |_| {
        let start = Instant::now();
        for _ in 0..CALLS_PER_ROUND {
            black_box(call());
        }
        start.elapsed() / CALLS_PER_ROUND
    };
    let best = (0..ROUNDS).map(round).min().unwrap_or_default();
    println!("  {what:<40} {:>6} ns", best.as_nanos());
}
