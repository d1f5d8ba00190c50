//! Where Redis is, by its URL: one server, the primary that Sentinels know, or a cluster. Deliberately no connection; and no
//! error here repeats the URL, which may have a password in it.

use std::fmt;
use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError, TlsMode};
use url::Url;

const PORT_DEFAULT: u16 = 6379;
const SENTINEL_PORT_DEFAULT: u16 = 26379;

/// Why a text is no address of a Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It has another form.
    #[error(
        "not the address of a Redis: write redis://[user:password@]host[:port][/database] (rediss:// for TLS), \
         redis+cluster://host:port,host:port, redis+sentinel://host:port,host:port/name or unix:///path, with special \
         characters in the password percent-encoded"
    )]
    Form,
    /// No name that a Sentinel could know.
    #[error("the address names no primary that Sentinel watches: write redis+sentinel://host:port,host:port/name")]
    NoPrimaryName,
    /// The Redis library does not take it.
    #[error("not the address of a Redis: {0}")]
    Refused(String),
}

/// What connections are made from.
pub(crate) enum Source {
    Server(Box<Client>),
    Sentinel(Box<SentinelClient>),
    Cluster(Box<ClusterClient>),
}

/// `[user:password@]host[:port],host[:port]`, taken apart.
struct Hosts<'a> {
    login: &'a str,
    each: Vec<&'a str>,
    is_tls: bool,
}

impl Source {
    /// Takes a URL. A cluster's connection wants to know beforehand how long it may take.
    pub(crate) fn parse(url: &str, connect_timeout: Duration, timeout: Duration) -> Result<Source, AddressError> {
        install_crypto();
        let (scheme, rest) = url.split_once("://").ok_or(AddressError::Form)?;
        match scheme {
            "redis+cluster" | "rediss+cluster" => {
                let nodes = Hosts::split(rest, scheme).urls();
                let builder = ClusterClientBuilder::new(nodes).connection_timeout(connect_timeout);
                // What the library would repeat by itself it would repeat after a broken connection, too, and then
                // the same event may be published twice.
                let client = builder.response_timeout(timeout).retries(0).build()?;
                Ok(Source::Cluster(Box::new(client)))
            }
            "redis+sentinel" | "rediss+sentinel" => {
                let (hosts, name) = rest.split_once('/').unwrap_or((rest, ""));
                sentinel(&Hosts::split(hosts, scheme), name)
            }
            "redis" | "rediss" | "unix" => {
                let info = url.into_connection_info()?;
                Ok(Source::Server(Box::new(Client::open(with_resp3(info))?)))
            }
            _ => Err(AddressError::Form),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Server(_) => "Server",
            Source::Sentinel(_) => "Sentinel",
            Source::Cluster(_) => "Cluster",
        })
    }
}

impl<'a> Hosts<'a> {
    fn split(text: &'a str, scheme: &str) -> Hosts<'a> {
        let text = text.trim_end_matches('/');
        let (login, hosts) = text.rsplit_once('@').unwrap_or(("", text));
        Hosts { login, each: hosts.split(',').collect(), is_tls: scheme.starts_with("rediss") }
    }

    /// A URL for each.
    fn urls(&self) -> Vec<String> {
        let scheme = if self.is_tls { "rediss" } else { "redis" };
        let at = if self.login.is_empty() { "" } else { "@" };
        self.each.iter().map(|host| format!("{scheme}://{}{at}{host}", self.login)).collect()
    }
}

fn sentinel(hosts: &Hosts<'_>, path: &str) -> Result<Source, AddressError> {
    let (name, database) = path.split_once('/').unwrap_or((path, ""));
    if name.is_empty() {
        return Err(AddressError::NoPrimaryName);
    }
    let mut sentinels = Vec::new();
    for host in &hosts.each {
        let url = Url::parse(&format!("redis://{host}")).map_err(|_| AddressError::Form)?;
        let name = url.host_str().ok_or(AddressError::Form)?.to_owned();
        let port = url.port().unwrap_or(SENTINEL_PORT_DEFAULT);
        sentinels.push(if hosts.is_tls {
            ConnectionAddr::TcpTls { host: name, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(name, port)
        });
    }
    // The login is the server's; read by the library, so that it is decoded as in any other URL.
    let login = format!("redis://{}@localhost:{PORT_DEFAULT}/{database}", hosts.login).into_connection_info()?;
    let login = login.redis_settings();
    let mut builder = SentinelClientBuilder::new(sentinels, name, SentinelServerType::Master)?
        .set_client_to_redis_protocol(ProtocolVersion::RESP3)
        .set_client_to_redis_db(login.db());
    if hosts.is_tls {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
    }
    if let Some(username) = login.username() {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = login.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    Ok(Source::Sentinel(Box::new(builder.build()?)))
}

/// With it a connection says by itself that it is over.
fn with_resp3(info: ConnectionInfo) -> ConnectionInfo {
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    info.set_redis_settings(settings)
}

/// Chooses aws-lc for TLS, unless the backend has chosen already.
fn install_crypto() {
    _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

impl From<RedisError> for AddressError {
    fn from(error: RedisError) -> Self {
        AddressError::Refused(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Source, AddressError> {
        Source::parse(url, Duration::from_secs(1), Duration::from_secs(1))
    }

    #[test]
    fn every_form_of_the_contract_is_taken() {
        for (url, expected) in [
            ("redis://127.0.0.1", "Server"),
            ("redis://user:p%40ss@redis:6380/2", "Server"),
            ("rediss://redis", "Server"),
            ("unix:///run/redis.sock", "Server"),
            ("redis+cluster://a:7000,b:7001,[::1]:7002", "Cluster"),
            ("rediss+cluster://user:password@a,b", "Cluster"),
            ("redis+sentinel://a:26379,b/orders", "Sentinel"),
            ("redis+sentinel://user:password@a,b/orders/3", "Sentinel"),
        ] {
            assert_eq!(parse(url).map(|source| format!("{source:?}")), Ok(expected.to_owned()), "{url}");
        }
    }

    #[test]
    fn a_bad_address_is_refused_and_its_password_not_repeated() {
        for url in ["", "redis", "http://:hunter2@a", "redis+sentinel://:hunter2@a", "redis://:hunter2@a:port"] {
            let error = parse(url).map(|source| format!("{source:?}")).expect_err("no address").to_string();
            assert!(!error.contains("hunter2") && error.contains("address"), "{url}: {error}");
        }
    }
}
