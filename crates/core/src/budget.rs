//! One bound for all outboxes of a node together: thousands of outboxes, each within its own bound, could still exhaust
//! the machine. Deliberately only a count; who is closed when it is passed, the shards decide.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes waiting in all outboxes, and how many may.
#[derive(Debug)]
pub struct Budget {
    used_bytes: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    /// A budget of `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { used_bytes: AtomicUsize::new(0), bytes_max }
    }

    /// Bytes waiting now.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// How many bytes have to go before the node is within its bound again.
    pub fn excess_bytes(&self) -> usize {
        self.used_bytes().saturating_sub(self.bytes_max)
    }

    /// An outbox that had `before` bytes waiting has `after` now.
    pub(crate) fn change(&self, before: usize, after: usize) {
        if after >= before {
            self.used_bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.used_bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}
