//! What Linux tells about a process: CPU time, memory, and who listens on a port. Everything is read from `/proc`;
//! nothing is asked of the process itself.

use std::fs;
use std::iter::Sum;
use std::net::SocketAddr;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

/// CPU time that the process has used in all its threads, user and system together, in microseconds. The kernel counts
/// in ticks, mostly of 10 ms, so a window must be long against that.
pub(crate) fn cpu_us(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("{path}: is the server still running?"))?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("{path} has an unknown form"))?;
    Ok(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
}

/// CPU time that everything on this machine has used together, in microseconds.
pub(crate) fn machine_cpu_us() -> anyhow::Result<u64> {
    let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let ticks = busy_ticks(&stat).context("/proc/stat has an unknown form")?;
    Ok(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
}

/// Memory of a process in KiB.
#[expect(clippy::struct_field_names, reason = "names carry their unit")]
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    /// `VmRSS` of `/proc/<pid>/status`.
    pub(crate) rss_kb: u64,
    /// From `smaps_rollup`, where it may be read: pages that belong to this process alone.
    pub(crate) private_kb: Option<u64>,
    /// From `smaps_rollup`: memory that is no file, which is heap and stacks.
    pub(crate) anonymous_kb: Option<u64>,
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Memory>>(all: I) -> Memory {
        let both = |one: Option<u64>, other: Option<u64>| one.zip(other).map(|(one, other)| one + other);
        let together = |one: Memory, other: Memory| Memory {
            rss_kb: one.rss_kb + other.rss_kb,
            private_kb: both(one.private_kb, other.private_kb),
            anonymous_kb: both(one.anonymous_kb, other.anonymous_kb),
        };
        all.reduce(together).unwrap_or_default()
    }
}

pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("{path}: is the server still running?"))?;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let private = field_kb(&rollup, "Private_Clean:").zip(field_kb(&rollup, "Private_Dirty:"));
    Ok(Memory {
        rss_kb: field_kb(&status, "VmRSS:").with_context(|| format!("{path} has no VmRSS"))?,
        private_kb: private.map(|(clean, dirty)| clean + dirty),
        anonymous_kb: field_kb(&rollup, "Anonymous:"),
    })
}

/// Whether there is such a process.
pub(crate) fn is_there(pid: u32) -> bool {
    // A process that has ended keeps its entry until its parent has taken note, but no memory.
    memory(pid).is_ok()
}

/// The process that listens on this address, if it can be seen.
pub(crate) fn listener_on(address: SocketAddr) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let inodes: Vec<String> = tables
        .iter()
        .flat_map(|table| listening_inodes(table, address.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let pids = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find(|pid| holds_any(*pid, &inodes))
}

/// Raises the soft limit of open files to the hard one and returns it.
pub(crate) fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// Fields 14 and 15 of `stat` (proc(5)). The second, the name, may hold spaces and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal. What is not idle is busy.
fn busy_ticks(stat: &str) -> Option<u64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let ticks: Vec<u64> = fields.take(8).map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal] = ticks[..] else { return None };
    Some(user + nice + system + irq + softirq + steal)
}

fn field_kb(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line[name.len()..].trim().trim_end_matches("kB").trim().parse().ok()
}

/// Columns of `/proc/net/tcp`: number, local address, remote address, state (0A: listening), …; the tenth: inode.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    let local_end = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && row[1].ends_with(&local_end) && row[3] == "0A")
        .filter_map(|row| row[9].parse().ok())
        .collect()
}

fn holds_any(pid: u32, sockets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| {
        let target = fs::read_link(file.path()).unwrap_or_default();
        sockets.iter().any(|socket| target.as_os_str() == socket.as_str())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_name_full_of_brackets_hides_no_cpu_time() {
        let stat = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 70 30 1 1";
        assert_eq!(cpu_ticks(stat), Some(100));
        assert_eq!(cpu_ticks("42 (short) S 1"), None);
    }

    #[test]
    fn idle_time_is_not_busy() {
        assert_eq!(busy_ticks("cpu  1 2 3 1000 1000 4 5 6 7 8\ncpu0 9 9 9"), Some(21));
        assert_eq!(busy_ticks("cpu0 1 2"), None);
        assert!(machine_cpu_us().is_ok_and(|busy| busy > 0));
    }

    #[test]
    fn our_own_listener_and_figures_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listener_on(listener.local_addr().unwrap()), Some(std::process::id()));
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.rss_kb > 100, "{memory:?}");
        cpu_us(std::process::id()).unwrap();
        assert!(cpu_us(u32::MAX).is_err());
    }

    #[test]
    fn only_a_listening_socket_counts() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
            1: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 222 1\n\
            2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1\n";
        assert_eq!(listening_inodes(table, 8080), [111]);
    }
}
