//! Programs of this machine: where they are, and what version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// The first line that a program prints.
pub(crate) fn first_line(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.display().to_string())?;
    ensure!(output.status.success(), "{} {} fails ({})", program.display(), arguments.join(" "), output.status);
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned())
}

/// A program in the PATH, or where Debian keeps servers, which may be out of an ordinary user's.
pub(crate) fn find_program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let mut programs = places.map(|place| place.join(name));
    programs.find(|program| program.is_file()).with_context(|| format!("there is no {name} in the PATH"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn programs_are_found_in_the_path() {
        assert!(find_program("sh").unwrap().is_absolute());
        assert!(find_program("no-such-program-anywhere").is_err());
    }

    #[test]
    fn a_program_says_its_version_on_its_first_line() {
        assert!(first_line(&find_program("redis-server").unwrap(), &["--version"]).unwrap().contains("v="));
        assert!(first_line(&find_program("false").unwrap(), &["--version-of-nothing"]).is_err());
    }
}
