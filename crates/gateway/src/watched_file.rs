//! Files that may change while the node runs: read at start, looked at again and again, and parsed when they differ.
//!
//! It polls: notifications of the kernel miss the swapped symbolic links of Kubernetes volumes, and files on a network.
//! Deliberately no callback: whoever needs the content loads the current one.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::io::AsyncReadExt as _;
use tokio::time::MissedTickBehavior;

/// The parsed content of one or several files. The task that looks at them ends when the last handle is dropped.
#[derive(Debug)]
pub struct WatchedFile<T> {
    current: ArcSwap<T>,
}

/// A file can't be used: an error at start, a line in the log later.
#[derive(Debug, Error)]
#[error("{}: {problem}", paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
pub struct WatchedFileError {
    /// The files, as they were named.
    pub paths: Vec<PathBuf>,
    /// What is wrong.
    pub problem: String,
}

/// Files of keys and certificates are small; a larger one is a mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl<T: Send + Sync + 'static> WatchedFile<T> {
    /// Reads and parses `paths` now, and again every `interval` when the bytes of any of them have changed.
    ///
    /// `parse` gets the bytes of each file in the order of `paths`. When it refuses them later, or a file can't be read,
    /// the last good content stays and an error is logged, once for each change.
    pub async fn spawn<P, E>(paths: Vec<PathBuf>, interval: Duration, parse: P) -> Result<Arc<Self>, WatchedFileError>
    where
        P: Fn(&[Vec<u8>]) -> Result<T, E> + Send + 'static,
        E: Display + 'static,
    {
        let bytes = read_all(&paths).await.map_err(|problem| WatchedFileError { paths: paths.clone(), problem })?;
        let content =
            parse(&bytes).map_err(|error| WatchedFileError { paths: paths.clone(), problem: error.to_string() })?;
        let watched = Arc::new(Self { current: ArcSwap::from_pointee(content) });
        tokio::spawn(watch(Arc::downgrade(&watched), paths, interval, Ok(bytes), parse));
        Ok(watched)
    }

    /// The last content that could be parsed.
    pub fn load(&self) -> Arc<T> {
        self.current.load_full()
    }
}

/// What was last seen of the files: their bytes, or why they could not be read.
type Seen = Result<Vec<Vec<u8>>, String>;

async fn watch<T, P, E>(watched: Weak<WatchedFile<T>>, paths: Vec<PathBuf>, interval: Duration, first: Seen, parse: P)
where
    P: Fn(&[Vec<u8>]) -> Result<T, E>,
    E: Display + 'static,
{
    let mut seen = first;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = read_all(&paths).await;
        let Some(watched) = watched.upgrade() else {
            return;
        };
        if now == seen {
            continue;
        }
        let files = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        let parsed = now.as_ref().map_err(Clone::clone);
        match parsed.and_then(|bytes| parse(bytes).map_err(|error| error.to_string())) {
            Ok(content) => {
                watched.current.store(Arc::new(content));
                tracing::info!(files, "file changed, read again");
            }
            Err(error) => tracing::error!(files, error, "file changed and can't be used, the old content stays"),
        }
        seen = now;
    }
}

async fn read_all(paths: &[PathBuf]) -> Seen {
    let mut all = Vec::with_capacity(paths.len());
    for path in paths {
        all.push(read(path).await.map_err(|error| format!("can't read {}: {error}", path.display()))?);
    }
    Ok(all)
}

async fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    tokio::fs::File::open(path).await?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(5);

    fn number(bytes: &[Vec<u8>]) -> Result<u32, String> {
        let text = bytes.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect::<String>();
        text.trim().parse().map_err(|_| format!("{text:?} is no number"))
    }

    async fn until(condition: impl Fn() -> bool) {
        let wait = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("the condition holds within 10 s");
    }

    #[tokio::test]
    async fn a_changed_file_is_seen_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        fs::write(&path, "1").unwrap();
        let tries = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&tries);
        let watched = WatchedFile::spawn(vec![path.clone()], INTERVAL, move |bytes| {
            count.fetch_add(1, Ordering::SeqCst);
            number(bytes)
        })
        .await
        .unwrap();
        assert_eq!(*watched.load(), 1);

        fs::write(&path, "bad").unwrap();
        until(|| tries.load(Ordering::SeqCst) >= 2).await;
        assert_eq!(*watched.load(), 1);

        fs::remove_file(&path).unwrap();
        fs::write(&path, "3").unwrap();
        until(|| *watched.load() == 3).await;
    }

    #[tokio::test]
    async fn a_swapped_symbolic_link_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("v1", "1"), ("v2", "2")] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("number"), text).unwrap();
        }
        // As the kubelet does it: a link to a directory is replaced in one step, the file below it keeps its own link.
        std::os::unix::fs::symlink("v1", dir.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/number", dir.path().join("number")).unwrap();
        let watched = WatchedFile::spawn(vec![dir.path().join("number")], INTERVAL, number).await.unwrap();
        assert_eq!(*watched.load(), 1);
        std::os::unix::fs::symlink("v2", dir.path().join("..next")).unwrap();
        fs::rename(dir.path().join("..next"), dir.path().join("..data")).unwrap();
        until(|| *watched.load() == 2).await;
    }

    #[tokio::test]
    async fn several_files_are_parsed_together() {
        let dir = tempfile::tempdir().unwrap();
        let paths = vec![dir.path().join("a"), dir.path().join("b")];
        fs::write(&paths[0], "1").unwrap();
        fs::write(&paths[1], "2").unwrap();
        let watched = WatchedFile::spawn(paths.clone(), INTERVAL, number).await.unwrap();
        assert_eq!(*watched.load(), 12);
        fs::write(&paths[1], "3").unwrap();
        until(|| *watched.load() == 13).await;
    }

    #[tokio::test]
    async fn at_start_a_missing_or_bad_or_huge_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        let error = WatchedFile::spawn(vec![path.clone()], INTERVAL, number).await.unwrap_err();
        assert!(error.to_string().contains(&format!("can't read {}", path.display())), "{error}");
        fs::write(&path, "bad").unwrap();
        let error = WatchedFile::spawn(vec![path.clone()], INTERVAL, number).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{}: \"bad\" is no number", path.display()));
        fs::write(&path, vec![b'1'; 1 << 21]).unwrap();
        let error = WatchedFile::spawn(vec![path.clone()], INTERVAL, number).await.unwrap_err();
        assert!(error.to_string().contains("larger than 1048576 bytes"), "{error}");
    }

    #[tokio::test]
    async fn the_task_ends_with_the_last_handle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        fs::write(&path, "1").unwrap();
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let watched = WatchedFile::spawn(vec![path], INTERVAL, move |bytes| {
            assert!(Arc::strong_count(&held) > 0);
            number(bytes)
        })
        .await
        .unwrap();
        assert_eq!(Arc::strong_count(&alive), 2);
        drop(watched);
        until(|| Arc::strong_count(&alive) == 1).await;
    }
}
