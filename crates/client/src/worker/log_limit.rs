//! One log line in ten seconds for what strangers can cause. Deliberately without a clock that tests would have to move.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    suppressed: u64,
}

impl LogLimit {
    /// Logs, or counts. The line is given how many were suppressed before it.
    pub(crate) fn warn(&self, line: impl FnOnce(u64)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            state.suppressed += 1;
            return;
        }
        state.last = Some(Instant::now());
        let suppressed = std::mem::take(&mut state.suppressed);
        drop(state);
        line(suppressed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line() {
        let (limit, mut lines) = (LogLimit::default(), 0);
        for _ in 0..100 {
            limit.warn(|_| lines += 1);
        }
        assert_eq!(lines, 1);
    }
}
