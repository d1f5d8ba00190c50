//! Monotonic nanoseconds. `CLOCK_MONOTONIC` is one clock for all processes of a machine, so a publisher's stamp can be
//! compared in another process. Not wall time, and not comparable between machines.

use rustix::io::Errno;
use rustix::thread::{ClockId as SleepClock, clock_nanosleep_absolute};
use rustix::time::{ClockId, Timespec, clock_gettime};

const NS_PER_S: u64 = 1_000_000_000;

/// Nanoseconds since the machine started.
pub(crate) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * NS_PER_S + time.tv_nsec.unsigned_abs()
}

/// Sleeps until that moment of [`now_ns`]; returns at once when it has passed.
pub(crate) fn sleep_until_ns(deadline_ns: u64) {
    let deadline =
        Timespec { tv_sec: (deadline_ns / NS_PER_S).cast_signed(), tv_nsec: (deadline_ns % NS_PER_S).cast_signed() };
    while clock_nanosleep_absolute(SleepClock::Monotonic, &deadline) == Err(Errno::INTR) {}
}

/// A span in seconds; 0 when it would be negative.
pub(crate) fn seconds_between(from_ns: u64, to_ns: u64) -> f64 {
    std::time::Duration::from_nanos(to_ns.saturating_sub(from_ns)).as_secs_f64()
}
