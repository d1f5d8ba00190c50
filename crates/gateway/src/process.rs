//! What the kernel knows about this process: open files, memory, CPU time. Where it doesn't tell (not Linux), 0.

use std::fs;
use std::time::Duration;

use rustix::time::ClockId;

/// Open files.
pub fn open_files() -> u64 {
    let directory = "/proc/self/fd";
    match fs::metadata(directory).map_or(0, |metadata| metadata.len()) {
        // Before Linux 6.2 they have to be counted. One of them is the directory that is being read.
        0 => fs::read_dir(directory).map_or(0, |entries| entries.count().saturating_sub(1) as u64),
        count => count,
    }
}

/// Memory that is in RAM (RSS), in bytes.
pub fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// CPU time of all threads, in user and system mode.
pub fn cpu_time() -> Duration {
    rustix::time::clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells() {
        assert!(open_files() >= 3, "standard input, output and error");
        assert!(resident_bytes() > 100_000);
        let before = cpu_time();
        assert!(before > Duration::ZERO);
        let started = std::time::Instant::now();
        while cpu_time() <= before {
            assert!(started.elapsed() < Duration::from_secs(20), "CPU time doesn't grow");
        }
    }
}
