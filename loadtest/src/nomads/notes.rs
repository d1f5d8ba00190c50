//! What all nomads found out together.

use crate::histogram::Micros;
use crate::reasons::{Reasons, count};

#[derive(Clone)]
pub(crate) struct Notes {
    /// From when a change was due to its answer.
    pub(crate) subscribe: Micros,
    pub(crate) unsubscribe: Micros,
    /// What was answered with an error, and changes that were left out.
    pub(crate) errors: Reasons,
    /// Why connections ended.
    pub(crate) ends: Reasons,
}

impl Default for Notes {
    fn default() -> Notes {
        Notes { subscribe: Micros::new(), unsubscribe: Micros::new(), errors: Reasons::new(), ends: Reasons::new() }
    }
}

impl Notes {
    /// A change is answered.
    pub(crate) fn changed(&mut self, is_subscribe: bool, latency_ns: u64) {
        if is_subscribe { &mut self.subscribe } else { &mut self.unsubscribe }.record_ns(latency_ns);
    }

    pub(crate) fn refuse(&mut self, code: &str) {
        count(&mut self.errors, code.to_owned());
    }

    pub(crate) fn end(&mut self, reason: String) {
        count(&mut self.ends, reason);
    }

    /// Changes that were answered.
    pub(crate) fn changes(&self) -> u64 {
        self.subscribe.quantiles().count + self.unsubscribe.quantiles().count
    }
}
