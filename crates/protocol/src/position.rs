//! Where a durable event stands in its topic. Deliberately without an order: positions compare only within one epoch,
//! and a different epoch is a change, not a step forward.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A Redis stream ID, `<epoch>-<seq>`: two unsigned 64-bit numbers. To clients it is an opaque string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// One unbroken history of a topic.
    pub epoch: u64,
    /// The place within the epoch. The first event has 1.
    pub seq: u64,
}

impl Position {
    /// The position of a topic that has no history: `0-0`. No event ever has it.
    pub const NONE: Position = Position { epoch: 0, seq: 0 };
}

/// The text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position: expected <epoch>-<seq>, two decimal numbers without sign or leading zeros")]
pub struct PositionError;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    /// Only the text that `Display` gives is taken, so two texts never mean the same position.
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (epoch, seq) = text.split_once('-').ok_or(PositionError)?;
        Ok(Position { epoch: number(epoch)?, seq: number(seq)? })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn number(digits: &str) -> Result<u64, PositionError> {
    let canonical = digits == "0" || !digits.starts_with('0');
    // `parse` alone would take a leading plus.
    if !canonical || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PositionError);
    }
    digits.parse().map_err(|_| PositionError)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_position_is_two_plain_numbers() {
        assert_eq!("1752000000000000-42".parse(), Ok(Position { epoch: 1_752_000_000_000_000, seq: 42 }));
        assert_eq!("0-0".parse(), Ok(Position::NONE));
        let last = Position { epoch: u64::MAX, seq: u64::MAX };
        assert_eq!("18446744073709551615-18446744073709551615".parse(), Ok(last));
    }

    #[test]
    fn whatever_else_a_number_parser_would_take_is_refused() {
        for text in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "1-2-3",
            "+1-2",
            "1-+2",
            "-1-2",
            "01-2",
            "1-02",
            "00-0",
            " 1-2",
            "1-2 ",
            "1 -2",
            "1-2\n",
            "1–2",
            "١-٢",
            "0x1-2",
            "1_0-2",
            "18446744073709551616-0",
            "0-18446744073709551616",
            "$",
            "*",
            "1-*",
        ] {
            assert_eq!(text.parse::<Position>(), Err(PositionError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_text_and_the_position_are_one_to_one(epoch: u64, seq: u64) {
            let position = Position { epoch, seq };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn what_is_taken_prints_the_same(text in "[0-9+ -]{0,24}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }
}
