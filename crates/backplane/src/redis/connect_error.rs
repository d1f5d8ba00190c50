//! Why there is no connection, in words that name the fix. Nothing here holds a password.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::secret::Secret;

/// A failed attempt to connect.
#[derive(Debug, thiserror::Error)]
#[error("{server}: {cause}")]
pub(super) struct ConnectError {
    /// The address, without user and password.
    pub(super) server: String,
    pub(super) cause: Cause,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    #[error("can't find the host: {0}")]
    Resolve(io::Error),
    #[error("connection refused: is Redis running there, and is the port right?")]
    Refused,
    #[error("no connection within {limit:?}: are the address and the firewall right?")]
    ConnectTimeout { limit: Duration },
    #[error("can't connect: {0}")]
    Io(io::Error),
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("can't use the CA file {}: {error}", path.display())]
    CaFile { path: PathBuf, error: String },
    #[error("can't read the password file {}: {error}", path.display())]
    PasswordFile { path: PathBuf, error: io::Error },
    #[error("it answered nothing within {limit:?}: it hangs, is overloaded, or is no Redis")]
    AnswerTimeout { limit: Duration },
    #[error("it closed the connection during the handshake: is it a Redis, and does its port want TLS (rediss://)?")]
    Closed,
    #[error("it does not speak the Redis protocol: is this the address of a Redis?")]
    NotRedis,
    #[error("it wants a password: put one into the URL (redis://user:password@…) or into the password file")]
    PasswordNeeded,
    #[error("it does not accept the user name or the password: correct the URL or the password file")]
    PasswordWrong,
    #[error("it does not allow what this user needs; grant it with ACL SETUSER: {0}")]
    NotPermitted(String),
    #[error("version {version} is too old: Redis 7 or newer, or Valkey, is needed")]
    TooOld { version: String },
    #[error("it is a node of a Redis Cluster, which this version does not support yet: use a single server")]
    Cluster,
    #[error("it is a Sentinel, which this version does not support yet: use the address of the server itself")]
    Sentinel,
    #[error("it is a replica, where publishing reaches only its own subscribers: use the address of its primary")]
    Replica,
    #[error("it answered: {0}")]
    Server(String),
}

impl Cause {
    pub(super) fn from_io(error: io::Error) -> Cause {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Cause::Refused,
            _ => Cause::Io(error),
        }
    }

    /// What the handshake's error means. `fault` is what the socket noticed meanwhile, if anything.
    pub(super) fn from_handshake(error: &RedisError, password: Option<&Secret>) -> Cause {
        let words = || {
            let words = server_words(error);
            password.map_or(words.clone(), |password| password.hide_in(&words))
        };
        match (error.kind(), error.code()) {
            (_, Some("NOAUTH")) => Cause::PasswordNeeded,
            (_, Some("WRONGPASS")) => Cause::PasswordWrong,
            (ErrorKind::Server(ServerErrorKind::NoPerm), _) => Cause::NotPermitted(words()),
            (ErrorKind::RESP3NotSupported, _) => Cause::TooOld { version: "5 or older".to_owned() },
            (ErrorKind::Server(_), _) if is_unknown_hello(error) => Cause::TooOld { version: "5 or older".to_owned() },
            (ErrorKind::Server(_) | ErrorKind::Extension, _) => Cause::Server(words()),
            (ErrorKind::Io, _) => Cause::Closed,
            // A parser's error repeats what it read, so its text is left out.
            _ => Cause::NotRedis,
        }
    }
}

/// Did the server answer with an error, so that the connection is fine?
pub(super) fn is_servers(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// The server's error as it sent it: `NOPERM No permissions to access a channel`.
pub(super) fn server_words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        _ => error.to_string(),
    }
}

/// Redis before 6 knows no `HELLO`, and says so in one of several ways of quoting.
fn is_unknown_hello(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.starts_with("unknown command") && detail.contains("HELLO"))
}
