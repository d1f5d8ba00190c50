//! What a figure should not exceed. One that is missed is told and fails no run, since machines differ.

use serde::Serialize;

use crate::table::decimals;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Aim {
    name: &'static str,
    value: f64,
    at_most: f64,
    is_met: bool,
}

impl Aim {
    pub(crate) fn new(name: &'static str, value: f64, at_most: f64) -> Aim {
        Aim { name, value, at_most, is_met: value <= at_most }
    }

    /// A line for people, without its end.
    pub(crate) fn line(&self, of: &str) -> String {
        let verdict = if self.is_met { "met" } else { "NOT MET" };
        let (value, at_most) = (decimals(self.value), decimals(self.at_most));
        format!("aim: {of}: {}: {value}, at most {at_most}: {verdict}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_is_met_up_to_its_bound() {
        assert_eq!(Aim::new("refused", 0.0, 0.0).line("node"), "aim: node: refused: 0.000, at most 0.000: met");
        assert!(Aim::new("p99, ms", 250.1, 250.0).line("node").ends_with("NOT MET"));
    }
}
