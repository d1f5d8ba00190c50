//! Where and when a run was: what a reader of its figures must know.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::launch;

#[derive(Default, Serialize)]
pub(crate) struct Machine {
    /// As the kernel calls it.
    pub(crate) processor: String,
    /// Processors that this process may use.
    pub(crate) processors: usize,
    /// Its version, without what its builder appended.
    pub(crate) kernel: String,
}

impl Machine {
    /// The one this process runs on.
    pub(crate) fn this() -> Machine {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Machine {
            processor: model.map_or("unknown", |(_, name)| name.trim()).to_owned(),
            processors: launch::processors().len(),
            kernel: kernel.split(['-', '\n']).next().unwrap_or_default().to_owned(),
        }
    }
}

/// Today in UTC, as `2026-11-21`.
pub(crate) fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    date(seconds / 86_400)
}

/// The day after so many since 1970-01-01.
fn date(mut days: u64) -> String {
    let mut year = 1970;
    let is_leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        for (days, expected) in [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_778, "2026-11-21")]
        {
            assert_eq!(date(days), expected);
        }
        assert_eq!(date(20_818), "2026-12-31");
    }

    #[test]
    fn this_machine_says_something() {
        let machine = Machine::this();
        assert!(machine.processors > 0 && !machine.kernel.is_empty() && !machine.processor.is_empty());
    }
}
