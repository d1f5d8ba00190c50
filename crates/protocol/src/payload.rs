//! The outer shape of a message on a Redis channel: where it stands, how it is encoded, and where its envelope begins.
//! Deliberately blind to what the envelope says; [`crate::event`] checks that.

use crate::codec::Codec;
use crate::envelope::EnvelopeError;
use crate::json;
use crate::position::Position;

/// The longest `@<position>[ name=value]… ` before an envelope, in bytes.
pub const HEADER_BYTES_MAX: usize = 1024;

/// A message, split. Its forms:
///
/// | first byte | |
/// |---|---|
/// | `@` | durable: `@<position>[ name=value]… <envelope>`; names that are not known are skipped |
/// | `{` | ephemeral, JSON |
/// | 0x80–0x8f, 0xde, 0xdf | ephemeral, `MessagePack`: the bytes that begin a map |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Where a durable event stands; none for an ephemeral one.
    pub position: Option<Position>,
    /// How the envelope is encoded, by its first byte.
    pub codec: Codec,
    /// The rest, without white space around JSON.
    pub envelope: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Splits what stands on a channel.
    pub fn split(payload: &'a [u8]) -> Result<Payload<'a>, EnvelopeError> {
        let (position, envelope) = match payload {
            [b'@', header @ ..] => split_header(header).map(|(position, envelope)| (Some(position), envelope))?,
            _ => (None, payload),
        };
        if envelope.first().is_some_and(|&byte| begins_msgpack_map(byte)) {
            return Ok(Payload { position, codec: Codec::Msgpack, envelope });
        }
        let envelope = json::trim(envelope);
        match envelope.first() {
            None => Err(EnvelopeError::Empty),
            Some(b'{') => Ok(Payload { position, codec: Codec::Json, envelope }),
            Some(_) => Err(EnvelopeError::NotAnEnvelope),
        }
    }
}

/// Where a durable event stands, whether it is valid or not; none for anything else.
pub fn position(payload: &[u8]) -> Option<Position> {
    split_header(payload.strip_prefix(b"@")?).ok().map(|(position, _)| position)
}

/// Whether `MessagePack` begins a map with this byte.
pub(crate) fn begins_msgpack_map(byte: u8) -> bool {
    matches!(byte, 0x80..=0x8f | 0xde | 0xdf)
}

/// Splits `<position>[ name=value]… <envelope>`, one space between its words.
fn split_header(header: &[u8]) -> Result<(Position, &[u8]), EnvelopeError> {
    let (word, mut rest) = split_word(header)?;
    let position: Position = word.parse().map_err(|_| EnvelopeError::InvalidPosition)?;
    // The first event of an epoch has 1; 0 is where the epoch begins.
    if position.seq == 0 {
        return Err(EnvelopeError::InvalidPosition);
    }
    // A name begins with none of the bytes that begin an envelope.
    while rest.first().is_some_and(|&byte| byte != b'{' && !begins_msgpack_map(byte)) {
        if header.len() - rest.len() > HEADER_BYTES_MAX {
            return Err(EnvelopeError::InvalidPosition);
        }
        let (word, after) = split_word(rest)?;
        match word.split_once('=') {
            Some((name, _)) if !name.is_empty() => rest = after,
            _ => return Err(EnvelopeError::InvalidPosition),
        }
    }
    Ok((position, rest))
}

fn split_word(bytes: &[u8]) -> Result<(&str, &[u8]), EnvelopeError> {
    let within = &bytes[..bytes.len().min(HEADER_BYTES_MAX)];
    let end = within.iter().position(|&byte| byte == b' ').ok_or(EnvelopeError::InvalidPosition)?;
    let word = str::from_utf8(&bytes[..end]).map_err(|_| EnvelopeError::InvalidPosition)?;
    Ok((word, &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const AT: Option<Position> = Some(Position { epoch: 17, seq: 4 });

    fn split(payload: &[u8]) -> Result<(Option<Position>, Codec, &[u8]), EnvelopeError> {
        Payload::split(payload).map(|split| (split.position, split.codec, split.envelope))
    }

    #[test]
    fn the_first_byte_tells_what_it_is() {
        assert_eq!(split(b"{}"), Ok((None, Codec::Json, &b"{}"[..])));
        for first in (0x80..=0x8f).chain([0xde, 0xdf]) {
            assert_eq!(split(&[first, 1, 2]), Ok((None, Codec::Msgpack, &[first, 1, 2][..])));
        }
        for first in (0..=255).filter(|&first| first != b'@' && first != b'{' && !begins_msgpack_map(first)) {
            let expected = match first {
                b' ' | b'\t' | b'\n' | b'\r' => EnvelopeError::Empty,
                _ => EnvelopeError::NotAnEnvelope,
            };
            assert_eq!(split(&[first]), Err(expected), "{first:#x}");
        }
        assert_eq!(split(b""), Err(EnvelopeError::Empty));
    }

    #[test]
    fn a_durable_event_has_its_position_before_it() {
        assert_eq!(split(b"@17-4 {}"), Ok((AT, Codec::Json, &b"{}"[..])));
        assert_eq!(split(b"@17-4 \x80"), Ok((AT, Codec::Msgpack, &b"\x80"[..])));
    }

    #[test]
    fn names_that_are_not_known_are_skipped() {
        assert_eq!(split(b"@17-4 trace=1 x= y=a=b {}"), Ok((AT, Codec::Json, &b"{}"[..])));
        assert_eq!(split(b"@17-4 a={ \x80"), Ok((AT, Codec::Msgpack, &b"\x80"[..])));
    }

    #[test]
    fn white_space_around_json_is_not_part_of_it() {
        assert_eq!(split(b" \r\n\t{ }\n"), Ok((None, Codec::Json, &b"{ }"[..])));
        assert_eq!(split(b"@17-4 {}\n"), Ok((AT, Codec::Json, &b"{}"[..])));
        // In MessagePack a byte that looks like white space is data.
        assert_eq!(split(b"\x81\xa1a\n"), Ok((None, Codec::Msgpack, &b"\x81\xa1a\n"[..])));
        assert_eq!(split(b"\n\x80"), Err(EnvelopeError::NotAnEnvelope));
    }

    #[test]
    fn a_wrong_header_is_no_position() {
        for payload in [
            "@",
            "@ {}",
            "@17-4",
            "@17-4{}",
            "@17 {}",
            "@0-0 {}",
            "@17-0 {}",
            "@+17-4 {}",
            "@17-04 {}",
            "@17-4  {}",
            "@17-4 x {}",
            "@17-4 =x {}",
            "@17-4 x=1",
            "@17-4 x=1{}",
            "@{}",
            "@-\u{e9} {}",
        ] {
            assert_eq!(split(payload.as_bytes()), Err(EnvelopeError::InvalidPosition), "{payload:?}");
        }
        assert_eq!(split(b"@17-4 "), Err(EnvelopeError::Empty));
        let endless = format!("@17-4 {}{{}}", "x=1 ".repeat(300));
        assert_eq!(split(endless.as_bytes()), Err(EnvelopeError::InvalidPosition));
    }
}
