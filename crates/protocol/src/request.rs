//! A client's request to a backend, checked: what it is called, what it asks for, and the id under which its answer is
//! known. Deliberately without the stream it travels on, which the backplane owns.

use std::fmt;

use bytes::Bytes;

use crate::codec::Codec;
use crate::envelope::ENVELOPE_DEPTH_MAX;
use crate::json::is_deeper_than;
use crate::topic::is_forbidden_in_topic;
use crate::transcode;

/// The longest method, in bytes of UTF-8.
pub const METHOD_BYTES_MAX: usize = 200;

/// What a request is for: 1 to [`METHOD_BYTES_MAX`] bytes of the characters that a channel's name may have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Method(Box<str>);

/// 128 random bits, on the wire 32 lower-case hexadecimal digits. Who doesn't know them can't answer the request.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u128);

/// Why a text is no method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// It is empty.
    #[error("the method is empty")]
    Empty,
    /// More than [`METHOD_BYTES_MAX`] bytes.
    #[error("the method has {bytes} bytes; at most {METHOD_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A space, a control character or one of `{ } * ? [ ]`.
    #[error("the character {character:?} is not allowed in a method")]
    ForbiddenCharacter {
        /// The first such character.
        character: char,
    },
}

/// Why a value can't be a request's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// Nested deeper than an envelope may be.
    #[error("`data` is nested deeper than {ENVELOPE_DEPTH_MAX} levels")]
    TooDeep,
    /// `MessagePack` that has no counterpart in JSON.
    #[error("`data` is no value that JSON has: a key must be a string, an integer, a boolean or nil")]
    NotJson,
}

impl Method {
    /// Takes a method's name.
    pub fn parse(text: &str) -> Result<Method, MethodError> {
        if text.is_empty() {
            return Err(MethodError::Empty);
        }
        if text.len() > METHOD_BYTES_MAX {
            return Err(MethodError::TooLong { bytes: text.len() });
        }
        match text.chars().find(|&character| is_forbidden_in_topic(character)) {
            Some(character) => Err(MethodError::ForbiddenCharacter { character }),
            None => Ok(Method(text.into())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RequestId {
    /// Takes what [`RequestId`] prints as, and nothing else.
    pub fn parse(text: &str) -> Option<RequestId> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_id = text.len() == 32 && text.bytes().all(is_digit);
        u128::from_str_radix(text, 16).ok().filter(|_| is_id).map(RequestId)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A request's data as a backend gets it: JSON. What a frame had in JSON stays byte for byte as it was; what it didn't have
/// is null.
pub fn data_json(codec: Codec, data: Option<Bytes>) -> Result<Bytes, DataError> {
    let Some(data) = data else { return Ok(Bytes::from_static(b"null")) };
    match codec {
        Codec::Json if is_deeper_than(ENVELOPE_DEPTH_MAX, &data) => Err(DataError::TooDeep),
        Codec::Json => Ok(data),
        Codec::Msgpack => transcode::msgpack_to_json(&data).map(Bytes::from).map_err(|error| match error {
            crate::EnvelopeError::TooDeep => DataError::TooDeep,
            _ => DataError::NotJson,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_the_characters_of_a_channel() {
        for text in ["dashboard.refresh", "a", "größe:7/x", &"m".repeat(200)] {
            assert_eq!(Method::parse(text).map(|method| method.as_str().to_owned()), Ok(text.to_owned()));
        }
        assert_eq!(Method::parse(""), Err(MethodError::Empty));
        assert_eq!(Method::parse(&"m".repeat(201)), Err(MethodError::TooLong { bytes: 201 }));
        for character in [' ', '\n', '\0', '\u{7f}', '\u{9f}', '{', '}', '*', '?', '[', ']'] {
            assert_eq!(Method::parse(&format!("a{character}")), Err(MethodError::ForbiddenCharacter { character }));
        }
    }

    #[test]
    fn an_id_is_read_only_as_it_is_written() {
        for number in [0, 1, u128::MAX] {
            assert_eq!(RequestId::parse(&RequestId(number).to_string()), Some(RequestId(number)));
        }
        let zeros = "0".repeat(31);
        for text in ["", "1", &format!("{zeros}A"), &format!("+{zeros}"), &format!("{zeros}g"), &"0".repeat(33)] {
            assert_eq!(RequestId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn data_stays_as_it_was_or_becomes_json() {
        let json = |text: &'static str| data_json(Codec::Json, Some(Bytes::from_static(text.as_bytes())));
        assert_eq!(data_json(Codec::Json, None), Ok(Bytes::from_static(b"null")));
        assert_eq!(json(r#"{"b": 1.10,"a":1e2}"#), Ok(Bytes::from_static(br#"{"b": 1.10,"a":1e2}"#)));
        let deep = |levels: usize| Some(Bytes::from("[".repeat(levels) + &"]".repeat(levels)));
        assert!(data_json(Codec::Json, deep(64)).is_ok());
        assert_eq!(data_json(Codec::Json, deep(65)), Err(DataError::TooDeep));
        let msgpack = |bytes: &[u8]| data_json(Codec::Msgpack, Some(Bytes::copy_from_slice(bytes)));
        assert_eq!(msgpack(b"\x81\xa1a\x93\x01\xc0\xc4\x01\x00"), Ok(Bytes::from_static(br#"{"a":[1,null,"AA=="]}"#)));
        assert_eq!(msgpack(&[[0x91; 64].as_slice(), &[1]].concat()).map(|_| ()), Ok(()));
        assert_eq!(msgpack(&[[0x91; 65].as_slice(), &[1]].concat()), Err(DataError::TooDeep));
        assert_eq!(msgpack(b"\x81\x90\x01"), Err(DataError::NotJson));
    }
}
