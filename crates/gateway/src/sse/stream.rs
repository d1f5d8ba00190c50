//! One client's event stream: one task that takes what the session has for the client out of its outbox, as messages, as
//! fast as the client takes them, and says for it what a WebSocket client would say. Deliberately no socket: hyper has it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use fanfare_core::{Farewell, Need, Outbox, Pushed, Session, frame};
use fanfare_protocol::{ClientFrame, CloseCode};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::messages::{Messages, Reaction};
use crate::client::{Client, Done};
use crate::connection::{End, Handler};
use crate::node::{self, Node};
use crate::sessions::Listed;
use crate::visit::Visit;

/// Frames that are taken from the outbox together, in bytes; a longer one is taken alone.
const CHUNK_BYTES: usize = 16 * 1024;

/// A stream, not yet running.
pub(super) struct Stream {
    pub(super) node: Arc<Node>,
    pub(super) session: Arc<Session>,
    pub(super) client: Client,
    /// What has to be waited for before the next command.
    pub(super) busy: Option<BoxFuture<'static, Done>>,
    pub(super) messages: Messages,
    /// What is still to be asked for: at most one command for each topic.
    pub(super) commands: VecDeque<ClientFrame>,
    pub(super) visit: Arc<Visit>,
    pub(super) is_draining: bool,
}

/// Why the loop woke.
enum Turn {
    Need(Need),
    Done(Done),
    /// The last chunk was taken: there is room for the next one.
    Taken,
    /// The client has gone.
    Gone,
}

/// A client's stay, from the answer to its end.
pub(super) async fn stay(mut stream: Stream, chunks: mpsc::Sender<Bytes>, listed: Listed, address: IpAddr) {
    let (node, visit) = (Arc::clone(&stream.node), Arc::clone(&stream.visit));
    // Should handling a message panic, what the client holds on the node is given back all the same.
    let end = AssertUnwindSafe(stream.run(chunks)).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(%address, "a client's task panicked");
        End::Gone
    });
    visit.end();
    node::log_end(&stream.client, address, end);
    stream.client.leave(stream.busy).await;
    // What was written last may still be on its way to the client, and a drain waits for it.
    visit.over().await;
    drop(listed);
    node.metrics.stream_ended(end);
}

impl Stream {
    async fn run(&mut self, chunks: mpsc::Sender<Bytes>) -> End {
        loop {
            if let Err(farewell) = self.ask() {
                self.client.say_farewell(&farewell);
            }
            let next = match self.turn(&chunks).await {
                Turn::Need(Need::Writable) => {
                    self.is_draining = true;
                    Ok(())
                }
                Turn::Need(Need::Close(_)) => return self.see_through(chunks).await,
                Turn::Need(Need::Gone) | Turn::Gone => return End::Gone,
                Turn::Done(done) => self.client.done(done).map(|busy| self.busy = busy),
                Turn::Taken => self.write(&chunks),
            };
            if let Err(farewell) = next {
                self.client.say_farewell(&farewell);
            }
        }
    }

    /// Sends the next command, when nothing is waited for and the client has taken some of the answers before it.
    fn ask(&mut self) -> Result<(), Farewell> {
        let outbox = self.session.outbox();
        if self.busy.is_none()
            && outbox.waiting_bytes() <= outbox.bytes_max() / 2
            && let Some(command) = self.commands.pop_front()
        {
            self.busy = self.client.command(command)?;
        }
        Ok(())
    }

    async fn turn(&mut self, chunks: &mpsc::Sender<Bytes>) -> Turn {
        let Self { session, busy, is_draining, .. } = self;
        let done = async {
            match busy {
                Some(busy) => busy.await,
                None => std::future::pending().await,
            }
        };
        let turn = tokio::select! {
            biased;
            () = chunks.closed() => Turn::Gone,
            need = poll_fn(|context| session.outbox().poll_need(context)) => Turn::Need(need),
            // One may be on its way to hyper while the next one waits; the rest waits in the outbox, which is bounded.
            _ = chunks.reserve(), if *is_draining => Turn::Taken,
            done = done => Turn::Done(done),
        };
        if matches!(turn, Turn::Done(_)) {
            self.busy = None;
        }
        turn
    }

    /// Hands the next messages over. `chunks` has room.
    fn write(&mut self, chunks: &mpsc::Sender<Bytes>) -> Result<(), Farewell> {
        // A client that takes what is sent is alive: it has no other way to say so.
        self.session.heard(self.node.clock.now());
        let (frames, is_all) = take_frames(self.session.outbox());
        self.is_draining = !is_all;
        let mut chunk = Vec::with_capacity(frames.len() + frames.len() / 4);
        let reactions = self.messages.put(&frames, &mut chunk);
        if !chunk.is_empty() {
            self.client.written(chunk.len());
            // It was seen to have room; who has closed it shows at the next turn.
            let _ = chunks.try_send(chunk.into());
        }
        for reaction in reactions {
            match reaction {
                Reaction::AskOn(item) => {
                    self.commands.push_back(ClientFrame::Subscribe { id: None, topics: vec![item], many: true });
                }
                Reaction::Stuck => {
                    let reason = "the rest of a topic's history can't be read: come back with the last id";
                    return Err(Farewell::new(CloseCode::Internal, reason));
                }
            }
        }
        Ok(())
    }

    /// The farewell is queued: what waits goes out, and the body ends. A client that doesn't take it in time is cut off, and
    /// then nobody takes the chunks.
    async fn see_through(&mut self, chunks: mpsc::Sender<Bytes>) -> End {
        self.visit.end();
        let outbox = self.session.outbox();
        let end = outbox.close_code().map_or(End::Gone, End::Closed);
        while self.session.outbox().waiting_bytes() > 0 && chunks.reserve().await.is_ok() {
            // The end has been decided already.
            let _ = self.write(&chunks);
        }
        end
    }
}

/// Some whole frames, and whether they are all.
fn take_frames(outbox: &Outbox) -> (Vec<u8>, bool) {
    let mut taken = Vec::new();
    let pushed = outbox.drain(|slices| {
        let before = taken.len();
        for slice in slices {
            let mut rest = &slice[..];
            while let Some(frame) = frame::parse(rest) {
                if !taken.is_empty() && taken.len() + frame.len > CHUNK_BYTES {
                    return if taken.len() > before {
                        Ok(taken.len() - before)
                    } else {
                        Err(io::ErrorKind::WouldBlock.into())
                    };
                }
                taken.extend_from_slice(&rest[..frame.len]);
                rest = &rest[frame.len..];
            }
        }
        Ok(taken.len() - before)
    });
    (taken, !matches!(pushed, Pushed::Waiting(_)))
}
