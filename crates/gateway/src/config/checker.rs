//! Collects problems while raw settings are turned into checked ones.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Problem;

/// The problems and warnings found so far.
#[derive(Default)]
pub(super) struct Checker {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl Checker {
    /// Notes an unusable value. `value` is printed: it must not be a secret.
    pub(super) fn problem(&mut self, key: &str, value: impl Display, wrong: &str, fix: &str) {
        self.problems.push(Problem::setting(key, &value.to_string(), wrong, fix));
    }

    /// The value, or the nearest allowed one after noting that it is out of range.
    pub(super) fn number(&mut self, key: &str, value: u64, range: RangeInclusive<u64>) -> u64 {
        let (least, most) = (*range.start(), *range.end());
        if !range.contains(&value) {
            let wrong = if value < least { "too small" } else { "too large" };
            self.problem(key, value, wrong, &format!("give a number from {least} to {most}"));
        }
        value.clamp(least, most)
    }

    /// As [`Checker::number`], for what is kept as a `u32`.
    pub(super) fn count(&mut self, key: &str, value: u64, range: RangeInclusive<u32>) -> u32 {
        let checked = self.number(key, value, (*range.start()).into()..=(*range.end()).into());
        u32::try_from(checked).unwrap_or(*range.end())
    }

    /// As [`Checker::number`], for a size in bytes.
    pub(super) fn bytes(&mut self, key: &str, value: u64, range: RangeInclusive<usize>) -> usize {
        let bound = |bound: &usize| u64::try_from(*bound).unwrap_or(u64::MAX);
        let checked = self.number(key, value, bound(range.start())..=bound(range.end()));
        usize::try_from(checked).unwrap_or(*range.end())
    }

    /// A limit where 0 means none.
    pub(super) fn limit(&mut self, key: &str, value: u64) -> Option<u32> {
        Some(self.count(key, value, 0..=u32::MAX)).filter(|limit| *limit > 0)
    }

    /// Milliseconds.
    pub(super) fn ms(&mut self, key: &str, value: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.number(key, value, range))
    }

    /// Seconds.
    pub(super) fn seconds(&mut self, key: &str, value: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(key, value, range))
    }
}
