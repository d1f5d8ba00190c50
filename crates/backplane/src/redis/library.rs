//! The function library `fanfare` on a server: loads it when it is missing or older, and calls its functions, as functions
//! or as a script of the same source. Deliberately blind to what a function answers.

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, ToRedisArgs};
use sha1::{Digest, Sha1};
use tokio::sync::Mutex;

use super::config::{RedisConfig, RedisFunctions, RedisScripting};
use super::connect_error::{is_servers, server_words};

/// The version of the library in this build; the source says the same.
pub(super) const VERSION: u64 = 2;

const NEVER_LOOKED: u64 = u64::MAX;

/// The library as it is loaded. Its first line makes it a library, and is no Lua.
const SOURCE: &str = include_str!("fanfare.lua");

/// The same as a script.
static SCRIPT: LazyLock<&str> = LazyLock::new(|| SOURCE.split_once('\n').map_or(SOURCE, |(_, script)| script));

static SCRIPT_SHA: LazyLock<String> = LazyLock::new(|| {
    Sha1::digest(SCRIPT.as_bytes()).iter().fold(String::with_capacity(40), |mut sha, byte| {
        // Writing to a string can't fail.
        let _ = write!(sha, "{byte:02x}");
        sha
    })
});

/// How the library gets onto a server, and how it is called there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Functions {
    /// As functions; loaded by us.
    Load,
    /// As functions; loaded by somebody else.
    Check,
    /// As a script.
    Eval,
}

/// The library, for all connections of a node.
#[derive(Debug)]
pub(super) struct Library {
    functions: Functions,
    /// The version that was last seen on the server, 0 when it was missing; [`NEVER_LOOKED`] before the first look.
    seen: AtomicU64,
    /// How often it has been made sure of.
    rounds: AtomicU64,
    /// Held meanwhile, so that of many calls that find the library gone one brings it back and the others wait for it.
    ensuring: Mutex<()>,
}

/// Why a function gave no answer.
#[derive(Debug)]
pub(super) enum CallError {
    /// The server's words and what to do about them.
    Refused(String),
    /// The connection broke, or did not answer in time.
    Broken(RedisError),
}

impl Library {
    pub(super) fn new(config: &RedisConfig) -> Library {
        let functions = match (config.scripting, config.functions) {
            (RedisScripting::Eval, _) => Functions::Eval,
            (RedisScripting::Functions, RedisFunctions::Load) => Functions::Load,
            (RedisScripting::Functions, RedisFunctions::Check) => Functions::Check,
        };
        Library { functions, seen: AtomicU64::new(NEVER_LOOKED), rounds: AtomicU64::new(0), ensuring: Mutex::default() }
    }

    /// The command that calls a function. Its arguments are to be appended.
    pub(super) fn command(&self, function: &str, keys: &[impl ToRedisArgs]) -> Cmd {
        let mut command;
        if self.functions == Functions::Eval {
            command = redis::cmd("EVALSHA");
            command.arg(&*SCRIPT_SHA).arg(keys.len()).arg(keys).arg(function);
        } else {
            command = redis::cmd("FCALL");
            command.arg(function).arg(keys.len()).arg(keys);
        }
        command
    }

    /// Calls. When the library has vanished (`FUNCTION FLUSH`, `SCRIPT FLUSH`, a server that was replaced), brings it back
    /// and calls once more: then nothing has happened yet.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        command: &Cmd,
    ) -> Result<T, CallError> {
        let round = self.rounds.load(Ordering::Acquire);
        match command.query_async(connection).await {
            Err(error) if is_missing(&error) => {
                self.bring_back(connection, round).await?;
                Ok(command.query_async(connection).await?)
            }
            answer => Ok(answer?),
        }
    }

    /// Makes sure that a server has the library, in a version that is not lower than ours.
    /// Returns the version that is there.
    pub(super) async fn prepare(&self, connection: &mut MultiplexedConnection) -> Result<u64, CallError> {
        let _ensuring = self.ensuring.lock().await;
        self.ensure(connection).await
    }

    /// Looks at what is loaded, and where that is ours to do, brings the library back when it has vanished or somebody has
    /// put an older one in its place: backends call it too, and can't.
    pub(super) async fn keep(&self, connection: &mut MultiplexedConnection) -> Result<(), CallError> {
        if self.functions == Functions::Eval {
            return Ok(());
        }
        let is_there = self.loaded_version(connection).await?.is_some_and(|version| version >= VERSION);
        if is_there || self.functions == Functions::Check { Ok(()) } else { self.prepare(connection).await.map(drop) }
    }

    /// The version that was last seen on the server, 0 when it was missing. None before the first look, and as a script,
    /// which is ours whatever is loaded.
    pub(super) fn seen_version(&self) -> Option<u64> {
        Some(self.seen.load(Ordering::Relaxed)).filter(|&seen| seen != NEVER_LOOKED)
    }

    async fn bring_back(&self, connection: &mut MultiplexedConnection, round: u64) -> Result<(), CallError> {
        let _ensuring = self.ensuring.lock().await;
        if self.rounds.load(Ordering::Acquire) == round {
            self.ensure(connection).await?;
        }
        Ok(())
    }

    async fn ensure(&self, connection: &mut MultiplexedConnection) -> Result<u64, CallError> {
        let version = self.load_unless_there(connection).await?;
        self.rounds.fetch_add(1, Ordering::Release);
        Ok(version)
    }

    async fn load_unless_there(&self, connection: &mut MultiplexedConnection) -> Result<u64, CallError> {
        if self.functions == Functions::Eval {
            redis::cmd("SCRIPT").arg("LOAD").arg(*SCRIPT).exec_async(connection).await?;
            return Ok(VERSION);
        }
        let found = self.loaded_version(connection).await?;
        if let Some(version) = found.filter(|&version| version >= VERSION) {
            return Ok(version);
        }
        if self.functions == Functions::Check {
            return Err(CallError::Refused(missing_words(found)));
        }
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD");
        if found.is_some() {
            load.arg("REPLACE");
        }
        let loaded = load.arg(SOURCE).exec_async(connection).await;
        // Whoever was faster may have loaded the same, or a newer one.
        match (self.loaded_version(connection).await?, loaded) {
            (Some(version), _) if version >= VERSION => {
                tracing::info!(version, "the function library is loaded");
                Ok(version)
            }
            (_, Err(error)) => Err(not_loaded(error)),
            (found, Ok(())) => Err(CallError::Refused(missing_words(found))),
        }
    }

    /// None when it is missing.
    pub(super) async fn loaded_version(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Option<u64>, CallError> {
        let none: [&str; 0] = [];
        let version = match self.command("fanfare_version", &none).query_async(connection).await {
            Ok(version) => Some(version),
            Err(error) if is_missing(&error) => None,
            Err(error) => return Err(error.into()),
        };
        self.seen.store(version.unwrap_or(0), Ordering::Relaxed);
        Ok(version)
    }
}

impl From<RedisError> for CallError {
    fn from(error: RedisError) -> CallError {
        if is_servers(&error) { CallError::Refused(words(&error)) } else { CallError::Broken(error) }
    }
}

fn missing_words(found: Option<u64>) -> String {
    let state = match found {
        None => "the function library `fanfare` is not loaded".to_owned(),
        Some(version) => {
            format!("version {version} of the function library `fanfare` is loaded, and {VERSION} is needed")
        }
    };
    format!("{state}: run `fanfare functions load`, or let nodes do it with FANFARE_REDIS_FUNCTIONS=load")
}

fn not_loaded(error: RedisError) -> CallError {
    if !is_servers(&error) {
        return CallError::Broken(error);
    }
    let words = server_words(&error);
    let fix = if is_denied(&error) {
        "grant it with ACL SETUSER (+function|load), or run `fanfare functions load` as a user who may and set \
         FANFARE_REDIS_FUNCTIONS=check"
    } else if words.contains("already exists") {
        "its names are taken by another library, and they are global to a Redis: remove that one with FUNCTION DELETE, or \
         use another Redis"
    } else {
        return CallError::Refused(self::words(&error));
    };
    CallError::Refused(format!("{words}: can't load the function library `fanfare`: {fix}"))
}

fn is_missing(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoScript) => true,
        ErrorKind::Server(_) => error.detail().is_some_and(|detail| detail.starts_with("Function not found")),
        _ => false,
    }
}

fn is_denied(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
}

/// The server's words without where in the source they arose, and what to do about them.
fn words(error: &RedisError) -> String {
    let words = server_words(error);
    let words = words.split(" script: ").next().unwrap_or_default();
    let fix = match error.code() {
        Some("OOM") => {
            "Redis is full (maxmemory), so it keeps no durable events, though ephemeral ones pass: give it more memory, or \
             keep less (maxlen, ttl)"
        }
        Some("MISCONF") => "Redis can't write its snapshot to disk and takes no writes: see its log, and free the disk",
        Some("READONLY") => "it is a replica: use the address of its primary",
        Some("LOADING") => "Redis has just started; it takes events as soon as its data is loaded",
        Some("NOREPLICAS") => "too few replicas are connected (min-replicas-to-write): bring them back",
        Some("NOPERM") if !words.contains("ACL SETUSER") => "grant it with ACL SETUSER",
        _ if words.contains("The user executing the script can't") => "grant it with ACL SETUSER",
        _ if words.contains("unknown command") && words.contains("EVALSHA") => "this Redis allows no scripts",
        _ if words.contains("unknown command") => {
            "this Redis allows no functions: use scripts instead, with FANFARE_REDIS_SCRIPTING=eval"
        }
        _ => return words.to_owned(),
    };
    format!("{words}: {fix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_and_the_build_agree_on_the_version() {
        let line = format!("\nlocal VERSION = {VERSION}\n");
        assert!(SOURCE.contains(&line));
    }

    #[test]
    fn the_script_is_the_source_without_its_first_line() {
        assert!(SOURCE.starts_with("#!lua name=fanfare\n"));
        assert_eq!(format!("#!lua name=fanfare\n{}", *SCRIPT), SOURCE);
        assert_eq!(SCRIPT_SHA.len(), 40);
    }
}
