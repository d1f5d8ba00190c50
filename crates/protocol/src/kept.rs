//! A durable event after it was delivered: what a client that missed it gets. Deliberately without what only a live
//! delivery needs, such as whom to leave out.

use bytes::Bytes;

use crate::codec::Codec;
use crate::event::Event;
use crate::position::Position;
use crate::{json, msgpack, transcode};

/// What `{"position":…,"event":…}` takes beside the envelope, at most, in bytes.
const AROUND_BYTES_MAX: usize = 80;

/// A checked event and its place in the history of its topic. A clone shares the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where it stands.
    pub position: Position,
    codec: Codec,
    envelope: Bytes,
}

impl Kept {
    /// None for an ephemeral event, which nobody keeps.
    pub fn new(event: &Event) -> Option<Kept> {
        event.position.map(|position| Kept { position, codec: event.codec, envelope: event.envelope.clone() })
    }

    /// What it takes in memory, and in a frame of its own encoding at most, in bytes.
    pub fn bytes(&self) -> usize {
        self.envelope.len() + AROUND_BYTES_MAX
    }

    /// What it takes in a frame at most, in bytes.
    pub fn frame_bytes(&self, codec: Codec) -> usize {
        self.envelope(codec).len() + AROUND_BYTES_MAX
    }

    /// Whether it is this envelope, byte for byte.
    pub fn is(&self, event: &Event) -> bool {
        self.codec == event.codec && self.envelope == event.envelope
    }

    /// `{"position":…,"event":…}`, as it stands in the `events` of a frame.
    pub fn encode(&self, codec: Codec) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes());
        match codec {
            Codec::Json => {
                out.extend_from_slice(br#"{"position":"#);
                json::push(&mut out, &self.position);
                out.extend_from_slice(br#","event":"#);
                out.extend_from_slice(&self.envelope(codec));
                out.push(b'}');
            }
            Codec::Msgpack => {
                msgpack::push_map(&mut out, 2);
                msgpack::push(&mut out, "position");
                msgpack::push(&mut out, &self.position);
                msgpack::push(&mut out, "event");
                out.extend_from_slice(&self.envelope(codec));
            }
        }
        out
    }

    fn envelope(&self, codec: Codec) -> Bytes {
        match (codec, self.codec) {
            (Codec::Json, Codec::Msgpack) => transcode::checked_msgpack_to_json(&self.envelope).into(),
            (Codec::Msgpack, Codec::Json) => transcode::checked_json_to_msgpack(&self.envelope).into(),
            (Codec::Json, Codec::Json) | (Codec::Msgpack, Codec::Msgpack) => self.envelope.clone(),
        }
    }
}
