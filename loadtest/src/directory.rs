//! A directory among the temporary files that goes with its owner; whoever is killed leaves it behind.

use std::path::PathBuf;

use anyhow::Context as _;

pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> anyhow::Result<Directory> {
        let path = std::env::temp_dir().join(format!("fanfare-loadtest-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Directory(path))
    }

    /// Its name, for configurations.
    pub(crate) fn name(&self) -> anyhow::Result<&str> {
        self.0.to_str().context("the directory for temporary files has no UTF-8 name")
    }

    /// Writes a file into it and returns the file's name.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = format!("{}/{name}", self.name()?);
        std::fs::write(&path, text).with_context(|| format!("writing {path}"))?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn a_directory_goes_with_its_owner() {
        let directory = Directory::new().unwrap();
        let file = directory.write("a", "b").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "b");
        let path = directory.0.clone();
        drop(directory);
        assert!(!path.exists());
    }
}
