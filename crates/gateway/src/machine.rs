//! What this machine, or the container around us, allows: memory, cores, name.

use std::fs;
use std::thread::available_parallelism;

use crate::memory_limit::memory_limit_bytes;

/// Facts that defaults are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The limit of our control group, else the machine's memory.
    pub memory_bytes: u64,
    /// Cores we may use, at least 1.
    pub cores: usize,
    /// The kernel's host name; may be empty.
    pub host_name: String,
}

/// When nothing can be found out: enough for a small node.
const MEMORY_BYTES_UNKNOWN: u64 = 1 << 30;

impl Machine {
    /// Looks around.
    pub fn read() -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
        Self {
            memory_bytes: memory_limit_bytes().unwrap_or(MEMORY_BYTES_UNKNOWN),
            cores: available_parallelism().map_or(1, usize::from),
            host_name: host.unwrap_or_default().trim().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_and_cores() {
        let machine = Machine::read();
        assert!(machine.memory_bytes > 1 << 20 && machine.cores >= 1);
    }
}
