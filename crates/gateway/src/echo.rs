//! `fanfare echo`: an echo server on the gateway's own connection code, for RFC 6455 conformance suites.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fanfare_core::{Budget, Farewell, Millis, Outbox, Pushed, Session, SessionId, frame};
use fanfare_protocol::{CloseCode, Codec};
use fastwebsockets::upgrade;
use futures_util::future::BoxFuture;
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::connection::{Connection, Handler};
use crate::{listener, problem, upgrade as gateway_upgrade};

/// How long a farewell may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Echoes of full size that may wait for a client which sends and doesn't read.
const MESSAGES_WAITING_MAX: usize = 8;

static NEXT_SESSION: AtomicU64 = AtomicU64::new(1);

/// Sends every message back.
struct Echo {
    session: Arc<Session>,
    message_bytes_max: usize,
}

/// Serves until the process ends.
pub async fn run(listen: SocketAddr, message_bytes_max: usize) -> std::io::Result<()> {
    let listener = listener::bind(listen, 1_024)?;
    tracing::info!(listen = %listener.local_addr()?, message_bytes_max, "echo");
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service =
            service_fn(
                move |request| async move { Ok::<_, std::convert::Infallible>(answer(request, message_bytes_max)) },
            );
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection ended before its request");
            }
        });
    }
}

fn answer(mut request: Request<Incoming>, message_bytes_max: usize) -> Response<Full<Bytes>> {
    match upgrade::upgrade(&mut request) {
        Err(error) => problem::response(StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
        Ok((response, upgraded)) => {
            tokio::spawn(async move {
                if let Ok(websocket) = upgraded.await {
                    echo(websocket.into_inner(), message_bytes_max).await;
                }
            });
            response.map(|_: Empty<Bytes>| Full::default())
        }
    }
}

async fn echo(upgraded: TokioIo<hyper::upgrade::Upgraded>, message_bytes_max: usize) {
    let Some(socket) = gateway_upgrade::bare(upgraded) else { return };
    let outbox_bytes_max = message_bytes_max.saturating_mul(MESSAGES_WAITING_MAX);
    let outbox = Outbox::new(socket.wire(), Codec::Json, outbox_bytes_max, Arc::new(Budget::new(usize::MAX)));
    let id = SessionId(NEXT_SESSION.fetch_add(1, Ordering::Relaxed));
    let session = Arc::new(Session::new(id, outbox, u64::MAX, Millis(0)));
    let handler = Echo { session: Arc::clone(&session), message_bytes_max };
    let mut connection = Connection::new(socket, session, handler, None);
    connection.run(CLOSE_TIMEOUT).await;
}

impl Handler for Echo {
    type Done = ();

    fn message(&mut self, codec: Codec, payload: Bytes) -> Result<Option<BoxFuture<'static, ()>>, Farewell> {
        match self.session.outbox().send(frame::message(codec, &payload)) {
            Pushed::Overflowed => Err(Farewell::new(CloseCode::Slow, "too many echoes wait")),
            Pushed::Written(_) | Pushed::Waiting(_) | Pushed::Closed => Ok(None),
        }
    }

    fn done(&mut self, (): ()) -> Result<Option<BoxFuture<'static, ()>>, Farewell> {
        Ok(None)
    }

    fn say_farewell(&self, farewell: &Farewell) {
        let close = frame::close(farewell.code.as_u16(), &farewell.reason);
        self.session.outbox().close(farewell.code, close, false);
    }

    fn message_bytes_max(&self) -> usize {
        self.message_bytes_max
    }

    fn written(&self, _: usize) {}

    fn heard(&self, _: usize) {}

    fn pinged(&mut self, payload: &[u8]) -> Result<(), Farewell> {
        self.session.outbox().send(frame::pong(payload));
        Ok(())
    }
}
