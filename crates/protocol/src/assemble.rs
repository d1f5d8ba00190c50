//! Puts values that are encoded already into a frame or a list, so that a publisher's bytes stay as they are. Deliberately
//! for our own frames alone: what is put together is not checked.

use rmp::Marker;

use crate::codec::Codec;
use crate::{json, msgpack};

/// Adds a field with the value `value` to an encoded map of fewer than 15 fields, one at least.
pub fn add_field(codec: Codec, map: &mut Vec<u8>, name: &str, value: &[u8]) {
    match codec {
        Codec::Json => {
            map.pop();
            map.push(b',');
            json::push(map, name);
            map.push(b':');
            map.extend_from_slice(value);
            map.push(b'}');
        }
        Codec::Msgpack => {
            debug_assert!((0x81..0x8f).contains(&map[0]), "a short map that is not empty");
            map[0] += 1;
            msgpack::push(map, name);
            map.extend_from_slice(value);
        }
    }
}

/// An encoded list of encoded values.
pub fn list(codec: Codec, values: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut out = vec![b'['];
    let mut count = 0_u32;
    for value in values {
        if codec == Codec::Json && count > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&value);
        count += 1;
    }
    match codec {
        Codec::Json => out.push(b']'),
        Codec::Msgpack => msgpack::set_length(&mut out, 0, count, Marker::FixArray(0)),
    }
    out
}
