//! A port for operators, backends, or both: plain HTTP, to be reached from the inside only. What it answers stands in
//! [`crate::admin`] and [`crate::api`]. It deliberately has nothing of the clients' port: no TLS, no proxies, no upgrade.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::admin::Admin;
use crate::api::Api;
use crate::problem;

/// Connections to one port. More wait in the backlog.
pub const CONNECTIONS_MAX: usize = 4_096;

/// A request's header, at most; hyper answers 431 to a longer one.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How long accepting pauses when the process is out of files.
const OUT_OF_FILES_PAUSE: Duration = Duration::from_millis(100);

/// What a port answers; the admin port's paths come first.
#[derive(Clone)]
pub struct HttpPort {
    /// Health and metrics.
    pub admin: Option<Arc<Admin>>,
    /// The HTTP API.
    pub api: Option<Arc<Api>>,
}

impl HttpPort {
    /// Accepts until the task is dropped. `header_timeout`: until a request's header is complete, counted from the
    /// connection's start or the answer before; so a connection that is kept alive is closed after it, too.
    pub async fn run(self, listener: TcpListener, header_timeout: Duration) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            // Without a place the connection waits in the backlog.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(OUT_OF_FILES_PAUSE).await;
                    continue;
                }
            };
            let port = self.clone();
            tokio::spawn(async move {
                if let Err(error) = port.serve(stream, header_timeout).await {
                    tracing::debug!(%error, "HTTP connection ended early");
                }
                drop(place);
            });
        }
    }

    async fn serve(self, stream: TcpStream, header_timeout: Duration) -> hyper::Result<()> {
        // Only a socket that has gone already can't be set.
        let _ = stream.set_nodelay(true);
        let service = service_fn(async |request| Ok::<_, Infallible>(self.answer(request).await));
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .await
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if let Some(admin) = &self.admin
            && let Some(answer) = admin.answer(&request).await
        {
            return answer;
        }
        match &self.api {
            Some(api) => api.answer(request).await,
            None => problem::not_found(),
        }
    }
}
