//! A log line that strangers can cause is written at most once per interval and reason.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

const INTERVAL: Duration = Duration::from_secs(10);

/// When each kind of line was last written.
#[derive(Debug)]
pub struct LogLimit<K>(Mutex<HashMap<K, Seen>>);

#[derive(Debug)]
struct Seen {
    written: Instant,
    suppressed: u64,
}

impl<K> Default for LogLimit<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq> LogLimit<K> {
    /// Whether a line of this kind may be written now, and how many were not since the last. The kinds have to be few.
    pub fn pass(&self, kind: K) -> Option<u64> {
        let now = Instant::now();
        let mut kinds = self.0.lock();
        match kinds.get_mut(&kind) {
            None => {
                kinds.insert(kind, Seen { written: now, suppressed: 0 });
                Some(0)
            }
            Some(seen) if now.duration_since(seen.written) < INTERVAL => {
                seen.suppressed += 1;
                None
            }
            Some(seen) => {
                seen.written = now;
                Some(std::mem::take(&mut seen.suppressed))
            }
        }
    }
}
