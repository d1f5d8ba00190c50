//! Settings that hold several values: comma separated text, or an array in the configuration file.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

/// Several values in the order they were given.
///
/// Text is split at commas; spaces around a value and empty values are dropped. The values of an array are taken whole,
/// so a value that contains a comma can be written in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(Vec<T>);

impl<T> List<T> {
    /// The values.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<T: From<String>> FromStr for List<T> {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let values = text.split(',').map(str::trim).filter(|value| !value.is_empty());
        Ok(Self(values.map(|value| T::from(value.to_owned())).collect()))
    }
}

impl<'de, T: From<String>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: From<String>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings or a comma separated string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<List<T>, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element::<String>()? {
            values.push(T::from(value));
        }
        Ok(List(values))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn text_is_split_at_commas_and_trimmed() {
        let list: List<String> = " a, b ,,c=1,".parse().unwrap();
        assert_eq!(list.as_slice(), ["a", "b", "c=1"]);
        assert!("".parse::<List<String>>().unwrap().as_slice().is_empty());
    }

    #[test]
    fn array_values_are_taken_whole() {
        let list: List<String> = serde_json::from_str(r#"["a,b"," c "]"#).unwrap();
        assert_eq!(list.as_slice(), ["a,b", " c "]);
        assert!(serde_json::from_str::<List<String>>("[1]").is_err());
        assert!(serde_json::from_str::<List<String>>("7").is_err());
    }
}
