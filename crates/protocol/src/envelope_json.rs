//! Checks an envelope in JSON, once, without copying what it doesn't keep. Deliberately no tree: values of fields that
//! a node doesn't read are passed over, their syntax checked.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::envelope::{ENVELOPE_DEPTH_MAX, EnvelopeError, Field, Fields, Kind};
use crate::json::is_deeper_than;

/// Checks the bytes of a whole envelope, that begins with `{`.
pub(crate) fn check(envelope: &[u8], fields: Fields) -> Result<Fields, EnvelopeError> {
    let text = str::from_utf8(envelope).map_err(|_| EnvelopeError::InvalidUtf8)?;
    // The parser passes over values without recursion, but with no limit either.
    if is_deeper_than(ENVELOPE_DEPTH_MAX, envelope) {
        return Err(EnvelopeError::TooDeep);
    }
    let mut walk = Walk { fields, at: Field::Other, refused: None };
    let mut parser = serde_json::Deserializer::from_str(text);
    match parser.deserialize_map(&mut walk).and_then(|()| parser.end()) {
        Ok(()) => Ok(walk.fields),
        Err(error) => Err(walk.explain(&error)),
    }
}

/// What is known while the parser walks. The parser's own error type can't carry ours, so ours waits here.
struct Walk {
    fields: Fields,
    /// The field whose value is being read.
    at: Field,
    refused: Option<EnvelopeError>,
}

impl Walk {
    fn explain(self, error: &serde_json::Error) -> EnvelopeError {
        match self.refused {
            Some(refused) => refused,
            // Sound JSON, but the value is none that the field's reader takes.
            None if error.is_data() => self.at.wrong_type(),
            None => EnvelopeError::InvalidJson { message: error.to_string() },
        }
    }

    fn keep<E: Error>(&mut self, checked: Result<(), EnvelopeError>) -> Result<(), E> {
        checked.map_err(|refused| {
            self.refused = Some(refused);
            E::custom("refused")
        })
    }
}

impl<'de> Visitor<'de> for &mut Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Name)? {
            self.at = field;
            let met = self.fields.meet(field);
            self.keep(met)?;
            match field.kind() {
                Kind::Anything => map.next_value::<IgnoredAny>().map(|_| ())?,
                Kind::Integer => map.next_value_seed(OptionalInteger(self))?,
                Kind::Text => map.next_value_seed(OptionalText(self))?,
            }
        }
        Ok(())
    }
}

/// Reads a field's name, spelled with escapes or not.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Field, E> {
        Ok(Field::named(name))
    }
}

/// Reads a string or null into the field at which the walk stands.
struct OptionalText<'w>(&'w mut Walk);

impl<'de> DeserializeSeed<'de> for OptionalText<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for OptionalText<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let kept = self.0.fields.text(self.0.at, Some(text));
        self.0.keep(kept)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        let kept = self.0.fields.text(self.0.at, None);
        self.0.keep(kept)
    }
}

/// Reads an integer or null into the field at which the walk stands.
struct OptionalInteger<'w>(&'w mut Walk);

impl<'de> DeserializeSeed<'de> for OptionalInteger<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for OptionalInteger<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.0.fields.integer(self.0.at, value.try_into().ok());
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.0.fields.integer(self.0.at, Some(value));
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}
