//! A socket under watch. It holds reading back while the inbox is full, notes signs of life, and remembers why it broke.
//!
//! Back-pressure stands here, under the driver of redis-rs, and not around it: the driver goes on writing, so a node that
//! is held back still sends its `PING`s, but it gets nothing more to parse. The kernel's buffers fill, then Redis's own,
//! and in the end Redis drops the connection: a loss that is told, instead of memory that grows.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::sleep_until;

use super::socket::Socket;
use crate::inbox::InboxSender;

/// What is known about one connection. Made anew for each.
#[derive(Debug)]
pub(super) struct Line {
    /// The times below are counted from here, so that they fit an atomic.
    start: Instant,
    last_read_ns: AtomicU64,
    /// What Redis wrote until then has been read; 0 when that was never proved.
    caught_up_ns: AtomicU64,
    /// The inbox is full: silence is ours, not Redis's.
    held_back: AtomicBool,
    fault: Mutex<Option<String>>,
    faulted: Notify,
}

/// Redis was silent for so long while an answer was due.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis did not answer for {0:?}")]
pub(super) struct Silent(pub(super) Duration);

/// The socket itself.
pub(super) struct WatchedSocket {
    socket: Box<dyn Socket>,
    line: Arc<Line>,
    /// Nothing is read while this is full. None where what is read is only answers.
    inbox: Option<InboxSender>,
    wait: Option<Pin<Box<OwnedNotified>>>,
    /// Read in this turn of the task already.
    has_read: bool,
}

impl Line {
    pub(super) fn new() -> Arc<Line> {
        Arc::new(Line {
            start: Instant::now(),
            last_read_ns: AtomicU64::new(0),
            caught_up_ns: AtomicU64::new(0),
            held_back: AtomicBool::new(false),
            fault: Mutex::default(),
            faulted: Notify::new(),
        })
    }

    /// When the socket last had something.
    pub(super) fn last_read(&self) -> Instant {
        self.start + Duration::from_nanos(self.last_read_ns.load(Ordering::Relaxed))
    }

    /// Proved: all that Redis had written to this connection at that time has been read.
    pub(super) fn caught_up(&self, with: Instant) {
        self.caught_up_ns.store(nanos(with.saturating_duration_since(self.start)), Ordering::Relaxed);
    }

    /// Gives the connection up.
    pub(super) fn fail(&self, fault: impl Into<String>) {
        self.fault.lock().get_or_insert_with(|| fault.into());
        self.faulted.notify_one();
    }

    /// Ends when the connection has been given up.
    pub(super) async fn failed(&self) {
        while self.fault.lock().is_none() {
            self.faulted.notified().await;
        }
    }

    /// Why the connection broke.
    pub(super) fn fault(&self) -> String {
        self.fault.lock().clone().unwrap_or_else(|| "the connection broke".to_owned())
    }

    /// Waits for an answer that is due now, for as long as there are signs of life: only `timeout` of silence ends it, or
    /// that all which Redis has written in that time is read and the answer isn't among it.
    pub(super) async fn answer<T>(&self, timeout: Duration, answer: impl Future<Output = T>) -> Result<T, Silent> {
        let due = Instant::now();
        let mut answer = std::pin::pin!(answer);
        loop {
            let last_sign =
                if self.held_back.load(Ordering::Relaxed) { Instant::now() } else { self.last_read().max(due) };
            let end = last_sign + timeout;
            if end <= Instant::now() || self.start + self.caught_up_until() >= due + timeout {
                return Err(Silent(timeout));
            }
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                () = sleep_until(end.into()) => {}
            }
        }
    }

    fn caught_up_until(&self) -> Duration {
        Duration::from_nanos(self.caught_up_ns.load(Ordering::Relaxed))
    }

    fn note_read(&self) {
        self.last_read_ns.store(nanos(self.start.elapsed()), Ordering::Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl WatchedSocket {
    pub(super) fn new(socket: Box<dyn Socket>, line: Arc<Line>, inbox: Option<InboxSender>) -> WatchedSocket {
        WatchedSocket { socket, line, inbox, wait: None, has_read: false }
    }

    /// Ready when what comes next has room. The driver parses all it has before it reads again, so each read is also the
    /// end of the batch that the last one brought.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(inbox) = &self.inbox else {
            return Poll::Ready(());
        };
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.poll_unpin(context));
                self.wait = None;
                self.line.note_read();
                self.line.held_back.store(false, Ordering::Relaxed);
            }
            match inbox.end_batch() {
                None => break,
                Some(wait) => {
                    self.line.held_back.store(true, Ordering::Relaxed);
                    self.wait = Some(Box::pin(wait));
                }
            }
        }
        // One read a turn: whoever takes the messages gets at them while they are still in the CPU's cache, which saves
        // more than the turns cost, and a flood doesn't keep the thread from everybody else.
        if std::mem::take(&mut self.has_read) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl AsyncRead for WatchedSocket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_room(context));
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut this.socket).poll_read(context, buffer));
        this.has_read = true;
        match &read {
            Ok(()) if buffer.filled().len() > before => this.line.note_read(),
            Ok(()) => this.line.fail(
                "Redis closed the connection: it stopped, or dropped this one (CLIENT KILL, an ACL change, or more output \
                 waiting than client-output-buffer-limit pubsub allows)",
            ),
            Err(error) => this.line.fail(error.to_string()),
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for WatchedSocket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.socket).poll_write(context, buffer));
        if let Err(error) = &written {
            this.line.fail(error.to_string());
        }
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
