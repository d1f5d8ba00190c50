//! How much memory this process may use, as the system tells it.
//!
//! It only reads. What to do with the figure (the budget of all outboxes together) is decided elsewhere.

use std::fs;
use std::path::{Component, Path};

/// The bytes of memory this process may use: the least of its cgroup's limit (version 2 or 1), those of the cgroups
/// above it, and the machine's memory. `None` where none of them can be read, as on systems without `/proc`.
///
/// Sources: cgroups(7); `memory.max` in the kernel's cgroup-v2 guide, `memory.limit_in_bytes` in the one for
/// version 1; `MemTotal` in `proc_meminfo(5)`.
pub fn memory_limit_bytes() -> Option<u64> {
    below(Path::new("/"))
}

fn below(root: &Path) -> Option<u64> {
    cgroup_limit(root).into_iter().chain(mem_total(root)).min()
}

fn cgroup_limit(root: &Path) -> Option<u64> {
    let own = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    own.lines()
        .filter_map(|line| {
            // "<hierarchy>:<controllers>:<path>"; version 2 has hierarchy 0 and names no controllers.
            let (hierarchy, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            if hierarchy == "0" && controllers.is_empty() {
                least_limit(&root.join("sys/fs/cgroup"), path, "memory.max")
            } else if controllers.split(',').any(|controller| controller == "memory") {
                least_limit(&root.join("sys/fs/cgroup/memory"), path, "memory.limit_in_bytes")
            } else {
                None
            }
        })
        .min()
}

/// The least limit from the cgroup at `path` up to the top of `mount`: each of them holds for all below it.
///
/// In a container the path can be the host's while the mount shows only the container's own part. The directories
/// on the way don't exist there, and the top of the mount is the container's cgroup.
fn least_limit(mount: &Path, path: &str, file: &str) -> Option<u64> {
    let below_mount = Path::new(path.trim_start_matches('/'));
    // A cgroup outside our namespace reads "/../…" and can't be looked at.
    let outside = below_mount.components().any(|part| part == Component::ParentDir);
    let own = if outside { Path::new("") } else { below_mount };
    own.ancestors().filter_map(|cgroup| read_limit(&mount.join(cgroup).join(file))).min()
}

/// `max` (version 2) is no limit. Version 1 writes a number near 2^63 instead, which loses against the machine's memory.
fn read_limit(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn mem_total(root: &Path) -> Option<u64> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use tempfile::TempDir;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// A root directory with these files: path and content.
    fn root(files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().unwrap();
        for (path, content) in files {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        root
    }

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        below(root(files).path())
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree:         1000 kB\n");
    const MACHINE: u64 = 16 * 1024 * MIB;

    #[test]
    fn nothing_to_read_is_no_answer() {
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&[("proc/meminfo", "MemTotal: lots\n")]), None);
    }

    #[test]
    fn without_a_cgroup_it_is_the_machine() {
        assert_eq!(limit(&[MEMINFO]), Some(MACHINE));
        assert_eq!(limit(&[MEMINFO, ("proc/self/cgroup", "0::/\n")]), Some(MACHINE));
    }

    #[test]
    fn a_container_sees_its_limit_at_the_top_of_the_mount() {
        let files = [MEMINFO, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "536870912\n")];
        assert_eq!(limit(&files), Some(512 * MIB));
    }

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "0::/system.slice/fanfare.service\n"),
            ("sys/fs/cgroup/system.slice/fanfare.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
        ];
        assert_eq!(limit(&files), Some(1024 * MIB));
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "0::/system.slice/fanfare.service\n"),
            ("sys/fs/cgroup/system.slice/fanfare.service/memory.max", "268435456\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
        ];
        assert_eq!(limit(&files), Some(256 * MIB));
    }

    #[test]
    fn version_1_and_the_mixed_layout_are_understood() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "12:cpu,cpuacct:/x\n5:memory:/docker/abc\n0::/docker/abc\n"),
            ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "268435456\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(limit(&files), Some(256 * MIB));
        // Inside the container the host's path isn't there.
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "5:memory:/docker/abc\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
        ];
        assert_eq!(limit(&files), Some(256 * MIB));
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "5:memory:/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(limit(&files), Some(MACHINE));
    }

    #[test]
    fn a_path_outside_the_namespace_is_not_followed() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "0::/../other\n"),
            ("sys/fs/other/memory.max", "1048576\n"),
            ("sys/fs/cgroup/memory.max", "536870912\n"),
        ];
        assert_eq!(limit(&files), Some(512 * MIB));
    }

    #[test]
    fn a_limit_above_the_machine_is_the_machine() {
        let files = [MEMINFO, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "99999999999999\n")];
        assert_eq!(limit(&files), Some(MACHINE));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_an_answer() {
        assert!(memory_limit_bytes().is_some_and(|bytes| bytes > MIB));
    }
}
