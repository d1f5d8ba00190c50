//! The node's clock: the one place where time is read for what `fanfare_core` is told.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use fanfare_core::Millis;

/// Milliseconds since the node's start, and what that is in Unix time.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    started_unix_ms: u64,
}

impl Clock {
    /// Starts now.
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Now, since the start.
    pub fn now(&self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Now, in Unix milliseconds. It doesn't follow steps of the system's clock.
    pub fn unix_ms(&self) -> u64 {
        self.started_unix_ms.saturating_add(self.now().0)
    }

    /// A Unix time in the node's own; what lies before the start is 0.
    pub fn from_unix_ms(&self, unix_ms: u64) -> Millis {
        Millis(unix_ms.saturating_sub(self.started_unix_ms))
    }
}
