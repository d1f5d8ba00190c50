//! The rules for topics as they are written: an array of tables in the configuration file, JSON text elsewhere. What a
//! table says is judged by [`crate::config`], rule by rule.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::Value;

/// The rules in their order, each as whatever was written.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleTables(Vec<Value>);

impl RuleTables {
    /// The rules.
    pub fn as_slice(&self) -> &[Value] {
        &self.0
    }
}

impl FromStr for RuleTables {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for RuleTables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RulesVisitor)
    }
}

struct RulesVisitor;

impl<'de> Visitor<'de> for RulesVisitor {
    type Value = RuleTables;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of tables or the same as JSON text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RuleTables, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RuleTables, A::Error> {
        let mut rules = Vec::new();
        while let Some(rule) = items.next_element()? {
            rules.push(rule);
        }
        Ok(RuleTables(rules))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::json;

    use super::*;

    #[test]
    fn rules_are_an_array_or_its_json_text() {
        let written = json!([{ "pattern": "channel:**", "maxlen": 5 }, 7]);
        let array: RuleTables = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(array.as_slice(), written.as_array().unwrap().as_slice());
        assert_eq!(written.to_string().parse::<RuleTables>().unwrap(), array);
        assert_eq!(serde_json::from_value::<RuleTables>(json!(written.to_string())).unwrap(), array);
        for wrong in [json!({ "pattern": "a" }), json!(7), json!("channel:**")] {
            assert!(serde_json::from_value::<RuleTables>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
