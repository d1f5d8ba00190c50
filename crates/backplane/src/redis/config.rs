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
    /// For `rediss://`: what this node shows to a server that asks for a certificate. Default: none.
    pub client_certificate: Option<ClientCertificate>,
    /// For `redis+sentinel://`: a file that holds the password of the Sentinels, which have one of their own. Read at
    /// every connect. Default: none.
    pub sentinel_password_file: Option<PathBuf>,
    /// What this node's probes are called by. Default: none, and a random one is made.
    pub node_id: Option<String>,
    /// How long making a connection may take, TLS included. Default: 2 s.
    pub connect_timeout: Duration,
    /// How long an answer may take: to the handshake, a publish, a subscription or a `PING`. Default: 2 s.
    ///
    /// A subscription connection is given up only when it was silent for this long while an answer was due: one that
    /// has much to deliver lives, and so does one that a full inbox holds back.
    pub response_timeout: Duration,
    /// For `redis+cluster://`: how often its nodes are asked who serves which slot, though nothing hints at a change.
    /// Default: 5 s.
    pub slots_interval: Duration,
    /// How often each connection is asked for a sign of life and for its server's role. Default: 1 s.
    pub ping_interval: Duration,
    /// How often it is proved that a message published on Redis comes back. None: never, and a subscription is believed
    /// to be served. Default: 1 s.
    pub probe_interval: Option<Duration>,
    /// The pause before the second attempt to connect; it doubles with each one. Default: 50 ms.
    pub retry_min: Duration,
    /// The longest pause between two attempts to connect. Default: 5 s.
    pub retry_max: Duration,
    /// Who loads the function library. Default: the node.
    pub functions: RedisFunctions,
    /// How the library's functions are called. Default: as functions.
    pub scripting: RedisScripting,
    /// How much may wait for the node, see `InboxLimits::bytes_max`. Default: 64 MiB.
    pub inbox_bytes_max: usize,
}

/// Who loads the function library `fanfare` into a Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisFunctions {
    /// Each node does, when the library is missing or of a lower version. Its user needs `FUNCTION LOAD`.
    Load,
    /// An operator does, with `fanfare functions load`; a node only says when that is needed.
    Check,
}

/// How the functions of the library are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisScripting {
    /// As Redis functions (`FCALL`).
    Functions,
    /// As a script of the same source (`EVALSHA`), where functions are forbidden. Each call costs the server more, since
    /// a script keeps nothing from one call to the next.
    Eval,
}

/// Two PEM files, read at every connect, so that they can be renewed without a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those that lead from it to the CA that the server trusts.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

impl RedisConfig {
    /// The defaults for a server.
    pub fn new(server: RedisServer) -> RedisConfig {
        RedisConfig {
            server,
            prefix: Prefix::default(),
            password_file: None,
            ca_file: None,
            client_certificate: None,
            sentinel_password_file: None,
            node_id: None,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(2),
            slots_interval: Duration::from_secs(5),
            ping_interval: Duration::from_secs(1),
            probe_interval: Some(Duration::from_secs(1)),
            retry_min: Duration::from_millis(50),
            retry_max: Duration::from_secs(5),
            functions: RedisFunctions::Load,
            scripting: RedisScripting::Functions,
            inbox_bytes_max: INBOX_BYTES_MAX,
        }
    }
}
