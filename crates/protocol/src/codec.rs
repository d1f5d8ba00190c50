//! The two encodings of the contract. Deliberately only their name: what is encoded lives with its own type.

/// How a frame or an envelope is encoded. Both encodings carry the same maps with the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// JSON text (RFC 8259) in UTF-8; text frames on a WebSocket.
    Json,
    /// `MessagePack` (<https://github.com/msgpack/msgpack/blob/master/spec.md>); binary frames on a WebSocket.
    Msgpack,
}
