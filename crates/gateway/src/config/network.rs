//! Addresses to listen on, proxies to believe, origins to let in, TLS.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::Mode;
use super::checker::Checker;
use crate::origin::OriginPolicy;
use crate::settings::{List, Settings};

/// Where the node listens, and whom it believes.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Clients.
    pub listen: SocketAddr,
    /// Operators; and backends, when `api_listen` is `None`.
    pub admin_listen: SocketAddr,
    /// Backends, when they have an address of their own.
    pub api_listen: Option<SocketAddr>,
    /// Whose word about a client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Which web pages may connect.
    pub allowed_origins: OriginPolicy,
    /// Native TLS on `listen`.
    pub tls: Option<TlsConfig>,
}

/// Files of native TLS; both are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM certificate chain, the node's own first.
    pub certificate_file: PathBuf,
    /// PEM private key.
    pub key_file: PathBuf,
}

pub(super) fn check(settings: &Settings, mode: Mode, check: &mut Checker) -> NetworkConfig {
    let listen = address("listen", &settings.listen, check);
    let admin_listen = address("admin_listen", &settings.admin_listen, check);
    let api = settings.api_listen.as_deref().map(|text| address("api_listen", text, check));
    if same(listen, admin_listen) {
        check.problem("admin_listen", admin_listen, "the clients' address", "give it a port of its own");
    }
    if api.is_some_and(|api| same(api, listen)) {
        check.problem("api_listen", listen, "the clients' address", "give it a port of its own");
    }
    if mode == Mode::Dev {
        let all = [("listen", Some(listen)), ("admin_listen", Some(admin_listen)), ("api_listen", api)];
        for (key, address) in all {
            if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
                let fix = "listen on 127.0.0.1, or serve without --dev and configure tokens";
                check.problem(key, address, "--dev is open to everybody and listens on loopback only", fix);
            }
        }
    }
    NetworkConfig {
        listen,
        admin_listen,
        api_listen: api.filter(|api| *api != admin_listen),
        trusted_proxies: proxies(settings, check),
        allowed_origins: origins(settings, check),
        tls: tls(settings, check),
    }
}

fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a == b && a.port() != 0
}

fn address(key: &str, text: &str, check: &mut Checker) -> SocketAddr {
    text.parse().unwrap_or_else(|_| {
        let fix = match text.strip_prefix(':').or_else(|| text.strip_prefix("localhost:")) {
            Some(port) if text.starts_with(':') => {
                format!("give an address too, such as 0.0.0.0:{port}")
            }
            Some(port) => format!("give a number, such as 127.0.0.1:{port}"),
            None => "give an IP address and a port, such as 127.0.0.1:8080 or [::]:8080".to_owned(),
        };
        check.problem(key, text, "not an address", &fix);
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

fn proxies(settings: &Settings, check: &mut Checker) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for text in settings.trusted_proxies.as_ref().map_or(&[][..], List::as_slice) {
        match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            Ok(network) => networks.push(network),
            Err(_) => check.problem("trusted_proxies", text, "not a network", "give CIDR, such as 10.0.0.0/8"),
        }
    }
    networks
}

fn origins(settings: &Settings, check: &mut Checker) -> OriginPolicy {
    let list = settings.allowed_origins.as_ref().map_or(&[][..], List::as_slice);
    let mut good = Vec::new();
    for text in list {
        match OriginPolicy::parse([text]) {
            Ok(_) => good.push(text),
            Err(error) => check.problem("allowed_origins", text, "not an origin", &error.to_string()),
        }
    }
    // Each of them alone is good, so all of them are.
    OriginPolicy::parse(good).unwrap_or(OriginPolicy::Any)
}

fn tls(settings: &Settings, check: &mut Checker) -> Option<TlsConfig> {
    match (&settings.tls_certificate_file, &settings.tls_key_file) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            Some(TlsConfig { certificate_file: certificate.into(), key_file: key.into() })
        }
        (Some(certificate), None) => {
            check.problem("tls_certificate_file", certificate, "a certificate without a key", "give tls_key_file too");
            None
        }
        (None, Some(key)) => {
            check.problem("tls_key_file", key, "a key without a certificate", "give tls_certificate_file too");
            None
        }
    }
}
