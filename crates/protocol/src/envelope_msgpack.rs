//! Checks an envelope in `MessagePack`, once: everything that its translation to JSON relies on. Deliberately no tree.

use crate::envelope::{ENVELOPE_DEPTH_MAX, EnvelopeError, Field, Fields, Kind};
use crate::msgpack::{Malformed, Reader, Token};

/// Checks the bytes of a whole envelope, that begins with the byte of a map.
pub(crate) fn check(envelope: &[u8], mut fields: Fields) -> Result<Fields, EnvelopeError> {
    let mut reader = Reader::new(envelope);
    let Token::Map(pairs) = reader.token()? else {
        return Err(EnvelopeError::NotAnEnvelope);
    };
    for _ in 0..pairs {
        let field = match reader.token()? {
            Token::Str(name) => Field::named(name),
            other => other.key_text().map(|_| Field::Other).ok_or(EnvelopeError::InvalidMsgpack)?,
        };
        fields.meet(field)?;
        match field.kind() {
            Kind::Anything => check_value(&mut reader, 2)?,
            Kind::Integer => match reader.token()? {
                Token::Nil | Token::Int(_) => {}
                Token::Uint(value) => fields.integer(field, Some(value)),
                _ => return Err(field.wrong_type()),
            },
            Kind::Text => match reader.token()? {
                Token::Nil => fields.text(field, None)?,
                Token::Str(text) => fields.text(field, Some(text))?,
                _ => return Err(field.wrong_type()),
            },
        }
    }
    if reader.is_at_end() { Ok(fields) } else { Err(EnvelopeError::InvalidMsgpack) }
}

/// Checks one value; `level` is the level a map or an array in its place has. An extension counts as a level too,
/// since it becomes an object in JSON.
pub(crate) fn check_value(reader: &mut Reader<'_>, level: usize) -> Result<(), EnvelopeError> {
    let token = reader.token()?;
    let nests = matches!(token, Token::Array(_) | Token::Map(_) | Token::Ext(..));
    if nests && level > ENVELOPE_DEPTH_MAX {
        return Err(EnvelopeError::TooDeep);
    }
    match token {
        Token::Array(items) => {
            for _ in 0..items {
                check_value(reader, level + 1)?;
            }
        }
        Token::Map(pairs) => {
            for _ in 0..pairs {
                reader.token()?.key_text().ok_or(EnvelopeError::InvalidMsgpack)?;
                check_value(reader, level + 1)?;
            }
        }
        _ => {}
    }
    Ok(())
}

impl From<Malformed> for EnvelopeError {
    fn from(malformed: Malformed) -> EnvelopeError {
        match malformed {
            Malformed::Utf8 => EnvelopeError::InvalidUtf8,
            Malformed::Structure => EnvelopeError::InvalidMsgpack,
        }
    }
}
