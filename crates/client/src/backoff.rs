//! How long to pause before the next attempt: twice as long each time, within bounds, and never the same for all backends,
//! which all lose a Redis in the same moment.

use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Backoff {
        Backoff { min, max: max.max(min), next: min }
    }

    /// The next pause: between half of its length and the whole.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// What was tried has worked.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_within_its_bounds_and_is_spread_over_its_second_half() {
        let millis = Duration::from_millis;
        let mut backoff = Backoff::new(millis(50), millis(300));
        for expected in [50, 100, 200, 300, 300] {
            let pause = backoff.pause();
            assert!(pause >= millis(expected) / 2 && pause <= millis(expected), "{pause:?} of {expected} ms");
        }
        backoff.reset();
        assert!(backoff.pause() <= millis(50));
    }
}
