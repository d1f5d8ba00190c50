//! TCP, TLS and Unix sockets to a Redis. We open them ourselves, since redis-rs would hide the socket whose reading is
//! held back. Deliberately no Redis protocol.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::config::{ClientCertificate, RedisConfig};
use super::connect_error::Cause;
use super::server::Endpoint;

/// A connection that has been idle for this long is probed by the kernel, in case no `PING` can be sent.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// What a connection to Redis runs over.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Connects, within `connect_timeout`.
pub(super) async fn open(config: &RedisConfig, endpoint: &Endpoint) -> Result<Box<dyn Socket>, Cause> {
    let opening = async {
        Ok(match endpoint {
            Endpoint::Tcp { host, port } => Box::new(open_tcp(config, host, *port).await?) as Box<dyn Socket>,
            Endpoint::Tls { host, port } => {
                let tcp = open_tcp(config, host, *port).await?;
                Box::new(open_tls(config, host, tcp).await?)
            }
            Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(Cause::from_io)?),
        })
    };
    let limit = config.connect_timeout;
    timeout(limit, opening).await.unwrap_or(Err(Cause::ConnectTimeout { limit }))
}

/// Tries each address of the host, with an equal share of the time, so that one that swallows packets leaves some for
/// the next.
async fn open_tcp(config: &RedisConfig, host: &str, port: u16) -> Result<TcpStream, Cause> {
    let addresses: Vec<_> = lookup_host((host, port)).await.map_err(Cause::Resolve)?.collect();
    let share = config.connect_timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = Cause::Resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                set_options(config, &stream).map_err(Cause::from_io)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = Cause::from_io(error),
            Err(_) => last = Cause::ConnectTimeout { limit: share },
        }
    }
    Err(last)
}

fn set_options(config: &RedisConfig, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    // What we sent and nobody acknowledged for this long will not arrive: as soon as `PING` would find out.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(config.ping_interval + config.response_timeout))?;
    Ok(())
}

async fn open_tls(config: &RedisConfig, host: &str, tcp: TcpStream) -> Result<impl Socket + use<>, Cause> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| Cause::Tls(error.to_string()))?;
    let (ca_file, certificate) = (config.ca_file.clone(), config.client_certificate.clone());
    let reading = tokio::task::spawn_blocking(move || tls_config(ca_file.as_deref(), certificate.as_ref()));
    let tls = reading.await.map_err(|error| Cause::Tls(error.to_string()))??;
    let connector = TlsConnector::from(Arc::new(tls));
    connector.connect(name, tcp).await.map_err(|error| Cause::from_tls(&error))
}

/// Reads the files.
fn tls_config(ca_file: Option<&Path>, certificate: Option<&ClientCertificate>) -> Result<ClientConfig, Cause> {
    let roots = match ca_file {
        Some(path) => roots_in(path)?,
        None => system_roots(),
    };
    // Named, so that it works whatever the process has installed.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Cause::Tls(error.to_string()))?
        .with_root_certificates(roots);
    let Some(ClientCertificate { cert_file, key_file }) = certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let refuse = |path: &Path, error: &dyn std::fmt::Display| Cause::CertificateFile {
        path: path.to_owned(),
        error: error.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(cert_file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| refuse(cert_file, &error))?;
    if chain.is_empty() {
        return Err(refuse(cert_file, &"it holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| refuse(key_file, &error))?;
    let refuse_key = |error: rustls::Error| refuse(key_file, &format!("not the key of the certificate: {error}"));
    builder.with_client_auth_cert(chain, key).map_err(refuse_key)
}

fn roots_in(path: &Path) -> Result<RootCertStore, Cause> {
    let refuse = |error: &dyn std::fmt::Display| Cause::CaFile { path: path.to_owned(), error: error.to_string() };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| refuse(&error))? {
        let certificate = certificate.map_err(|error| refuse(&error))?;
        roots.add(certificate).map_err(|error| refuse(&error))?;
    }
    if roots.is_empty() { Err(refuse(&"it holds no certificate")) } else { Ok(roots) }
}

/// What can't be read is left out: a server whose certificate needs it is then refused by name.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
