//! A client's socket after the upgrade: plain TCP, which anybody may write to, or TLS, which only its own task can.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fanfare_core::{Deferred, Outbox, Pushed, Wire};
use rustix::io::Errno;
use rustix::net::{self, SendAncillaryBuffer, SendFlags};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A thread's one read buffer: a connection that waits needs none of its own.
const READ_BUFFER_BYTES: usize = 16 * 1024;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER_BYTES].into());
}

/// The stream, and bytes that came with the upgrade's request.
pub struct Socket {
    stream: Stream,
    early: Bytes,
}

enum Stream {
    Plain(Arc<TcpWire>),
    Tls(Box<TlsStream<TcpStream>>),
}

struct TcpWire(TcpStream);

impl Wire for TcpWire {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // Straight to the socket: what tokio knows of it is memory that a fan-out would have to fetch for each client. CPU of the
        // node a delivery, by way of tokio and so: `fanfare-loadtest fanout --mode paced` 7.9 and 7.2 µs.
        let written = match slices {
            [one] => net::send(&self.0, one, SendFlags::NOSIGNAL),
            several => net::sendmsg(&self.0, several, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL),
        };
        match written {
            // Tokio has to see for itself that there is no room, or it would not wait for any.
            Err(Errno::AGAIN) => self.0.try_write_vectored(slices),
            Err(Errno::INTR) => self.try_write(slices),
            written => Ok(written?),
        }
    }
}

impl Socket {
    /// A plain socket.
    pub fn plain(stream: TcpStream, early: Bytes) -> Self {
        Self { stream: Stream::Plain(Arc::new(TcpWire(stream))), early }
    }

    /// A TLS socket.
    pub fn tls(stream: TlsStream<TcpStream>, early: Bytes) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), early }
    }

    /// The way out for the outbox.
    pub fn wire(&self) -> Arc<dyn Wire> {
        match &self.stream {
            Stream::Plain(wire) => Arc::<TcpWire>::clone(wire),
            Stream::Tls(_) => Arc::new(Deferred),
        }
    }

    /// Hands `take` some bytes from the client; 0 at the end of the stream.
    pub fn poll_read(&mut self, context: &mut Context<'_>, mut take: impl FnMut(&[u8])) -> Poll<io::Result<usize>> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            take(&early);
            return Poll::Ready(Ok(early.len()));
        }
        READ_BUFFER.with_borrow_mut(|buffer| {
            let count = match &mut self.stream {
                Stream::Plain(wire) => loop {
                    ready!(wire.0.poll_read_ready(context))?;
                    match wire.0.try_read(buffer) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        result => break result?,
                    }
                },
                Stream::Tls(stream) => {
                    let mut into = ReadBuf::new(buffer);
                    ready!(Pin::new(stream).poll_read(context, &mut into))?;
                    into.filled().len()
                }
            };
            take(&buffer[..count]);
            Poll::Ready(Ok(count))
        })
    }

    /// Writes what waits in `outbox` and tells `wrote` how many bytes; ready when nothing waits any more, or the client has
    /// gone (which the outbox knows).
    pub fn poll_drain(&mut self, context: &mut Context<'_>, outbox: &Outbox, mut wrote: impl FnMut(usize)) -> Poll<()> {
        match &mut self.stream {
            Stream::Plain(wire) => loop {
                let is_broken = ready!(wire.0.poll_write_ready(context)).is_err();
                match outbox.resume() {
                    Pushed::Waiting(bytes) if !is_broken => wrote(bytes),
                    Pushed::Written(bytes) | Pushed::Waiting(bytes) => {
                        wrote(bytes);
                        return Poll::Ready(());
                    }
                    Pushed::Overflowed | Pushed::Closed => return Poll::Ready(()),
                }
            },
            Stream::Tls(stream) => {
                let mut stream = Pin::new(stream.as_mut());
                let pushed = outbox.drain(|slices| match stream.as_mut().poll_write_vectored(context, slices) {
                    Poll::Ready(result) => result,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                });
                let flushed = stream.poll_flush(context);
                match pushed {
                    Pushed::Waiting(bytes) => {
                        wrote(bytes);
                        Poll::Pending
                    }
                    Pushed::Written(bytes) => {
                        wrote(bytes);
                        flushed.map(|_| ())
                    }
                    Pushed::Overflowed | Pushed::Closed => Poll::Ready(()),
                }
            }
        }
    }

    /// Tells the client that nothing more comes.
    pub async fn finish_writing(&mut self) {
        // A socket that can't be shut down is gone already.
        match &mut self.stream {
            Stream::Plain(wire) => {
                let _ = socket2::SockRef::from(&wire.0).shutdown(Shutdown::Write);
            }
            Stream::Tls(stream) => {
                let _ = stream.shutdown().await;
            }
        }
    }
}
