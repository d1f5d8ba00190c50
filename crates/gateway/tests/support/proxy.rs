//! A TCP proxy between a node and its Redis, for faults that Redis itself never shows.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Forwards connections until the test's runtime ends.
pub(crate) struct Proxy {
    address: SocketAddr,
    cut_word: Arc<Mutex<Option<&'static str>>>,
}

impl Proxy {
    /// A proxy to a port of this machine.
    pub(crate) async fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let cut_word = Arc::new(Mutex::new(None));
        let watched = Arc::clone(&cut_word);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let watched = Arc::clone(&watched);
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    // The first to end ends both.
                    tokio::select! {
                        () = forward(from_client, to_server, Some(&watched)) => {}
                        () = forward(from_server, to_client, None) => {}
                    }
                });
            }
        });
        Proxy { address, cut_word }
    }

    /// `redis://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on a connection ends when its client sends this word; `None`: none does.
    pub(crate) fn cut_on(&self, word: Option<&'static str>) {
        *self.cut_word.lock() = word;
    }
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    watched: Option<&Mutex<Option<&'static str>>>,
) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..count];
        let word = watched.and_then(|word| *word.lock());
        let is_cut = word.is_some_and(|word| bytes.windows(word.len()).any(|window| window == word.as_bytes()));
        if is_cut || to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
