//! One value within a message in either encoding, read only when somebody asks what it is. Deliberately for small
//! messages that come rarely: an event is checked by a walk of its own.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::codec::Codec;
use crate::msgpack::{Reader, Token};

/// The bytes of one value, known to be sound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    codec: Codec,
    bytes: &'a [u8],
}

/// The fields of a map, in their order, with duplicates.
pub(crate) type Entries<'a> = Vec<(Cow<'a, str>, Raw<'a>)>;

impl<'a> Raw<'a> {
    /// Takes a whole message that is one map. Nothing in it is too deep, since nothing here recurses.
    pub(crate) fn parse_map(codec: Codec, message: &'a [u8]) -> Option<Entries<'a>> {
        match codec {
            Codec::Json => json_entries(message),
            Codec::Msgpack => {
                let mut reader = Reader::new(message);
                msgpack_entries(&mut reader).filter(|_| reader.is_at_end())
            }
        }
    }

    /// The value as it was sent.
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn is_null(self) -> bool {
        match self.codec {
            Codec::Json => self.bytes == b"null",
            Codec::Msgpack => self.token() == Some(Token::Nil),
        }
    }

    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        match (self.codec, self.token()) {
            (Codec::Json, _) => serde_json::from_slice::<Text<'a>>(self.bytes).ok().map(|text| text.0),
            (Codec::Msgpack, Some(Token::Str(text))) => Some(Cow::Borrowed(text)),
            (Codec::Msgpack, _) => None,
        }
    }

    pub(crate) fn integer(self) -> Option<i64> {
        match (self.codec, self.token()) {
            (Codec::Json, _) => serde_json::from_slice(self.bytes).ok(),
            (Codec::Msgpack, Some(Token::Int(number))) => Some(number),
            (Codec::Msgpack, Some(Token::Uint(number))) => number.try_into().ok(),
            (Codec::Msgpack, _) => None,
        }
    }

    pub(crate) fn boolean(self) -> Option<bool> {
        match (self.codec, self.token()) {
            (Codec::Json, _) => serde_json::from_slice(self.bytes).ok(),
            (Codec::Msgpack, Some(Token::Bool(value))) => Some(value),
            (Codec::Msgpack, _) => None,
        }
    }

    pub(crate) fn entries(self) -> Option<Entries<'a>> {
        Raw::parse_map(self.codec, self.bytes)
    }

    pub(crate) fn items(self) -> Option<Vec<Raw<'a>>> {
        match self.codec {
            Codec::Json => {
                let items: Vec<&RawValue> = serde_json::from_slice(self.bytes).ok()?;
                Some(items.into_iter().map(Raw::from).collect())
            }
            Codec::Msgpack => {
                let mut reader = Reader::new(self.bytes);
                let Token::Array(items) = reader.token().ok()? else { return None };
                (0..items).map(|_| msgpack_value(&mut reader)).collect()
            }
        }
    }

    /// The first token in `MessagePack`.
    fn token(self) -> Option<Token<'a>> {
        Reader::new(self.bytes).token().ok()
    }
}

impl<'a> From<&'a RawValue> for Raw<'a> {
    fn from(value: &'a RawValue) -> Raw<'a> {
        Raw { codec: Codec::Json, bytes: value.get().as_bytes() }
    }
}

fn json_entries(message: &[u8]) -> Option<Entries<'_>> {
    let text = str::from_utf8(message).ok()?;
    serde_json::from_str::<JsonEntries<'_>>(text).ok().map(|entries| entries.0)
}

fn msgpack_entries<'a>(reader: &mut Reader<'a>) -> Option<Entries<'a>> {
    let Token::Map(pairs) = reader.token().ok()? else { return None };
    let mut entries = Vec::new();
    for _ in 0..pairs {
        let name = msgpack_value(reader)?.token().and_then(Token::key_text);
        let value = msgpack_value(reader)?;
        // A name that has no text is none we know.
        entries.extend(name.map(|name| (name, value)));
    }
    Some(entries)
}

fn msgpack_value<'a>(reader: &mut Reader<'a>) -> Option<Raw<'a>> {
    reader.value().ok().map(|bytes| Raw { codec: Codec::Msgpack, bytes })
}

/// A JSON object. A map of the standard library would drop duplicates.
struct JsonEntries<'a>(Entries<'a>);

impl<'de> Deserialize<'de> for JsonEntries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;

        impl<'de> Visitor<'de> for Walk {
            type Value = JsonEntries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonEntries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, &RawValue>()? {
                    entries.push((name.0, value.into()));
                }
                Ok(JsonEntries(entries))
            }
        }

        deserializer.deserialize_map(Walk)
    }
}

/// A JSON string, borrowed when it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Read)
    }
}
