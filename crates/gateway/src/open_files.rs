//! How many files and sockets this process may have open at once.
//!
//! Every connection is one open file, and the usual soft limit is 1,024. This is not the connection limit itself: that
//! is a setting, which [`clamp_connections`] only lowers to what the system allows.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files kept free for what has no place among the connections: listeners, Redis, the admin and API ports, files
/// read again when they change; those that have yet to say what they want ([`crate::listener::HANDSHAKES_MAX`]), and
/// those that are being turned away.
pub const RESERVED_OPEN_FILES: u64 = 896;

/// The soft limit of open files before and after [`raise`]; `u64::MAX` stands for "no limit".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// As the process found it.
    pub before: u64,
    /// As it is now.
    pub after: u64,
}

/// Raises the soft limit to the hard one, which needs no privilege (getrlimit(2), `RLIMIT_NOFILE`).
///
/// An error leaves the limit as it was; [`current`] tells it.
pub fn raise() -> io::Result<OpenFiles> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(OpenFiles { before: limit.current.unwrap_or(u64::MAX), after: current() })
}

/// The soft limit as it is now; `u64::MAX` stands for "no limit".
pub fn current() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many connections fit under `open_files`, at most `wanted`.
///
/// [`RESERVED_OPEN_FILES`] stay free, or a quarter of the limit where that is less.
pub fn clamp_connections(wanted: usize, open_files: u64) -> usize {
    let reserved = RESERVED_OPEN_FILES.min(open_files / 4);
    usize::try_from(open_files - reserved).map_or(wanted, |fit| wanted.min(fit))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        // Lowered by one where it is at the top already, so that there is something to raise. By no more: other tests
        // of this process open files at the same time.
        if getrlimit(Resource::Nofile).current == hard {
            let lower = hard.map_or(1_000_000, |hard| hard - 1);
            setrlimit(Resource::Nofile, Rlimit { current: Some(lower), maximum: hard }).unwrap();
        }
        let before = current();
        let raised = raise().unwrap();
        assert_eq!(raised, OpenFiles { before, after: hard.unwrap_or(u64::MAX) });
        assert!(raised.after > before);
        assert_eq!(current(), raised.after);
        assert_eq!(raise().unwrap().before, raised.after);
    }

    #[test]
    fn connections_are_clamped_below_the_limit() {
        assert_eq!(clamp_connections(100_000, 1_024), 768);
        assert_eq!(clamp_connections(500, 1_024), 500);
        assert_eq!(clamp_connections(100_000, 1_048_576), 100_000);
        assert_eq!(clamp_connections(100_000, 256), 192);
        assert_eq!(clamp_connections(100_000, 0), 0);
        assert_eq!(clamp_connections(100_000, u64::MAX), 100_000);
    }
}
