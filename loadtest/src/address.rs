//! Where load may go: this machine, over loopback, and nowhere else. There is no way around it: a load generator that
//! is pointed at somebody else's server by mistake is an attack.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

/// `ws://HOST:PORT/PATH` on loopback.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct WebSocketUrl {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
}

/// `redis://[[user]:password@]HOST:PORT` on loopback.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisUrl {
    pub(crate) address: SocketAddr,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

/// A listening address on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loopback(pub(crate) SocketAddr);

impl FromStr for WebSocketUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("ws://")
            .ok_or("must start with ws:// (the load generator speaks no TLS: measure the gateway's plain port)")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self { address: loopback(authority, 80)?, path: format!("/{path}") })
    }
}

impl FromStr for RedisUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("redis://").ok_or("must start with redis://")?;
        let (rest, _) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (credentials, authority),
            None => ("", rest),
        };
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(Self { address: loopback(authority, 6379)?, user: some(user), password: some(password) })
    }
}

impl FromStr for Loopback {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        loopback(text, 0).map(Self)
    }
}

impl RedisUrl {
    /// The same server as a URL for another program.
    pub(crate) fn to_url(&self) -> String {
        match (&self.user, &self.password) {
            (None, None) => format!("redis://{}", self.address),
            (user, password) => format!(
                "redis://{}:{}@{}",
                user.as_deref().unwrap_or_default(),
                password.as_deref().unwrap_or_default(),
                self.address
            ),
        }
    }
}

/// An address or `localhost`; any other name is refused without asking a name server, whose answer could change between
/// this check and the load.
fn loopback(authority: &str, default_port: u16) -> Result<SocketAddr, String> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().map_err(|_| format!("`{port}` is not a port (0 to 65535)"))?)
        }
        _ => (authority, default_port),
    };
    if host == "localhost" {
        return localhost(port);
    }
    let address: IpAddr = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .map_err(|_| format!("`{host}` must be a loopback address such as 127.0.0.1, or localhost"))?;
    if !address.is_loopback() {
        return Err(format!("{address} is not loopback, and load goes to this machine only"));
    }
    Ok(SocketAddr::new(address, port))
}

/// A strange hosts file may send `localhost` elsewhere.
fn localhost(port: u16) -> Result<SocketAddr, String> {
    let addresses = ("localhost", port).to_socket_addrs().map_err(|error| format!("localhost: {error}"))?;
    let loopback = addresses.filter(|address| address.ip().is_loopback());
    loopback.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| "localhost is not loopback here".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn loopback_is_taken_in_all_its_spellings() {
        for (text, address) in [
            ("ws://127.0.0.1:8080/ws", "127.0.0.1:8080"),
            ("ws://127.9.9.9:1/ws", "127.9.9.9:1"),
            ("ws://[::1]:8080/ws", "[::1]:8080"),
            ("ws://localhost:8080/ws", "127.0.0.1:8080"),
            ("ws://127.0.0.1/ws", "127.0.0.1:80"),
        ] {
            let url: WebSocketUrl = text.parse().unwrap();
            assert_eq!((url.address, url.path.as_str()), (address.parse().unwrap(), "/ws"), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "ws://10.0.0.1:8080/ws",
            "ws://0.0.0.0:8080/ws",
            "ws://192.168.1.1/ws",
            "ws://[::ffff:8.8.8.8]:80/",
            "ws://example.com:80/ws",
            "wss://127.0.0.1:8080/ws",
            "http://127.0.0.1:8080/ws",
            "ws://127.0.0.1.example.com:80/",
            "ws:///ws",
        ] {
            assert!(text.parse::<WebSocketUrl>().is_err(), "{text}");
        }
        assert!("redis://10.1.2.3:6379".parse::<RedisUrl>().is_err());
        assert!("redis://:secret@example.com".parse::<RedisUrl>().is_err());
        assert!("0.0.0.0:9000".parse::<Loopback>().is_err());
    }

    #[test]
    fn a_redis_url_may_carry_a_password() {
        let url: RedisUrl = "redis://:s3cret@127.0.0.1:7000/0".parse().unwrap();
        assert_eq!(url.address, "127.0.0.1:7000".parse().unwrap());
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (None, Some("s3cret")));
        assert_eq!(url.to_url(), "redis://:s3cret@127.0.0.1:7000");
        let plain: RedisUrl = "redis://localhost".parse().unwrap();
        assert_eq!(plain.to_url(), "redis://127.0.0.1:6379");
    }
}
