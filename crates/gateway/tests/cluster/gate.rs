//! A connection whose client can stop reading, so that what it is sent piles up, and go on later.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Client, Handshake, Node};

/// What the client's socket may hold unread, in bytes; the kernel rounds it up.
const RECEIVE_BUFFER_BYTES: u32 = 4_096;

/// Opens and shuts one client's ear.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<State>);

#[derive(Default)]
struct State {
    is_shut: AtomicBool,
    waiting: std::sync::Mutex<Option<Waker>>,
}

struct Gated {
    stream: TcpStream,
    gate: Gate,
}

impl Gate {
    /// A welcomed client that reads until its gate is shut.
    pub(crate) async fn connect(node: &Node, token: &str) -> (Client, Gate) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).unwrap();
        let stream = socket.connect(node.clients).await.unwrap();
        let gate = Gate::default();
        let stream = Gated { stream, gate: gate.clone() };
        let mut client = Handshake::to(node).bearer(token).over(Box::new(stream)).await.unwrap();
        client.expect("welcome").await;
        (client, gate)
    }

    /// From now on the client reads nothing.
    pub(crate) fn shut(&self) {
        self.0.is_shut.store(true, Ordering::SeqCst);
    }

    /// The client reads on.
    pub(crate) fn open(&self) {
        self.0.is_shut.store(false, Ordering::SeqCst);
        if let Some(waker) = self.0.waiting.lock().unwrap().take() {
            waker.wake();
        }
    }
}

impl AsyncRead for Gated {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        if this.gate.0.is_shut.load(Ordering::SeqCst) {
            *this.gate.0.waiting.lock().unwrap() = Some(context.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
