//! The address of a Redis, from a URL. Deliberately no connecting, and no text in an error that could hold a password.

use std::fmt;
use std::path::PathBuf;

use redis::{IntoConnectionInfo, RedisConnectionInfo};
use url::Url;

use super::secret::Secret;

const PORT_DEFAULT: u16 = 6379;
const SENTINEL_PORT_DEFAULT: u16 = 26_379;

/// A Redis server and how to log in. Neither `Debug` nor `Display` shows the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisServer {
    pub(super) address: Address,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) database: u32,
}

/// How the server is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// It is always there.
    Fixed(Endpoint),
    /// The Sentinels know.
    Sentinel(Sentinels),
    /// Some nodes of a cluster, at least one, which know all others.
    Cluster(Vec<Endpoint>),
    /// A primary of a cluster.
    Primary(Endpoint),
    /// A node of a cluster, whichever role it has.
    Member(Endpoint),
}

/// What a socket connects to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Endpoint {
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16 },
    Unix(PathBuf),
}

/// Who to ask, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sentinels {
    /// At least one.
    pub(super) endpoints: Vec<Endpoint>,
    /// What they call the group of a primary and its replicas.
    pub(super) name: String,
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
    #[error("`{scheme}://` is no Redis: use redis://, rediss:// (TLS), redis+sentinel://, redis+cluster:// or unix://")]
    UnknownScheme {
        /// What stands before the `:`.
        scheme: String,
    },
    /// A cluster has one database, and nodes are all that stands in its URL.
    #[error(
        "what follows the nodes is nothing that a cluster has: it has one database only; write \
         redis+cluster://host:port,host:port"
    )]
    ClusterPath,
    /// No host, or one that can only be listened on.
    #[error("the URL names no host to connect to: write redis://host[:port]")]
    NoHost,
    /// No name that a Sentinel could know.
    #[error(
        "the URL names no primary that Sentinel watches: write redis+sentinel://host:port,host:port/name[/database], with \
         the name of `sentinel monitor`"
    )]
    NoMaster,
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
    /// Takes `redis://[user:password@]host[:port][/database]`, the same with `rediss://` for TLS, `unix:///path`, or
    /// `redis+sentinel://[user:password@]host[:port],host[:port]/name[/database]` (`rediss+sentinel://` for TLS to both
    /// Sentinels and servers), where user and password are for the server, or
    /// `redis+cluster://[user:password@]host[:port],host[:port]` (`rediss+cluster://` for TLS) with some nodes of a cluster.
    pub fn parse(text: &str) -> Result<RedisServer, RedisUrlError> {
        // Before the parser, to which a list of hosts is a bad port.
        match text.split_once("://") {
            Some(("redis+sentinel", rest)) => return parse_sentinel(rest, false),
            Some(("rediss+sentinel", rest)) => return parse_sentinel(rest, true),
            Some(("redis+cluster", rest)) => return parse_cluster(rest, false),
            Some(("rediss+cluster", rest)) => return parse_cluster(rest, true),
            _ => {}
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
            let address = Address::Fixed(Endpoint::Unix(path.ok_or(RedisUrlError::NoPath)?));
            return Ok(RedisServer { address, username: None, password: None, database: 0 });
        }
        let host = host_of(&url)?;
        let database = parse_database(url.path().trim_matches('/'))?;
        let endpoint = Endpoint::new(host, url.port().unwrap_or(PORT_DEFAULT), scheme == "rediss");
        let (username, password) = credentials(url)?;
        Ok(RedisServer { address: Address::Fixed(endpoint), username, password, database })
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

impl Endpoint {
    pub(super) fn new(host: String, port: u16, is_tls: bool) -> Endpoint {
        if is_tls { Endpoint::Tls { host, port } } else { Endpoint::Tcp { host, port } }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Endpoint::Tls { .. })
    }

    /// `host:port`.
    pub(super) fn authority(&self) -> String {
        match self {
            Endpoint::Tcp { host, port } | Endpoint::Tls { host, port } if host.contains(':') => {
                format!("[{host}]:{port}")
            }
            Endpoint::Tcp { host, port } | Endpoint::Tls { host, port } => format!("{host}:{port}"),
            Endpoint::Unix(path) => path.display().to_string(),
        }
    }
}

/// Takes what follows `redis+cluster://`.
fn parse_cluster(rest: &str, is_tls: bool) -> Result<RedisServer, RedisUrlError> {
    if rest.contains(['?', '#']) {
        return Err(RedisUrlError::Options);
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !["", "0"].contains(&path.trim_end_matches('/')) {
        return Err(RedisUrlError::ClusterPath);
    }
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let address = Address::Cluster(endpoints(hosts, PORT_DEFAULT, is_tls)?);
    let (username, password) = credentials(Url::parse(&format!("redis://{login}@localhost"))?)?;
    Ok(RedisServer { address, username, password, database: 0 })
}

/// `host[:port],host[:port]`
fn endpoints(hosts: &str, port_default: u16, is_tls: bool) -> Result<Vec<Endpoint>, RedisUrlError> {
    let endpoints = hosts.split(',').map(|host| {
        let url = Url::parse(&format!("redis://{host}"))?;
        Ok(Endpoint::new(host_of(&url)?, url.port().unwrap_or(port_default), is_tls))
    });
    endpoints.collect()
}

/// Takes what follows `redis+sentinel://`.
fn parse_sentinel(rest: &str, is_tls: bool) -> Result<RedisServer, RedisUrlError> {
    if rest.contains(['?', '#']) {
        return Err(RedisUrlError::Options);
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
    let endpoints = endpoints(hosts, SENTINEL_PORT_DEFAULT, is_tls)?;
    let (name, database) = path.trim_end_matches('/').split_once('/').unwrap_or((path.trim_end_matches('/'), ""));
    // What Sentinel itself allows in a name.
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return Err(RedisUrlError::NoMaster);
    }
    let database = parse_database(database)?;
    let (username, password) = credentials(Url::parse(&format!("redis://{login}@localhost"))?)?;
    let address = Address::Sentinel(Sentinels { endpoints, name: name.to_owned() });
    Ok(RedisServer { address, username, password, database })
}

fn host_of(url: &Url) -> Result<String, RedisUrlError> {
    let host = match url.host().ok_or(RedisUrlError::NoHost)? {
        url::Host::Domain(name) => name.to_owned(),
        url::Host::Ipv4(address) => address.to_string(),
        url::Host::Ipv6(address) => address.to_string(),
    };
    if host.is_empty() || host == "0.0.0.0" || host == "::" { Err(RedisUrlError::NoHost) } else { Ok(host) }
}

fn parse_database(text: &str) -> Result<u32, RedisUrlError> {
    if text.is_empty() { Ok(0) } else { text.parse().map_err(|_| RedisUrlError::Database) }
}

/// User name and password of a `redis://` or `rediss://` URL.
fn credentials(url: Url) -> Result<(Option<String>, Option<Secret>), RedisUrlError> {
    let decoded = url.into_connection_info().map_err(|_| RedisUrlError::Credentials)?;
    let settings = decoded.redis_settings();
    Ok((settings.username().map(str::to_owned), settings.password().map(Secret::new)))
}

impl fmt::Display for RedisServer {
    /// The URL without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Fixed(endpoint) | Address::Primary(endpoint) | Address::Member(endpoint) => {
                write!(f, "{endpoint}")?;
            }
            Address::Cluster(nodes) => {
                let scheme = if nodes.iter().any(Endpoint::is_tls) { "rediss" } else { "redis" };
                let authorities: Vec<_> = nodes.iter().map(Endpoint::authority).collect();
                write!(f, "{scheme}+cluster://{}", authorities.join(","))?;
            }
            Address::Sentinel(sentinels) => write!(f, "{sentinels}")?,
        }
        if self.database == 0 { Ok(()) } else { write!(f, "/{}", self.database) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { .. } => write!(f, "redis://{}", self.authority()),
            Endpoint::Tls { .. } => write!(f, "rediss://{}", self.authority()),
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.endpoints.iter().any(Endpoint::is_tls) { "rediss" } else { "redis" };
        let authorities: Vec<_> = self.endpoints.iter().map(Endpoint::authority).collect();
        write!(f, "{scheme}+sentinel://{}/{}", authorities.join(","), self.name)
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
    fn takes_a_list_of_sentinels_and_a_name() {
        assert_eq!(shown("redis+sentinel://a:7000,b,[::1]:1/main"), "redis+sentinel://a:7000,b:26379,[::1]:1/main");
        assert_eq!(shown("redis+sentinel://a/my-main.1/3"), "redis+sentinel://a:26379/my-main.1/3");
        assert_eq!(shown("redis+sentinel://a/main/"), "redis+sentinel://a:26379/main");
        assert_eq!(shown("rediss+sentinel://a,b/main"), "rediss+sentinel://a:26379,b:26379/main");
        let server = RedisServer::parse("redis+sentinel://node:p%40ss@a:1,b:2/main").unwrap();
        assert_eq!(server.username.as_deref(), Some("node"));
        assert_eq!(server.password.as_ref().map(Secret::reveal), Some("p@ss"));
        assert!(!format!("{server} {server:?}").contains("p@ss"));
    }

    #[test]
    fn says_what_is_wrong_with_a_list_of_sentinels() {
        for url in ["redis+sentinel://a:1,b:2", "redis+sentinel://a:1/", "redis+sentinel://a:1/my%20main"] {
            assert_eq!(refused(url), RedisUrlError::NoMaster, "{url}");
        }
        assert_eq!(refused("redis+sentinel://a:1/main/x"), RedisUrlError::Database);
        assert_eq!(refused("redis+sentinel://a:1/main?db=3"), RedisUrlError::Options);
        assert_eq!(refused("redis+sentinel://a:1,,b:2/main"), RedisUrlError::NoHost);
        assert_eq!(refused("redis+sentinel://0.0.0.0/main"), RedisUrlError::NoHost);
        for url in [
            "redis+sentinel://:hunter2@/main",
            "redis+sentinel://:hunter2/x@a/main",
            "redis+sentinel://:hunter2@a:b/main",
        ] {
            let error = refused(url);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
        }
    }

    #[test]
    fn takes_a_list_of_nodes_of_a_cluster() {
        assert_eq!(shown("redis+cluster://a:7000,b,[::1]:1"), "redis+cluster://a:7000,b:6379,[::1]:1");
        assert_eq!(shown("rediss+cluster://a/"), "rediss+cluster://a:6379");
        assert_eq!(shown("redis+cluster://a/0"), "redis+cluster://a:6379");
        let server = RedisServer::parse("redis+cluster://node:p%40ss@a:1,b:2").unwrap();
        assert_eq!(server.username.as_deref(), Some("node"));
        assert_eq!(server.password.as_ref().map(Secret::reveal), Some("p@ss"));
        assert!(!format!("{server} {server:?}").contains("p@ss"));
        for url in ["redis+cluster://a:1/3", "redis+cluster://a:1/main"] {
            assert_eq!(refused(url), RedisUrlError::ClusterPath, "{url}");
        }
        assert_eq!(refused("redis+cluster://a:1?x=1"), RedisUrlError::Options);
        assert_eq!(refused("redis+cluster://a:1,,b:2"), RedisUrlError::NoHost);
        assert!(!format!("{:?}", refused("redis+cluster://:hunter2@a:b")).contains("hunter2"));
    }
}
