//! Takes clients' connections in: at most so many a second, at most so many at once, each with a time limit until it has
//! said what it wants. What it wants stands in [`crate::routes`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as _;
use governor::{Quota, RateLimiter};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::client_address::is_trusted;
use crate::routes::Routes;
use crate::visit::Visit;
use crate::{dead_peer, proxy_protocol};

/// Connections that have not said yet what they want. More wait in the backlog; each has `header_timeout`.
pub const HANDSHAKES_MAX: usize = 512;

/// The longest request header, in bytes: a token of 8 KiB has to fit.
const REQUEST_BYTES_MAX: usize = 32 * 1024;

/// How long accepting pauses when the process is out of files.
const OUT_OF_FILES_PAUSE: Duration = Duration::from_millis(100);

/// How connections are taken in.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Connections taken in a second.
    pub accept_per_s: NonZeroU32,
    /// Until a request's header is complete; as long again for a PROXY header and for a TLS handshake.
    pub header_timeout: Duration,
    /// For the end of an answer to reach the client, once it is decided.
    pub close_timeout: Duration,
    /// How long a client may acknowledge nothing, unless it is a WebSocket's.
    pub unacknowledged_max: Duration,
    /// Whose word about a client's address is believed.
    pub trusted_proxies: Arc<[IpNet]>,
}

/// Binds `address`; an address in use is an error that names it.
pub fn bind(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

/// Accepts until the task is dropped.
pub async fn run(listener: TcpListener, config: ListenerConfig, tls: Option<TlsAcceptor>, routes: Arc<Routes>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let rate = RateLimiter::direct(Quota::per_second(config.accept_per_s));
    loop {
        // Not `until_ready`, whose timer is a thread to be woken for each connection: a sixth of what a connect cost in
        // `fanfare-loadtest storm`, 121 and 103 µs in its two rounds, and 99 and 87 now. Tokio's wakes once for all that a
        // millisecond allows.
        while let Err(not_yet) = rate.check() {
            tokio::time::sleep(not_yet.wait_time_from(rate.clock().now())).await;
        }
        // Without a place the connection waits in the backlog.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(OUT_OF_FILES_PAUSE).await;
                continue;
            }
        };
        let (config, tls, routes) = (config.clone(), tls.clone(), Arc::clone(&routes));
        tokio::spawn(async move {
            let (visit, _host) = Visit::begin(place);
            if let Err(error) = serve(stream, peer.ip(), &config, tls, (routes, visit)).await {
                tracing::debug!(peer = %peer.ip(), error, "connection ended early");
            }
        });
    }
}

async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    config: &ListenerConfig,
    tls: Option<TlsAcceptor>,
    visited: (Arc<Routes>, Arc<Visit>),
) -> Result<(), String> {
    // Small frames are not held back (RFC 896's algorithm waits for an acknowledgement).
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    dead_peer::watch(&stream, config.unacknowledged_max);
    let mut client = peer.to_canonical();
    if is_trusted(client, &config.trusted_proxies) {
        let told = proxy_protocol::read_header(&stream, config.header_timeout).await;
        if let Some(address) = told.map_err(|error| error.to_string())? {
            client = address;
        }
    }
    match tls {
        None => http(stream, client, config, visited).await,
        Some(acceptor) => {
            let handshake = tokio::time::timeout(config.header_timeout, acceptor.accept(stream)).await;
            let stream = handshake.map_err(|_| "TLS handshake timed out")?.map_err(|error| error.to_string())?;
            http(stream, client, config, visited).await
        }
    }
}

async fn http<S>(
    stream: S,
    client: IpAddr,
    config: &ListenerConfig,
    (routes, visit): (Arc<Routes>, Arc<Visit>),
) -> Result<(), String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(|request| {
        let (routes, visit) = (Arc::clone(&routes), Arc::clone(&visit));
        async move { Ok::<_, std::convert::Infallible>(routes.answer(request, client, &visit).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(REQUEST_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        ended = connection => ended.map_err(|error| error.to_string()),
        () = visit.overdue(config.close_timeout) => Err("the client did not take the end of its answer".to_owned()),
    }
}
