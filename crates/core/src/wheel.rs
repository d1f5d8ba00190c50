//! A hashed timing wheel: one timer for all connections of the node instead of one each. Coarse on purpose; deliberately
//! no clock and no task (George Varghese and Tony Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 6).

use crate::time::Millis;

/// Slots of the wheel; with the tick it makes the horizon.
const SLOTS: u64 = 512;

/// Entries by the tick at which they are due.
#[derive(Debug)]
pub struct Wheel<T> {
    slots: Vec<Vec<T>>,
    tick_ms: u64,
    /// The next tick to be handed out.
    next_tick: u64,
}

impl<T> Wheel<T> {
    /// A wheel that starts at `now` and turns every `tick_ms`.
    pub fn new(tick_ms: u64, now: Millis) -> Self {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Self { slots, tick_ms: tick_ms.max(1), next_tick: now.0 / tick_ms.max(1) + 1 }
    }

    /// Keeps `entry` until `due`, at most one tick longer. What lies beyond the horizon (512 ticks) comes early: its
    /// owner looks at the time and inserts it again.
    pub fn insert(&mut self, due: Millis, entry: T) {
        let tick = due.0.div_ceil(self.tick_ms).clamp(self.next_tick, self.next_tick + SLOTS - 1);
        self.slots[slot(tick)].push(entry);
    }

    /// Moves everything due at `now` into `due`.
    pub fn advance(&mut self, now: Millis, due: &mut Vec<T>) {
        let current = now.0 / self.tick_ms;
        let last = current.min(self.next_tick + SLOTS - 1);
        for tick in self.next_tick..=last {
            due.append(&mut self.slots[slot(tick)]);
        }
        self.next_tick = self.next_tick.max(current + 1);
    }
}

fn slot(tick: u64) -> usize {
    usize::try_from(tick % SLOTS).expect("less than SLOTS")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel<u64>, now: u64) -> Vec<u64> {
        let mut due = Vec::new();
        wheel.advance(Millis(now), &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn an_entry_comes_at_its_time_and_once() {
        let mut wheel = Wheel::new(100, Millis(0));
        wheel.insert(Millis(250), 250);
        wheel.insert(Millis(1_000), 1_000);
        assert!(due(&mut wheel, 200).is_empty());
        assert_eq!(due(&mut wheel, 300), [250]);
        assert_eq!(due(&mut wheel, 5_000), [1_000]);
        assert!(due(&mut wheel, 100_000).is_empty());
    }

    #[test]
    fn what_is_past_comes_with_the_next_tick_and_what_is_far_comes_early() {
        let mut wheel = Wheel::new(100, Millis(1_000));
        wheel.insert(Millis(5), 5);
        wheel.insert(Millis(10_000_000), 10_000_000);
        assert_eq!(due(&mut wheel, 1_100), [5]);
        assert_eq!(due(&mut wheel, 1_000 + 512 * 100), [10_000_000]);
    }

    #[test]
    fn a_stall_longer_than_the_horizon_loses_nothing() {
        let mut wheel = Wheel::new(10, Millis(0));
        for ms in (0..5_000).step_by(10) {
            wheel.insert(Millis(ms), ms);
        }
        assert_eq!(due(&mut wheel, 1_000_000).len(), 500);
        wheel.insert(Millis(1_000_050), 1);
        assert!(due(&mut wheel, 1_000_049).is_empty());
        assert_eq!(due(&mut wheel, 1_000_060), [1]);
    }
}
