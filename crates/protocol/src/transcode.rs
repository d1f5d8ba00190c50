//! JSON to `MessagePack` and back. Key order and duplicate keys survive both ways, whatever is between them.
//!
//! | JSON | becomes |
//! |---|---|
//! | integer that fits i64 or u64 | integer |
//! | `-0`, any other number | double; nil when no finite double is near |
//! | half a surrogate pair (`"\ud800"`) | U+FFFD |
//!
//! | `MessagePack` | becomes |
//! |---|---|
//! | float, double | number with the same value (a float's is that of the double it widens to); null when not finite |
//! | binary | string: base64 with padding (RFC 4648 section 4) |
//! | timestamp (extension -1) of the years 0 to 9999 | string: RFC 3339 in UTC, with 0, 3, 6 or 9 digits of a second |
//! | other extension | `{"ext":<type>,"data":<base64>}` |
//! | integer, boolean or nil as a key | its JSON text as a string |
//! | other keys but strings | nothing: the `MessagePack` is not valid |
//!
//! Deliberately no rules for the way home: a string that was binary stays a string.

mod json_reader;
mod json_writer;

use serde::de::IgnoredAny;

use crate::envelope::{ENVELOPE_DEPTH_MAX, EnvelopeError};
use crate::envelope_msgpack::check_value;
use crate::json::is_deeper_than;
use crate::msgpack::Reader;

/// Translates one JSON value of any kind, nested in no more than 64 levels.
pub fn json_to_msgpack(json: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let text = str::from_utf8(json).map_err(|_| EnvelopeError::InvalidUtf8)?;
    if is_deeper_than(ENVELOPE_DEPTH_MAX, json) {
        return Err(EnvelopeError::TooDeep);
    }
    let syntax = serde_json::from_str::<IgnoredAny>(text);
    syntax.map_err(|error| EnvelopeError::InvalidJson { message: error.to_string() })?;
    Ok(checked_json_to_msgpack(json))
}

/// Translates one `MessagePack` value of any kind, nested in no more than 64 levels. An extension counts as a level.
pub fn msgpack_to_json(msgpack: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let mut reader = Reader::new(msgpack);
    check_value(&mut reader, 1)?;
    if reader.is_at_end() { Ok(checked_msgpack_to_json(msgpack)) } else { Err(EnvelopeError::InvalidMsgpack) }
}

/// Translates what has been checked. Of other bytes the answer may be nil, but never a panic.
pub(crate) fn checked_json_to_msgpack(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let translated = str::from_utf8(json).ok().and_then(|text| json_reader::translate(text, &mut out));
    translated.map_or_else(|| vec![0xc0], |()| out)
}

/// Translates what has been checked. Of other bytes the answer may be null, but never a panic.
pub(crate) fn checked_msgpack_to_json(msgpack: &[u8]) -> Vec<u8> {
    // Brackets, commas and quotes take the place of bytes that tell lengths; longer numbers are rare.
    let mut out = Vec::with_capacity(msgpack.len() + msgpack.len() / 2);
    let translated = json_writer::translate(msgpack, &mut out);
    translated.map_or_else(|| b"null".to_vec(), |()| out)
}
