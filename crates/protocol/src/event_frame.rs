//! The frame an event travels in: `{"op":"event","topic":…,"position"?:…,"event":<envelope>,"traceparent"?:…}`. It is put together by
//! appending bytes, so the publisher's own bytes reach the client. Deliberately without the WebSocket header.

use crate::event::Event;
use crate::traceparent::Traceparent;
use crate::{json, msgpack};

/// More than everything in a frame beside its topic and its envelope, in bytes.
const AROUND_BYTES_MAX: usize = 208;

/// Appends the frame in JSON. `topic` is the topic's text without the tenant, `traceparent` the node's own span.
pub fn event_frame_json(out: &mut Vec<u8>, topic: &str, event: &Event, traceparent: Option<Traceparent>) {
    let envelope = event.envelope_json();
    out.reserve(AROUND_BYTES_MAX + topic.len() + envelope.len());
    out.extend_from_slice(br#"{"op":"event","topic":"#);
    json::push(out, topic);
    if let Some(position) = event.position {
        out.extend_from_slice(br#","position":"#);
        json::push(out, &position);
    }
    out.extend_from_slice(br#","event":"#);
    out.extend_from_slice(&envelope);
    if let Some(traceparent) = traceparent {
        out.extend_from_slice(br#","traceparent":"#);
        json::push(out, &traceparent.to_string());
    }
    out.push(b'}');
}

/// Appends the frame in `MessagePack`. `topic` is the topic's text without the tenant, `traceparent` the node's own span.
pub fn event_frame_msgpack(out: &mut Vec<u8>, topic: &str, event: &Event, traceparent: Option<Traceparent>) {
    let envelope = event.envelope_msgpack();
    out.reserve(AROUND_BYTES_MAX + topic.len() + envelope.len());
    msgpack::push_map(out, 3 + u32::from(event.position.is_some()) + u32::from(traceparent.is_some()));
    msgpack::push(out, "op");
    msgpack::push(out, "event");
    msgpack::push(out, "topic");
    msgpack::push(out, topic);
    if let Some(position) = event.position {
        msgpack::push(out, "position");
        msgpack::push(out, &position);
    }
    msgpack::push(out, "event");
    out.extend_from_slice(&envelope);
    if let Some(traceparent) = traceparent {
        msgpack::push(out, "traceparent");
        msgpack::push(out, &traceparent.to_string());
    }
}
