//! Histograms of microseconds: three significant digits up to an hour. They cross from process to process as the list
//! of their counts, which loses nothing, since all are made alike.

use hdrhistogram::Histogram;
use serde::Serialize;

const MICROS_MAX: u64 = 3_600_000_000;

/// Counts of microseconds.
#[derive(Clone)]
pub(crate) struct Micros(Histogram<u64>);

/// What people read of a histogram, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

impl Micros {
    pub(crate) fn new() -> Self {
        // The bounds are constants, so this can't fail; a histogram that grows would serve as well.
        let histogram = Histogram::new_with_bounds(1, MICROS_MAX, 3).or_else(|_| Histogram::new(3));
        Self(histogram.unwrap_or_else(|error| unreachable!("constant bounds: {error}")))
    }

    /// Anything over an hour counts as an hour.
    #[inline]
    pub(crate) fn record_ns(&mut self, ns: u64) {
        self.0.saturating_record(ns / 1_000);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn counts(&self) -> Vec<(u64, u64)> {
        self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
    }

    pub(crate) fn add_counts(&mut self, counts: &[(u64, u64)]) {
        for (value, count) in counts {
            self.0.saturating_record_n(*value, *count);
        }
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        Quantiles {
            count: self.0.len(),
            p50: self.0.value_at_quantile(0.5),
            p90: self.0.value_at_quantile(0.9),
            p99: self.0.value_at_quantile(0.99),
            p999: self.0.value_at_quantile(0.999),
            max: self.0.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_merge_to_the_same_as_one() {
        let (mut one, mut odd, mut even) = (Micros::new(), Micros::new(), Micros::new());
        for us in 1..50_000_u64 {
            let ns = us * us * 1_000;
            one.record_ns(ns);
            if us % 2 == 0 { even.record_ns(ns) } else { odd.record_ns(ns) }
        }
        let mut merged = Micros::new();
        merged.add_counts(&odd.counts());
        merged.add_counts(&even.counts());
        assert_eq!(merged.counts(), one.counts());
        assert_eq!(merged.quantiles().p99, one.quantiles().p99);
        assert_eq!(merged.quantiles().count, 49_999);
    }

    #[test]
    fn an_hour_is_the_most() {
        let mut micros = Micros::new();
        micros.record_ns(u64::MAX);
        assert!(micros.quantiles().max >= MICROS_MAX);
        micros.clear();
        assert_eq!(micros.quantiles().count, 0);
    }
}
