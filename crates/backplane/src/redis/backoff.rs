//! How long to pause before the next attempt: twice as long each time, within bounds, and never the same for all nodes,
//! which all lose a Redis in the same moment.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Backoff {
        Backoff { min, max: max.max(min), next: min }
    }

    /// The next pause: between half of its length and the whole, chosen by `random` in `0.0..1.0`.
    pub(super) fn pause(&mut self, random: f64) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        pause.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// A connection has ended that lived this long. Only a long life is a success: a server that accepts and drops at
    /// once is not tried faster than one that refuses.
    pub(super) fn lived(&mut self, time: Duration) {
        if time >= self.max {
            self.next = self.min;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(5);

    #[test]
    fn doubles_up_to_the_maximum() {
        let mut backoff = Backoff::new(MIN, MAX);
        let pauses: Vec<_> = (0..9).map(|_| backoff.pause(1.0).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn spreads_a_pause_over_its_second_half() {
        assert_eq!(Backoff::new(MIN, MAX).pause(0.0), MIN / 2);
        assert_eq!(Backoff::new(MIN, MAX).pause(0.5), MIN * 3 / 4);
    }

    #[test]
    fn starts_again_after_a_connection_that_lasted() {
        let mut backoff = Backoff::new(MIN, MAX);
        backoff.pause(1.0);
        backoff.lived(MAX / 2);
        assert_eq!(backoff.pause(1.0), MIN * 2);
        backoff.lived(MAX);
        assert_eq!(backoff.pause(1.0), MIN);
    }
}
