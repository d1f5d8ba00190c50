//! CPU time of everybody who takes part in a run: whose work it was, and how much was nobody's of ours.

use crate::figures::float;

/// Busier than this share of its processors, the generator may be what is measured.
const GENERATOR_BUSY: f64 = 0.95;

/// Time, and the CPU time of everybody who takes part, in microseconds.
#[expect(clippy::struct_field_names, reason = "names carry their unit")]
pub(crate) struct Effort {
    pub(crate) wall_us: u64,
    pub(crate) server_us: Option<u64>,
    /// The client processes and the publisher.
    pub(crate) generator_us: u64,
    pub(crate) redis_us: u64,
    pub(crate) machine_us: u64,
}

impl Effort {
    pub(crate) fn since(&self, before: &Effort) -> Effort {
        Effort {
            wall_us: self.wall_us.saturating_sub(before.wall_us),
            server_us: before.server_us.zip(self.server_us).map(|(before, after)| after.saturating_sub(before)),
            generator_us: self.generator_us.saturating_sub(before.generator_us),
            redis_us: self.redis_us.saturating_sub(before.redis_us),
            machine_us: self.machine_us.saturating_sub(before.machine_us),
        }
    }

    /// Whether the clients and the publisher, which are so many threads, had nothing left of these processors in so many
    /// seconds; Redis has the same ones.
    pub(crate) fn is_generator_full(&self, wall_s: f64, processors: usize, threads: usize) -> bool {
        let fills = |busy_us: u64, cores: usize| float(busy_us) > GENERATOR_BUSY * wall_s * 1e6 * float(cores as u64);
        fills(self.generator_us, processors.min(threads)) || fills(self.generator_us + self.redis_us, processors)
    }

    /// CPU time of programs that have nothing to do with this run.
    pub(crate) fn other_us(&self) -> u64 {
        let ours = self.generator_us + self.redis_us + self.server_us.unwrap_or_default();
        self.machine_us.saturating_sub(ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_is_full_when_its_threads_or_its_processors_are() {
        let effort = |generator_us, redis_us| Effort {
            wall_us: 10_000_000,
            server_us: None,
            generator_us,
            redis_us,
            machine_us: 0,
        };
        assert!(!effort(9_000_000, 0).is_generator_full(10.0, 1, 2));
        assert!(effort(9_700_000, 0).is_generator_full(10.0, 1, 2));
        assert!(effort(9_000_000, 700_000).is_generator_full(10.0, 1, 2), "Redis has the same processor");
        assert!(!effort(9_700_000, 700_000).is_generator_full(10.0, 3, 2), "a thread is left");
        assert!(effort(19_500_000, 0).is_generator_full(10.0, 3, 2), "a processor is left, and no thread");
        assert!(effort(970_000, 0).is_generator_full(1.0, 1, 2), "in the time of the bursts alone");
    }
}
