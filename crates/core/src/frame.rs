//! Server frames of RFC 6455: a header before bytes that are already encoded, and the way back for a transport that has
//! no use for the header. Deliberately nothing about clients' frames.

use bytes::Bytes;
use fanfare_protocol::Codec;

/// The longest header of a server's frame: two bytes and a 64-bit length (RFC 6455 §5.2); servers don't mask.
const HEADER_BYTES_MAX: usize = 10;

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PONG: u8 = 0xa;

/// Appends one whole data frame: text for JSON, binary for `MessagePack`.
pub fn put_message(out: &mut Vec<u8>, codec: Codec, payload: &[u8]) {
    let opcode = match codec {
        Codec::Json => TEXT,
        Codec::Msgpack => BINARY,
    };
    put(out, opcode, payload);
}

/// One whole data frame.
pub fn message(codec: Codec, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + HEADER_BYTES_MAX);
    put_message(&mut out, codec, payload);
    out.into()
}

/// A close frame (RFC 6455 §5.5.1). The reason is cut at a character boundary to the 123 bytes that fit.
pub fn close(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = Vec::with_capacity(2 + end);
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    let mut out = Vec::with_capacity(payload.len() + 2);
    put(&mut out, CLOSE, &payload);
    out.into()
}

/// A close frame without a code, the answer to one that has none.
pub fn close_without_code() -> Bytes {
    Bytes::from_static(&[FIN | CLOSE, 0])
}

/// The answer to a protocol-level ping (RFC 6455 §5.5.3); `payload` is the ping's, at most 125 bytes.
pub fn pong(payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 2);
    put(&mut out, PONG, payload);
    out.into()
}

/// One of our own frames, taken apart again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// Whether it is a data frame: the others are a close or a pong.
    pub is_data: bool,
    /// What stands behind the header.
    pub payload: &'a [u8],
    /// How many bytes it has, header included.
    pub len: usize,
}

/// The first of some of our own frames; none when it isn't whole.
pub fn parse(bytes: &[u8]) -> Option<Parsed<'_>> {
    let (&[first, short], rest) = bytes.split_first_chunk()?;
    let (payload_len, rest) = match short {
        126 => rest.split_first_chunk().map(|(len, rest)| (usize::from(u16::from_be_bytes(*len)), rest))?,
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::try_from(u64::from_be_bytes(*len)).ok()?, rest)
        }
        len => (usize::from(len), rest),
    };
    let payload = rest.get(..payload_len)?;
    let len = bytes.len() - rest.len() + payload_len;
    Some(Parsed { is_data: matches!(first & 0xf, TEXT | BINARY), payload, len })
}

#[expect(clippy::cast_possible_truncation, reason = "each cast is guarded by the match on the length")]
fn put(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(FIN | opcode);
    match payload.len() {
        len @ 0..=125 => out.push(len as u8),
        len @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form_that_holds_them() {
        for (len, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            assert_eq!(message(Codec::Json, &vec![b'x'; len]).len(), header + len, "{len}");
        }
        assert_eq!(message(Codec::Msgpack, b"ab")[..], [0x82, 2, b'a', b'b']);
    }

    #[test]
    fn what_was_framed_is_taken_apart_again() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; len];
            let mut frames = message(Codec::Json, &payload).to_vec();
            let end = frames.len();
            frames.extend_from_slice(&close(1000, "bye"));
            assert_eq!(parse(&frames), Some(Parsed { is_data: true, payload: &payload, len: end }));
            let close = parse(&frames[end..]).map(|frame| (frame.is_data, frame.payload.len(), end + frame.len));
            assert_eq!(close, Some((false, 5, frames.len())));
            assert_eq!(parse(&frames[..end - 1]), None);
        }
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        let frame = close(1013, &"é".repeat(100));
        assert_eq!(frame.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }
}
