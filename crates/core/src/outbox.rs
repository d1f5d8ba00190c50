//! What a connection has yet to send: bounded in bytes, written at once where the socket takes it. A push never waits.
//!
//! Two parties meet here. Whoever has something for the client (its shard, its own task, the heartbeat) pushes; a push
//! to an empty outbox goes straight to the socket. Once the socket takes less than it was offered the outbox is *blocked*: bytes
//! queue up, and the connection's task, told by [`Outbox::poll_need`], waits until the socket is writable and calls
//! [`Outbox::resume`]. Every write happens under the lock, so bytes never interleave.
//!
//! What happens when it is full is decided here and nowhere else: the socket is asked once more, then events with a `key`
//! are conflated; if that is not enough, everything not yet begun is dropped and nothing more is taken. Whoever learns
//! of it closes the client as slow (4413).

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use fanfare_protocol::{CloseCode, Codec};

use crate::batch::Batch;
use crate::budget::Budget;
use crate::queue::Queue;
use crate::session::SessionId;
use crate::sync::{Mutex, MutexGuard};
use crate::wire::Wire;

/// Frames offered to the socket in one call. The kernel takes up to 1,024 (`IOV_MAX`); a batch is one of them already.
const SLICES_MAX: usize = 64;

/// A bounded queue of wire bytes in front of one client's socket.
pub struct Outbox {
    /// Shared with whoever reads from the socket: one place in memory for both.
    wire: Arc<dyn Wire>,
    codec: Codec,
    bytes_max: usize,
    budget: Arc<Budget>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    phase: Phase,
    blocked: bool,
    /// The connection's task knows what it is needed for.
    told: bool,
    waker: Option<Waker>,
    /// What the node's budget was told of this outbox.
    charged: usize,
    /// Bytes the socket took in the current operation.
    written: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Something did not fit. Nothing more is taken but the farewell, so that the bound holds whatever the pusher does.
    Full,
    /// Nothing more is taken; what waits, the farewell last, still goes out.
    Closing(CloseCode),
    /// The socket is gone.
    Broken,
}

/// What the connection's task is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Wait until the socket is writable, then [`Outbox::resume`] (or [`Outbox::drain`]), and so on for as long as that
    /// leaves something waiting.
    Writable,
    /// The farewell is queued or sent: see it through, then drop the socket.
    Close(CloseCode),
    /// The socket is gone.
    Gone,
}

/// When a push reaches the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// At once, if the socket takes it.
    Now,
    /// With the next push: more for the same client is about to come.
    Later,
}

/// How a push went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// Everything is with the kernel; so many bytes were written now.
    Written(usize),
    /// So many bytes were written now; the rest waits for the socket.
    Waiting(usize),
    /// It did not fit, conflated or not: what waited is dropped, and the client is too slow and has to be closed.
    Overflowed,
    /// The connection is closing or gone: the push was dropped.
    Closed,
}

impl Outbox {
    /// An empty outbox of at most `bytes_max` bytes before `wire`, counted into `budget`.
    pub fn new(wire: Arc<dyn Wire>, codec: Codec, bytes_max: usize, budget: Arc<Budget>) -> Self {
        let state = State {
            queue: Queue::new(codec),
            phase: Phase::Open,
            blocked: false,
            told: false,
            waker: None,
            charged: 0,
            written: 0,
        };
        Self { wire, codec, bytes_max, budget, state: Mutex::new(state) }
    }

    /// The codec that its client asked for.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// How many bytes may wait.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Bytes that wait for the socket.
    pub fn waiting_bytes(&self) -> usize {
        self.state.lock().queue.bytes()
    }

    /// Sends one ready frame (or several in one piece).
    pub fn send(&self, frame: Bytes) -> Pushed {
        self.push(Flush::Now, |state| state.queue.push_frame(frame))
    }

    /// Takes the events of `batch` meant for `session`.
    pub fn deliver(&self, batch: &Arc<Batch>, session: SessionId, flush: Flush) -> Pushed {
        self.push(flush, |state| batch.runs_for(session).for_each(|run| state.queue.push_events(batch, run)))
    }

    /// As [`Outbox::deliver`] with [`Flush::Now`], for a session that gets all of the batch: while nothing waits, the bytes go
    /// from the batch to the socket without passing through the queue.
    pub fn deliver_whole(&self, batch: &Arc<Batch>) -> Pushed {
        self.push(Flush::Now, |state| {
            let all = 0..batch.len();
            let bytes = batch.bytes(self.codec, all.clone());
            let taken = if state.blocked || !state.queue.is_empty() || bytes.is_empty() {
                0
            } else {
                state.took(self.wire.try_write(&[IoSlice::new(bytes)]))
            };
            if taken < bytes.len() && state.phase == Phase::Open {
                state.queue.push_events(batch, all);
                if taken > 0 {
                    state.queue.advance(taken);
                }
            }
        })
    }

    /// The socket is writable again: goes on.
    pub fn resume(&self) -> Pushed {
        self.drain(|slices| self.wire.try_write(slices))
    }

    /// As [`Outbox::resume`], for a transport that only the caller can write to. `write` takes as many bytes as it can at
    /// once, and is called until nothing waits or it fails, with [`io::ErrorKind::WouldBlock`] when it can take none now.
    pub fn drain(&self, write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Pushed {
        let mut state = self.state.lock();
        state.blocked = false;
        state.write_out(write);
        if !matches!(state.phase, Phase::Closing(_)) {
            // The caller sees whether it has to wait again: to wake it for that would keep it running in circles.
            state.told = state.blocked;
        }
        self.settle(state)
    }

    /// Says goodbye: `farewell` goes out after all that waits, and no push is taken any more. With `drop_waiting` all
    /// that waits is dropped first, but for a frame that the socket has begun to take: a client that doesn't read would
    /// find its farewell behind a megabyte. Only the first close counts; says whether this was it.
    pub fn close(&self, code: CloseCode, farewell: Bytes, drop_waiting: bool) -> bool {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Open | Phase::Full) {
            return false;
        }
        if drop_waiting {
            state.queue.clear();
        }
        state.queue.push_frame(farewell);
        state.phase = Phase::Closing(code);
        state.told = false;
        state.write_out(|slices| self.wire.try_write(slices));
        self.settle(state);
        true
    }

    /// The code it was closed with, if it was and the socket still stands.
    pub fn close_code(&self) -> Option<CloseCode> {
        match self.state.lock().phase {
            Phase::Closing(code) => Some(code),
            Phase::Open | Phase::Full | Phase::Broken => None,
        }
    }

    /// For the connection's own task: what it is needed for. Pending while the outbox gets along by itself; each need is
    /// told once.
    pub fn poll_need(&self, context: &mut Context<'_>) -> Poll<Need> {
        let mut state = self.state.lock();
        if let Some(need) = state.need() {
            state.told = true;
            return Poll::Ready(need);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn push(&self, flush: Flush, push: impl FnOnce(&mut State)) -> Pushed {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Open => {}
            Phase::Full => return Pushed::Overflowed,
            Phase::Closing(_) | Phase::Broken => return Pushed::Closed,
        }
        push(&mut state);
        let is_over = |state: &State| state.queue.bytes() > self.bytes_max;
        if is_over(&state) || (flush == Flush::Now && !state.blocked) {
            state.write_out(|slices| self.wire.try_write(slices));
        }
        if is_over(&state) {
            state.queue.conflate();
        }
        if !is_over(&state) {
            return self.settle(state);
        }
        state.queue.clear();
        state.phase = Phase::Full;
        self.settle(state);
        Pushed::Overflowed
    }

    /// Ends every operation: the node's budget is told, the lock dropped, and only then the task woken.
    fn settle(&self, mut state: MutexGuard<'_, State>) -> Pushed {
        let waiting = state.queue.bytes();
        if waiting != state.charged {
            self.budget.change(state.charged, waiting);
            state.charged = waiting;
        }
        let waker = if state.need().is_some() { state.waker.take() } else { None };
        let written = std::mem::take(&mut state.written);
        let is_broken = state.phase == Phase::Broken;
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        match waiting {
            _ if is_broken => Pushed::Closed,
            0 => Pushed::Written(written),
            _ => Pushed::Waiting(written),
        }
    }
}

impl State {
    fn need(&self) -> Option<Need> {
        match self.phase {
            Phase::Broken => Some(Need::Gone),
            _ if self.told => None,
            Phase::Closing(code) => Some(Need::Close(code)),
            Phase::Open | Phase::Full => self.blocked.then_some(Need::Writable),
        }
    }

    fn write_out(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) {
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = self.queue.peek(&mut slices);
            let result = write(&slices[..filled]);
            let taken = self.took(result);
            if taken == 0 {
                return;
            }
            self.queue.advance(taken);
        }
    }

    /// Notes what came of an offer to the socket; says how many bytes it took.
    fn took(&mut self, result: io::Result<usize>) -> usize {
        match result {
            Ok(taken) if taken > 0 => {
                self.written += taken;
                return taken;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
            // A socket that takes nothing of something never will again.
            Ok(_) | Err(_) => {
                self.phase = Phase::Broken;
                self.queue = Queue::new(self.queue.codec());
            }
        }
        0
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.budget.change(self.state.get_mut().charged, 0);
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Outbox").field("waiting_bytes", &self.waiting_bytes()).finish_non_exhaustive()
    }
}
