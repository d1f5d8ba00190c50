//! What the table of settings says about each of its rows, read back from the flags that clap made of it.

use std::any::TypeId;
use std::sync::LazyLock;

use clap::{Arg, Args as _, Command};

use super::{List, RuleTables, Settings};
use crate::secret::Secret;

/// One setting: its names, its default and its meaning.
#[derive(Clone, Debug)]
pub struct Row {
    /// Key of the configuration file, and the name in every message.
    pub key: String,
    /// The group it is listed under.
    pub heading: String,
    /// Default as text; `None` when unset means something of its own.
    pub default: Option<String>,
    /// Unit or kind of the value, as in `--help`.
    pub unit: String,
    /// One sentence without its full stop.
    pub help: String,
    /// Type of the value.
    pub kind: Kind,
}

/// Type of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number, zero or more.
    Number,
    /// `true` or `false`.
    Bool,
    /// Several texts.
    List,
    /// Rules for topics.
    Rules,
    /// A text that is never printed.
    Secret,
    /// Several texts that are never printed.
    Secrets,
}

impl Row {
    /// The environment variable.
    pub fn variable(&self) -> String {
        format!("FANFARE_{}", self.key.to_uppercase())
    }

    /// The flag, with its two dashes.
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    /// Whether its value is never printed.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::Secrets)
    }
}

/// All settings in the order they are documented.
pub fn rows() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> =
        LazyLock::new(|| Settings::augment_args(Command::new("settings")).get_arguments().map(row).collect());
    &ROWS
}

fn row(arg: &Arg) -> Row {
    let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    let unit = arg.get_value_names().and_then(|names| names.first());
    Row {
        key: arg.get_id().to_string(),
        heading: arg.get_help_heading().unwrap_or_default().to_owned(),
        default,
        unit: unit.map(ToString::to_string).unwrap_or_default(),
        help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        kind: kind(&arg.get_value_parser().type_id()),
    }
}

fn kind(id: &impl PartialEq<TypeId>) -> Kind {
    let kinds = [
        (TypeId::of::<u64>(), Kind::Number),
        (TypeId::of::<bool>(), Kind::Bool),
        (TypeId::of::<List<String>>(), Kind::List),
        (TypeId::of::<RuleTables>(), Kind::Rules),
        (TypeId::of::<Secret>(), Kind::Secret),
        (TypeId::of::<List<Secret>>(), Kind::Secrets),
    ];
    kinds.into_iter().find(|(of, _)| id == of).map_or(Kind::Text, |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn of(key: &str) -> &'static Row {
        rows().iter().find(|row| row.key == key).unwrap()
    }

    #[test]
    fn a_row_knows_its_three_names_default_and_type() {
        let row = of("drain_delay_s");
        assert_eq!((row.variable().as_str(), row.flag().as_str()), ("FANFARE_DRAIN_DELAY_S", "--drain-delay-s"));
        assert_eq!((row.default.as_deref(), row.unit.as_str(), row.kind), (Some("5"), "SECONDS", Kind::Number));
        assert_eq!(of("own_user_topic").kind, Kind::Bool);
        assert_eq!(of("jwt_issuer").kind, Kind::List);
        assert_eq!(of("topics").kind, Kind::Rules);
        assert_eq!(of("node_id").kind, Kind::Text);
    }

    #[test]
    fn whatever_can_hold_a_secret_is_a_secret() {
        let secret: Vec<_> = rows().iter().filter(|row| row.is_secret()).map(|row| row.key.as_str()).collect();
        assert_eq!(secret, ["backplane", "jwt_hs256_secret", "api_keys"]);
    }

    #[test]
    fn every_row_says_what_it_is() {
        for row in rows() {
            assert!(!row.help.is_empty() && !row.unit.is_empty() && !row.heading.is_empty(), "{}", row.key);
            assert!(!row.help.ends_with('.'), "{}", row.key);
        }
    }
}
