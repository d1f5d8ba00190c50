//! What counts: plain numbers, and numbers by label, those that come from outside capped. Deliberately blind to what is
//! counted, which [`super::Metrics`] says.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// The label of all that a cap leaves out.
pub const OTHER: &str = "other";

/// A number, changed by one instruction.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

/// Counters by a label of which there are few, for what happens rarely.
#[derive(Debug)]
pub struct Labelled<L>(Mutex<HashMap<L, u64>>);

/// Counters by a label that comes from outside: at most so many labels, the rest are counted as [`OTHER`].
#[derive(Debug)]
pub struct Capped {
    counts: Mutex<HashMap<Box<str>, u64>>,
    labels_max: usize,
    other: Count,
}

/// Counters by a label of which there are few and one that comes from outside: at most so many pairs, the rest are
/// counted by the first label, with [`OTHER`] as the second.
#[derive(Debug)]
pub struct CappedPairs {
    counts: Mutex<HashMap<(&'static str, Box<str>), u64>>,
    pairs_max: usize,
}

impl Count {
    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl<L> Default for Labelled<L> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<L: Hash + Eq + Copy> Labelled<L> {
    pub(super) fn add(&self, label: L, count: u64) {
        *self.0.lock().entry(label).or_default() += count;
    }

    /// All labels and their counts.
    pub fn read(&self) -> HashMap<L, u64> {
        self.0.lock().clone()
    }
}

impl Capped {
    pub(super) fn new(labels_max: usize) -> Self {
        Self { counts: Mutex::default(), labels_max, other: Count::default() }
    }

    pub(super) fn add(&self, label: &str) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(label) {
            *count += 1;
        } else if counts.len() < self.labels_max && label != OTHER {
            counts.insert(label.into(), 1);
        } else {
            self.other.add(1);
        }
    }

    /// Calls `each` with every label and its count, the one of what the cap left out included when there is any.
    pub fn read(&self, mut each: impl FnMut(&str, u64)) {
        self.counts.lock().iter().for_each(|(label, &count)| each(label, count));
        if self.other.get() > 0 {
            each(OTHER, self.other.get());
        }
    }

    /// Of all labels together.
    pub fn total(&self) -> u64 {
        let mut total = 0;
        self.read(|_, count| total += count);
        total
    }
}

impl CappedPairs {
    pub(super) fn new(pairs_max: usize) -> Self {
        Self { counts: Mutex::default(), pairs_max }
    }

    pub(super) fn add(&self, first: &'static str, second: &str) {
        let mut counts = self.counts.lock();
        let key = (first, Box::from(second));
        let fits = counts.len() < self.pairs_max || counts.contains_key(&key);
        let key = if fits { key } else { (first, Box::from(OTHER)) };
        *counts.entry(key).or_default() += 1;
    }

    /// Calls `each` with every pair and its count.
    pub fn read(&self, mut each: impl FnMut(&'static str, &str, u64)) {
        self.counts.lock().iter().for_each(|((first, second), &count)| each(first, second, count));
    }

    /// Of all pairs together.
    pub fn total(&self) -> u64 {
        self.counts.lock().values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_beyond_the_cap_are_counted_together() {
        let capped = Capped::new(2);
        for label in ["a", "b", "c", "a", "d", OTHER] {
            capped.add(label);
        }
        let mut counts = Vec::new();
        capped.read(|label, count| counts.push((label.to_owned(), count)));
        counts.sort();
        let expected = [("a", 2), ("b", 1), (OTHER, 3)].map(|(label, count)| (label.to_owned(), count));
        assert_eq!(counts, expected);
        assert_eq!(capped.total(), 6);
    }

    #[test]
    fn a_reason_is_kept_where_its_tenant_is_not() {
        let pairs = CappedPairs::new(1);
        for (reason, tenant) in [("empty", "acme"), ("empty", "globex"), ("too_deep", "acme"), ("empty", "acme")] {
            pairs.add(reason, tenant);
        }
        let mut counts = Vec::new();
        pairs.read(|reason, tenant, count| counts.push((reason, tenant.to_owned(), count)));
        counts.sort();
        let expected = [("empty", "acme", 2), ("empty", OTHER, 1), ("too_deep", OTHER, 1)];
        assert_eq!(counts, expected.map(|(reason, tenant, count)| (reason, tenant.to_owned(), count)));
        assert_eq!(pairs.total(), 4);
    }
}
