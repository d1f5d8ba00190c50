//! The settings of the Redis backplane, checked: nothing here is parsed later.

use std::path::PathBuf;
use std::time::Duration;

use super::server::RedisServer;
use crate::inbox::INBOX_BYTES_MAX;
use crate::keyspace::Prefix;

/// How to use a Redis. [`RedisConfig::new`] fills in the defaults.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// Where it is.
    pub server: RedisServer,
    /// What its keys and channels begin with. Default: `fanfare`.
    pub prefix: Prefix,
    /// A file that holds the password, instead of the URL's. Read at every connect, so a password can be rotated
    /// without a restart; white space around it is not part of it. Default: none.
    pub password_file: Option<PathBuf>,
    /// For `rediss://`: a PEM file with the certificates to trust instead of the system's. Read at every connect.
    /// Default: none.
    pub ca_file: Option<PathBuf>,
    /// How long making a connection may take, TLS included. Default: 2 s.
    pub connect_timeout: Duration,
    /// How long an answer may take: to the handshake, a publish, a subscription or a `PING`. Default: 2 s.
    ///
    /// A subscription connection is given up only when it was silent for this long while an answer was due: one that
    /// has much to deliver lives, and so does one that a full inbox holds back.
    pub response_timeout: Duration,
    /// How long after one `PING` the next is sent. Default: 1 s.
    pub ping_interval: Duration,
    /// The pause before the second attempt to connect; it doubles with each one. Default: 50 ms.
    pub retry_min: Duration,
    /// The longest pause between two attempts to connect. Default: 5 s.
    pub retry_max: Duration,
    /// How much may wait for the node, see `InboxLimits::bytes_max`. Default: 64 MiB.
    pub inbox_bytes_max: usize,
}

impl RedisConfig {
    /// The defaults for a server.
    pub fn new(server: RedisServer) -> RedisConfig {
        RedisConfig {
            server,
            prefix: Prefix::default(),
            password_file: None,
            ca_file: None,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(2),
            ping_interval: Duration::from_secs(1),
            retry_min: Duration::from_millis(50),
            retry_max: Duration::from_secs(5),
            inbox_bytes_max: INBOX_BYTES_MAX,
        }
    }
}
