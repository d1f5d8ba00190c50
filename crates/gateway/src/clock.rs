//! The node's clock: the one place where time is read for what `fanfare_core` is told.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use fanfare_core::Millis;

/// Milliseconds since the node's start. Unix time is read anew each time: it may have been wrong at the start, and the
/// node's own time may stand still while a machine sleeps.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts now.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Now, since the start.
    pub fn now(&self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// A Unix time in the node's own; what lies before the start is 0.
    pub fn from_unix_ms(&self, time_ms: u64) -> Millis {
        Millis(self.now().0.saturating_add(time_ms).saturating_sub(unix_ms()))
    }
}

/// Now, in Unix milliseconds.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
