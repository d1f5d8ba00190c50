//! CPU time of everybody who takes part in a run: whose work it was, and how much was nobody's of ours.

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

    /// CPU time of programs that have nothing to do with this run.
    pub(crate) fn other_us(&self) -> u64 {
        let ours = self.generator_us + self.redis_us + self.server_us.unwrap_or_default();
        self.machine_us.saturating_sub(ours)
    }
}
