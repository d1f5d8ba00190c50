//! One client's connection after the upgrade: one task, one loop, no buffer while nothing comes. It reads, and goes on
//! writing where the outbox had to stop. What a frame means stands in [`crate::client`].

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use fanfare_core::{Farewell, Need, Session, frame};
use fanfare_protocol::{CloseCode, Codec};
use futures_util::future::BoxFuture;

use crate::assembler::{Assembler, Message, Violation};
use crate::socket::Socket;

/// What a connection is for: the gateway's clients, or an echo.
pub trait Handler: Send {
    /// What a slow command ends with.
    type Done: Send;

    /// Handles one message, text (JSON) or binary (`MessagePack`), and may answer through the session's outbox. A
    /// command that has to wait returns its rest; the next message is handled after it.
    fn message(&mut self, kind: Codec, payload: Bytes) -> Result<Option<BoxFuture<'static, Self::Done>>, Farewell>;

    /// A command's rest is through. It may leave another.
    fn done(&mut self, done: Self::Done) -> Result<Option<BoxFuture<'static, Self::Done>>, Farewell>;

    /// Ends the session with what the client is told.
    fn say_farewell(&self, farewell: &Farewell);

    /// How long a message may be now, in bytes.
    fn message_bytes_max(&self) -> usize;

    /// Bytes were written to the client by its own task.
    fn written(&self, bytes: usize);

    /// The client was heard.
    fn heard(&self, bytes: usize);

    /// A protocol-level ping came: it is answered with its payload, unless there are too many.
    fn pinged(&mut self, payload: &[u8]) -> Result<(), Farewell>;

    /// A protocol-level pong came, which nobody asked for; may object to their number.
    fn ponged(&mut self) -> Result<(), Farewell> {
        Ok(())
    }
}

/// A socket, its session, and what handles its messages.
pub struct Connection<H: Handler> {
    socket: Socket,
    session: Arc<Session>,
    assembler: Assembler,
    handler: H,
    busy: Option<BoxFuture<'static, H::Done>>,
    is_draining: bool,
    /// The client sent a close frame: what comes after it doesn't count (RFC 6455 §5.5.1).
    is_closed: bool,
}

/// Why the loop woke.
enum Turn<D> {
    Input,
    Done(D),
    Drained,
    Blocked,
    Leave(Leave),
}

/// How the stay ends.
enum Leave {
    /// The connection is closing, by whoever decided it.
    Closing,
    /// The client has gone without a word.
    Gone,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a close frame of this code, whoever sent it first.
    Closed(CloseCode),
    /// The socket ended or broke.
    Gone,
}

impl End {
    /// The close code; 1006 for a socket that ended without one (RFC 6455 §7.1.5).
    pub fn code(self) -> u16 {
        match self {
            Self::Closed(code) => code.as_u16(),
            Self::Gone => 1006,
        }
    }
}

impl<H: Handler> Connection<H> {
    /// A connection, not yet running. `busy`: what has to be waited for before the first message is handled.
    pub fn new(socket: Socket, session: Arc<Session>, handler: H, busy: Option<BoxFuture<'static, H::Done>>) -> Self {
        let assembler = Assembler::new(handler.message_bytes_max());
        Self { socket, session, assembler, handler, busy, is_draining: false, is_closed: false }
    }

    /// Runs until the connection has ended.
    ///
    /// This future, too, is a part of what an idle connection costs: a block that borrows what it works with, since an
    /// `async fn` keeps its arguments twice, and a loop that is one poll.
    #[expect(clippy::manual_async_fn, reason = "less memory")]
    pub fn run(&mut self, close_timeout: Duration) -> impl Future<Output = End> {
        async move {
            match poll_fn(|context| self.poll_stay(context)).await {
                // Boxed: what only the end needs would take room in every connection's task.
                Leave::Closing => Box::pin(self.see_through(close_timeout)).await,
                Leave::Gone => End::Gone,
            }
        }
    }

    /// What it was for.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// The handler, and what it was busy with.
    pub fn into_handler(self) -> (H, Option<BoxFuture<'static, H::Done>>) {
        (self.handler, self.busy)
    }

    fn poll_stay(&mut self, context: &mut Context<'_>) -> Poll<Leave> {
        loop {
            let next = match ready!(self.poll_turn(context)) {
                Turn::Input => self.input(),
                Turn::Done(done) => match self.handler.done(done) {
                    Ok(busy) => {
                        self.busy = busy;
                        self.input()
                    }
                    Err(farewell) => Err(farewell),
                },
                Turn::Drained => {
                    self.is_draining = false;
                    self.input()
                }
                Turn::Blocked => {
                    self.is_draining = true;
                    Ok(())
                }
                Turn::Leave(leave) => return Poll::Ready(leave),
            };
            if let Err(farewell) = next {
                self.handler.say_farewell(&farewell);
            }
        }
    }

    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Turn<H::Done>> {
        if let Poll::Ready(need) = self.session.outbox().poll_need(context) {
            return Poll::Ready(match need {
                Need::Writable => Turn::Blocked,
                Need::Close(_) => Turn::Leave(Leave::Closing),
                Need::Gone => Turn::Leave(Leave::Gone),
            });
        }
        if self.is_draining {
            let handler = &self.handler;
            let drained = self.socket.poll_drain(context, self.session.outbox(), |bytes| handler.written(bytes));
            if drained.is_ready() {
                return Poll::Ready(Turn::Drained);
            }
        }
        if let Some(busy) = &mut self.busy {
            return busy.as_mut().poll(context).map(|done| {
                self.busy = None;
                Turn::Done(done)
            });
        }
        if self.is_clogged() {
            return Poll::Pending;
        }
        let assembler = &mut self.assembler;
        match self.socket.poll_read(context, |bytes| assembler.feed(bytes)) {
            Poll::Ready(Ok(count)) if count > 0 => {
                self.handler.heard(count);
                Poll::Ready(Turn::Input)
            }
            Poll::Ready(_) => Poll::Ready(Turn::Leave(Leave::Gone)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Handles what has come, until a command has to wait or the client has said goodbye.
    fn input(&mut self) -> Result<(), Farewell> {
        while self.busy.is_none() && !self.is_closed && !self.is_clogged() {
            self.assembler.allow(self.handler.message_bytes_max());
            match self.assembler.next_message() {
                None => return Ok(()),
                Some(Err(violation)) => return Err(farewell(violation)),
                Some(Ok(message)) => self.message(message)?,
            }
        }
        Ok(())
    }

    /// Whether the client has to take some of its answers before it may ask for more: a thousand subscriptions have long
    /// ones.
    fn is_clogged(&self) -> bool {
        let outbox = self.session.outbox();
        self.is_draining && outbox.waiting_bytes() > outbox.bytes_max() / 2
    }

    fn message(&mut self, message: Message) -> Result<(), Farewell> {
        match message {
            Message::Text(payload) => self.busy = self.handler.message(Codec::Json, payload)?,
            Message::Binary(payload) => self.busy = self.handler.message(Codec::Msgpack, payload)?,
            Message::Ping(payload) => self.handler.pinged(&payload)?,
            Message::Pong => self.handler.ponged()?,
            Message::Close(code) => {
                let echo = code.map_or_else(frame::close_without_code, |code| frame::close(code, ""));
                self.session.outbox().close(CloseCode::Normal, echo, false);
                self.is_closed = true;
            }
        }
        Ok(())
    }

    /// The farewell is queued: everything that waits goes out, then the client's end is awaited (RFC 6455 §7.1.1), so that
    /// no reset overtakes the farewell. All within `close_timeout`.
    async fn see_through(&mut self, close_timeout: Duration) -> End {
        let Self { socket, session, handler, .. } = self;
        let outbox = session.outbox();
        // A client that doesn't take its farewell in time doesn't get it.
        let _ = tokio::time::timeout(close_timeout, async {
            while outbox.waiting_bytes() > 0 {
                poll_fn(|context| socket.poll_drain(context, outbox, |bytes| handler.written(bytes))).await;
            }
            socket.finish_writing().await;
            while let Ok(1..) = poll_fn(|context| socket.poll_read(context, |_| {})).await {}
        })
        .await;
        outbox.close_code().map_or(End::Gone, End::Closed)
    }
}

fn farewell(violation: Violation) -> Farewell {
    Farewell::new(violation.close_code(), violation.to_string())
}
