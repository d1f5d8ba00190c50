//! Counts by name: why connections ended, what was refused. Bounded, whatever a server says.

use std::collections::BTreeMap;

use crate::figures::thousands;

/// Different names that are told apart; more come together as `other`.
const NAMES_MAX: usize = 32;

pub(crate) type Reasons = BTreeMap<String, u64>;

/// Counts one more of a name.
pub(crate) fn count(reasons: &mut Reasons, name: String) {
    let is_known = reasons.contains_key(&name) || reasons.len() < NAMES_MAX;
    *reasons.entry(if is_known { name } else { "other".to_owned() }).or_default() += 1;
}

/// `12 × this, 3 × that`.
pub(crate) fn listed(reasons: &Reasons) -> String {
    if reasons.is_empty() {
        return "none".to_owned();
    }
    let each: Vec<String> = reasons.iter().map(|(name, count)| format!("{} × {name}", thousands(*count))).collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_listed() {
        let mut reasons = Reasons::new();
        assert_eq!(listed(&reasons), "none");
        count(&mut reasons, "a".to_owned());
        count(&mut reasons, "a".to_owned());
        count(&mut reasons, "b".to_owned());
        assert_eq!(listed(&reasons), "2 × a, 1 × b");
        for name in 0..100 {
            count(&mut reasons, name.to_string());
        }
        assert_eq!(reasons.len(), NAMES_MAX + 1);
        assert_eq!(reasons["other"], 100 + 2 - NAMES_MAX as u64);
    }
}
