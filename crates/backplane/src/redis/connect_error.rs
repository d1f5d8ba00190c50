//! Why there is no connection, in words that name the fix. Nothing here holds a password.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use rustls::CertificateError;

use super::line::Line;
use super::secret::Secret;
use super::server::Endpoint;

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
    #[error("can't use the client certificate in {}: {error}", path.display())]
    CertificateFile { path: PathBuf, error: String },
    #[error("can't read the password file {}: {error}", path.display())]
    PasswordFile { path: PathBuf, error: io::Error },
    #[error("it answered nothing within {limit:?}: it hangs, is overloaded, or is no Redis")]
    AnswerTimeout { limit: Duration },
    #[error("it closed the connection during the handshake: is it a Redis, and does its port want TLS (rediss://)?")]
    Closed,
    /// With TLS 1.3 a server looks at the client's certificate when the client believes the connection to stand.
    #[error(
        "it ended the TLS connection during the handshake ({fault}): does it want a client certificate, or another one?"
    )]
    ClosedTls { fault: String },
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
    #[error("it is a node of a Redis Cluster: write redis+cluster://host:port,host:port")]
    Cluster,
    #[error("it is no node of a Redis Cluster: use redis:// for a single server")]
    NotCluster,
    #[error("it is a replica: a failover is under way, or this node does not know of it yet")]
    NoPrimary,
    #[error("no node of the cluster answers; are their addresses right? {}", list(.0))]
    NoMember(Vec<(String, Cause)>),
    #[error("it knows of no slot that is served: make the cluster with `redis-cli --cluster create`")]
    NoSlots,
    #[error(
        "it is a Sentinel: write redis+sentinel://host:port,host:port/name, or use the address of the server itself"
    )]
    Sentinel,
    #[error("no Sentinel answers; are their addresses right? {}", list(.0))]
    NoSentinel(Vec<(String, Cause)>),
    #[error(
        "the Sentinels know no primary `{name}`: is the name in the URL the one of `sentinel monitor`? SENTINEL MASTERS \
         lists them"
    )]
    UnknownMaster { name: String },
    #[error("it is no Sentinel: give the addresses of the Sentinels (port 26379 unless changed), or use redis://")]
    NotSentinel,
    #[error("the Sentinel wants a password: put it into the Sentinel password file")]
    SentinelPasswordNeeded,
    #[error("the Sentinel does not accept the password: correct the Sentinel password file")]
    SentinelPasswordWrong,
    #[error("the Sentinel does not allow what this user needs; grant it +sentinel with ACL SETUSER: {0}")]
    SentinelNotPermitted(String),
    #[error("the primary that Sentinel names, {endpoint}: {cause}")]
    Primary { endpoint: String, cause: Box<Cause> },
    #[error("it is a replica: a failover is under way, or this Sentinel does not know of it yet")]
    Demoted,
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

    /// What keeps TLS from being made.
    pub(super) fn from_tls(error: &io::Error) -> Cause {
        let hint = match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => ": is the CA file the one of the CA that signed the server's certificate?",
            Some(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => ": use a name in the URL that stands in the server's certificate",
            Some(rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => ": renew the server's certificate",
            Some(rustls::Error::InvalidMessage(_)) => ": does its port speak TLS?",
            _ => "",
        };
        Cause::Tls(format!("{error}{hint}"))
    }

    /// The same, with what the socket has noticed.
    pub(super) fn over(self, endpoint: &Endpoint, line: &Line) -> Cause {
        match self {
            Cause::Closed if endpoint.is_tls() => Cause::ClosedTls { fault: line.fault() },
            other => other,
        }
    }

    /// The same, told of a Sentinel.
    pub(super) fn of_sentinel(self) -> Cause {
        match self {
            Cause::PasswordNeeded => Cause::SentinelPasswordNeeded,
            Cause::PasswordWrong => Cause::SentinelPasswordWrong,
            Cause::NotPermitted(words) => Cause::SentinelNotPermitted(words),
            other => other,
        }
    }

    /// What the handshake's error means.
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

fn list(causes: &[(String, Cause)]) -> String {
    let causes: Vec<_> = causes.iter().map(|(server, cause)| format!("{server}: {cause}")).collect();
    causes.join("; ")
}

/// Redis before 6 knows no `HELLO`, and says so in one of several ways of quoting.
fn is_unknown_hello(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.starts_with("unknown command") && detail.contains("HELLO"))
}
