//! The address of a Redis, from a URL. Deliberately no connecting, and no text in an error that could hold a password.

use std::fmt;
use std::path::PathBuf;

use redis::{IntoConnectionInfo, RedisConnectionInfo};
use url::Url;

use super::secret::Secret;

const PORT_DEFAULT: u16 = 6379;

/// A Redis server and how to log in. Neither `Debug` nor `Display` shows the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisServer {
    pub(super) address: Address,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) database: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16 },
    Unix(PathBuf),
}

/// Why a text is no address of a Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// No URL at all.
    #[error(
        "not a URL ({0}): write redis://[user:password@]host[:port][/database], \
         with special characters in the password percent-encoded"
    )]
    NotAUrl(#[from] url::ParseError),
    /// A URL of something else.
    #[error("`{scheme}://` is no Redis: use redis://, rediss:// (TLS) or unix://")]
    UnknownScheme {
        /// What stands before the `:`.
        scheme: String,
    },
    /// A kind of Redis that this version can't use.
    #[error(
        "`{scheme}://` is not supported by this version yet: use redis:// or rediss:// with the address of one server"
    )]
    NotSupportedYet {
        /// What stands before the `://`.
        scheme: String,
    },
    /// No host, or one that can only be listened on.
    #[error("the URL names no host to connect to: write redis://host[:port]")]
    NoHost,
    /// No path of a socket.
    #[error("the URL names no socket: write unix:///path/to/redis.sock")]
    NoPath,
    /// The path is not the number of a database.
    #[error("what follows the host is no database number: write redis://host[:port]/0")]
    Database,
    /// User name or password decode to something else than UTF-8.
    #[error("the user name or the password is not UTF-8 after percent-decoding")]
    Credentials,
    /// Something after `?` or `#`.
    #[error("the URL has options after `?` or `#`, and there are none")]
    Options,
}

impl RedisServer {
    /// Takes `redis://[user:password@]host[:port][/database]`, the same with `rediss://` for TLS, or `unix:///path`.
    pub fn parse(text: &str) -> Result<RedisServer, RedisUrlError> {
        // Before the parser, to which a list of hosts is a bad port.
        if let Some((scheme @ ("redis+sentinel" | "redis+cluster"), _)) = text.split_once("://") {
            return Err(RedisUrlError::NotSupportedYet { scheme: scheme.to_owned() });
        }
        let url = Url::parse(text)?;
        let scheme = url.scheme().to_owned();
        if !["redis", "rediss", "unix"].contains(&url.scheme()) {
            return Err(RedisUrlError::UnknownScheme { scheme });
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(RedisUrlError::Options);
        }
        if scheme == "unix" {
            let path = url.to_file_path().ok().filter(|path| path.parent().is_some());
            let address = Address::Unix(path.ok_or(RedisUrlError::NoPath)?);
            return Ok(RedisServer { address, username: None, password: None, database: 0 });
        }
        let host = match url.host().ok_or(RedisUrlError::NoHost)? {
            url::Host::Domain(name) => name.to_owned(),
            url::Host::Ipv4(address) => address.to_string(),
            url::Host::Ipv6(address) => address.to_string(),
        };
        if host.is_empty() || host == "0.0.0.0" || host == "::" {
            return Err(RedisUrlError::NoHost);
        }
        let port = url.port().unwrap_or(PORT_DEFAULT);
        let database = match url.path().trim_matches('/') {
            "" => 0,
            number => number.parse().map_err(|_| RedisUrlError::Database)?,
        };
        let address = if scheme == "rediss" { Address::Tls { host, port } } else { Address::Tcp { host, port } };
        let decoded = url.into_connection_info().map_err(|_| RedisUrlError::Credentials)?;
        Ok(RedisServer {
            address,
            username: decoded.redis_settings().username().map(str::to_owned),
            password: decoded.redis_settings().password().map(Secret::new),
            database,
        })
    }

    /// What the handshake sends: RESP3, the user, the password (from the file when there is one), the database.
    pub(super) fn login(&self, password: Option<&Secret>) -> RedisConnectionInfo {
        let mut login = RedisConnectionInfo::default()
            .set_protocol(redis::ProtocolVersion::RESP3)
            .set_lib_name("fanfare", env!("CARGO_PKG_VERSION"))
            .set_db(i64::from(self.database));
        if let Some(username) = &self.username {
            login = login.set_username(username);
        }
        if let Some(password) = password {
            login = login.set_password(password.reveal());
        }
        login
    }
}

impl fmt::Display for RedisServer {
    /// The URL without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match &self.address {
            Address::Tcp { host, port } => ("redis", host, port),
            Address::Tls { host, port } => ("rediss", host, port),
            Address::Unix(path) => return write!(f, "unix://{}", path.display()),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")?;
        } else {
            write!(f, "{scheme}://{host}:{port}")?;
        }
        if self.database == 0 { Ok(()) } else { write!(f, "/{}", self.database) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn shown(url: &str) -> String {
        RedisServer::parse(url).unwrap().to_string()
    }

    fn refused(url: &str) -> RedisUrlError {
        RedisServer::parse(url).unwrap_err()
    }

    #[test]
    fn takes_the_usual_urls() {
        assert_eq!(shown("redis://localhost"), "redis://localhost:6379");
        assert_eq!(shown("redis://127.0.0.1:7000/3"), "redis://127.0.0.1:7000/3");
        assert_eq!(shown("rediss://cache.example.com"), "rediss://cache.example.com:6379");
        assert_eq!(shown("redis://[::1]:7000"), "redis://[::1]:7000");
        assert_eq!(shown("unix:///run/redis.sock"), "unix:///run/redis.sock");
    }

    #[test]
    fn decodes_user_and_password() {
        let server = RedisServer::parse("redis://node:p%40ss%2Fword@localhost").unwrap();
        assert_eq!(server.username.as_deref(), Some("node"));
        assert_eq!(server.password.as_ref().map(Secret::reveal), Some("p@ss/word"));
        let server = RedisServer::parse("redis://:word@localhost").unwrap();
        assert_eq!((server.username, server.password), (None, Some(Secret::new("word"))));
    }

    #[test]
    fn never_shows_the_password() {
        let server = RedisServer::parse("redis://node:hunter2@localhost").unwrap();
        assert!(!format!("{server} {server:?}").contains("hunter2"));
        let login = server.login(server.password.as_ref());
        assert!(!format!("{login:?}").contains("hunter2"));
        for url in
            ["redis://:hunter2@", "redis://:hunter2@host/db", "redis://:hunter2@host:port", "http://:hunter2@host"]
        {
            let error = refused(url);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_url() {
        assert!(matches!(refused("localhost"), RedisUrlError::NotAUrl(_)));
        assert_eq!(refused("localhost:6379"), RedisUrlError::UnknownScheme { scheme: "localhost".to_owned() });
        assert_eq!(refused("http://localhost"), RedisUrlError::UnknownScheme { scheme: "http".to_owned() });
        assert_eq!(refused("redis://host:99999"), RedisUrlError::NotAUrl(url::ParseError::InvalidPort));
        assert_eq!(refused("redis:///0"), RedisUrlError::NoHost);
        assert_eq!(refused("redis://0.0.0.0"), RedisUrlError::NoHost);
        assert_eq!(refused("redis://host/x"), RedisUrlError::Database);
        assert_eq!(refused("redis://host/-1"), RedisUrlError::Database);
        assert_eq!(refused("redis://host?protocol=resp2"), RedisUrlError::Options);
        assert_eq!(refused("rediss://host/#insecure"), RedisUrlError::Options);
        assert_eq!(refused("redis://a:%ff@host"), RedisUrlError::Credentials);
        assert_eq!(refused("unix://"), RedisUrlError::NoPath);
    }

    #[test]
    fn says_that_sentinel_and_cluster_are_not_there_yet() {
        for scheme in ["redis+sentinel", "redis+cluster"] {
            let error = refused(&format!("{scheme}://a:1,b:2/main"));
            assert!(error.to_string().contains("not supported by this version yet"), "{error}");
        }
    }
}
