//! The two encodings of the contract's frames, as far as a client of a load test needs them: what it asks for, how it
//! writes, and how it knows an event without decoding it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::websocket::{BINARY, TEXT, client_frame};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Codec {
    Json,
    Msgpack,
}

/// The frames of the contract that are not events, as far as a load generator looks into them.
#[derive(Deserialize)]
pub(crate) struct ControlFrame<'a> {
    #[serde(borrow)]
    pub(crate) op: Cow<'a, str>,
    /// A word in `error`, a number in `disconnect`.
    #[serde(default)]
    pub(crate) code: Option<serde_json::Value>,
    #[serde(borrow, default)]
    pub(crate) message: Option<Cow<'a, str>>,
}

impl Codec {
    /// The subprotocol that a client asks for.
    pub(crate) fn subprotocol(self) -> &'static str {
        match self {
            Codec::Json => "fanfare.v1.json",
            Codec::Msgpack => "fanfare.v1.msgpack",
        }
    }

    /// The opcode of its WebSocket messages.
    #[inline]
    pub(crate) fn opcode(self) -> u8 {
        match self {
            Codec::Json => TEXT,
            Codec::Msgpack => BINARY,
        }
    }

    /// Whether this frame is an event that says so first. One that says so later is a [`ControlFrame`] with `op` `event`.
    #[inline]
    pub(crate) fn starts_event(self, frame: &[u8]) -> bool {
        match self {
            Codec::Json => frame.starts_with(br#"{"op":"event","#),
            // A map of up to 15 fields, the first of them `op`.
            Codec::Msgpack => {
                frame.first().is_some_and(|map| map & 0xf0 == 0x80) && frame[1..].starts_with(b"\xa2op\xa5event")
            }
        }
    }

    /// Decodes a frame from the server.
    pub(crate) fn read(self, frame: &[u8]) -> Result<ControlFrame<'_>, String> {
        match self {
            Codec::Json => serde_json::from_slice(frame).map_err(|error| format!("a frame that is no JSON: {error}")),
            Codec::Msgpack => {
                rmp_serde::from_slice(frame).map_err(|error| format!("a frame that is no MessagePack: {error}"))
            }
        }
    }

    /// A client's frame, ready for its socket.
    pub(crate) fn client_frame(self, frame: &serde_json::Value) -> Result<Vec<u8>, String> {
        let payload = match self {
            Codec::Json => frame.to_string().into_bytes(),
            Codec::Msgpack => rmp_serde::to_vec_named(frame).map_err(|error| format!("writing a frame: {error}"))?,
        };
        Ok(client_frame(self.opcode(), &payload, rand::random()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_known_by_its_first_bytes_in_both_encodings() {
        let event = json!({"op": "event", "topic": "channel:load", "event": {"type": "load"}});
        let msgpack = |topic: &[u8]| [b"\x83\xa2op\xa5event\xa5topic".as_slice(), topic].concat();
        assert!(Codec::Msgpack.starts_event(&msgpack(b"\xacchannel:load")));
        assert!(Codec::Json.starts_event(br#"{"op":"event","topic":"channel:load"}"#));
        for codec in [Codec::Json, Codec::Msgpack] {
            assert!(!codec.starts_event(b""));
            assert!(!codec.starts_event(br#"{"op":"eventually","topic":"x"}"#));
        }
        assert!(!Codec::Msgpack.starts_event(&rmp_serde::to_vec_named(&json!({"op": "gap"})).unwrap()));
        let other_order = rmp_serde::to_vec_named(&event).unwrap();
        assert_eq!(Codec::Msgpack.read(&other_order).unwrap().op, "event", "wherever `op` stands");
    }

    #[test]
    fn control_frames_are_read_in_both_encodings() {
        let error = json!({"op": "error", "id": 1, "code": "forbidden", "message": "no", "later": {"a": [1]}});
        for (codec, bytes) in
            [(Codec::Json, error.to_string().into_bytes()), (Codec::Msgpack, rmp_serde::to_vec_named(&error).unwrap())]
        {
            let frame = codec.read(&bytes).unwrap();
            assert_eq!(
                (frame.op.as_ref(), frame.code, frame.message.as_deref()),
                ("error", Some(json!("forbidden")), Some("no"))
            );
            assert!(codec.read(b"\xc1").is_err());
        }
    }
}
