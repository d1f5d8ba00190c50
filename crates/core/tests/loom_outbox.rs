//! The outbox under every interleaving that loom finds. Loom reports a task that nobody wakes as a deadlock.
//!
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p fanfare-core --release --test loom_outbox`
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(loom)]

use std::io::{self, IoSlice};
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::Bytes;
use fanfare_core::{Budget, Deferred, Need, Outbox, Pushed, Wire};
use fanfare_protocol::{CloseCode, Codec};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

const FAREWELL: &[u8] = b"farewell.";

/// Who writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    /// Anybody.
    Plain,
    /// The task alone.
    Tls,
}

/// A socket that takes bytes while it has room, and tells when it has room again.
#[derive(Clone)]
struct Socket(Arc<(Mutex<Inner>, Condvar)>);

struct Inner {
    room: usize,
    received: Vec<u8>,
    waker: Option<Waker>,
}

impl Socket {
    fn new(room: usize) -> Self {
        Self(Arc::new((Mutex::new(Inner { room, received: Vec::new(), waker: None }), Condvar::new())))
    }

    fn make_room(&self, room: usize) {
        let mut inner = self.0.0.lock().unwrap();
        inner.room = room;
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.0.0.lock().unwrap();
        if inner.room > 0 {
            return Poll::Ready(());
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits until so many bytes have come, without doing anything for it.
    fn wait_for(&self, bytes: usize) {
        let mut inner = self.0.0.lock().unwrap();
        while inner.received.len() < bytes {
            inner = self.0.1.wait(inner).unwrap();
        }
    }

    fn received(&self) -> Vec<u8> {
        self.0.0.lock().unwrap().received.clone()
    }
}

impl Wire for Socket {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut inner = self.0.0.lock().unwrap();
        let offered: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let taken = offered.len().min(inner.room);
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        inner.room -= taken;
        inner.received.extend_from_slice(&offered[..taken]);
        self.0.1.notify_all();
        Ok(taken)
    }
}

/// Wakes the thread that runs the task.
struct Alarm(Mutex<bool>, Condvar);

impl Wake for Alarm {
    fn wake(self: std::sync::Arc<Self>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }
}

fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let alarm = std::sync::Arc::new(Alarm(Mutex::new(false), Condvar::new()));
    let waker = Waker::from(std::sync::Arc::clone(&alarm));
    loop {
        if let Poll::Ready(done) = poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        let mut rings = alarm.0.lock().unwrap();
        while !*rings {
            rings = alarm.1.wait(rings).unwrap();
        }
        *rings = false;
    }
}

/// The connection's task, until the outbox is closed and empty: the code it was told.
fn run_task(outbox: &Outbox, socket: &Socket, transport: Transport) -> CloseCode {
    let (mut is_draining, mut code) = (false, None);
    block_on(|context| {
        loop {
            match outbox.poll_need(context) {
                Poll::Ready(Need::Writable) => is_draining = true,
                Poll::Ready(Need::Close(told)) => {
                    assert_eq!(code.replace(told), None, "an end is told once");
                    is_draining = true;
                }
                Poll::Ready(Need::Gone) => panic!("this socket never breaks"),
                Poll::Pending => {}
            }
            if !is_draining {
                return Poll::Pending;
            }
            let pushed = match transport {
                Transport::Plain => {
                    ready!(socket.poll_writable(context));
                    outbox.resume()
                }
                Transport::Tls => outbox.drain(|slices| match socket.poll_writable(context) {
                    Poll::Ready(()) => socket.try_write(slices),
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }),
            };
            match pushed {
                Pushed::Written(_) => is_draining = false,
                // The socket has the waker now.
                Pushed::Waiting(_) if transport == Transport::Tls => return Poll::Pending,
                Pushed::Waiting(_) => {}
                Pushed::Overflowed | Pushed::Closed => panic!("the task pushes nothing"),
            }
            if let Some(code) = code.filter(|_| outbox.waiting_bytes() == 0) {
                return Poll::Ready(code);
            }
        }
    })
}

fn outbox(transport: Transport, socket: &Socket) -> Arc<Outbox> {
    let wire: std::sync::Arc<dyn Wire> = match transport {
        Transport::Plain => std::sync::Arc::new(socket.clone()),
        Transport::Tls => std::sync::Arc::new(Deferred),
    };
    Arc::new(Outbox::new(wire, Codec::Json, 1_000, std::sync::Arc::new(Budget::new(0))))
}

/// Explores with at most so many preemptions: bugs need few, and the time grows with each.
fn model(preemptions_max: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions_max);
    builder.check(run);
}

fn two_pushers_and_the_task(transport: Transport) {
    model(3, move || {
        let socket = Socket::new(3);
        let outbox = outbox(transport, &socket);
        let task = {
            let (outbox, socket) = (Arc::clone(&outbox), socket.clone());
            thread::spawn(move || run_task(&outbox, &socket, transport))
        };
        let pushers = [[b"a1", b"a2"], [b"b1", b"b2"]].map(|frames| {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || {
                for frame in frames {
                    let pushed = outbox.send(Bytes::from_static(frame));
                    assert!(matches!(pushed, Pushed::Written(_) | Pushed::Waiting(_)));
                }
            })
        });
        socket.make_room(100);
        for pusher in pushers {
            pusher.join().unwrap();
        }
        // Nobody but the task can get out what still waits.
        socket.wait_for(8);
        assert_eq!(outbox.waiting_bytes(), 0);
        let received = String::from_utf8(socket.received()).unwrap();
        for pair in [["a1", "a2"], ["b1", "b2"]] {
            let [first, second] = pair.map(|frame| received.find(frame).expect("nothing is lost"));
            assert!(first < second && first % 2 == 0 && second % 2 == 0, "{received}");
        }
        outbox.close(CloseCode::Normal, Bytes::from_static(FAREWELL), false);
        assert_eq!(task.join().unwrap(), CloseCode::Normal);
    });
}

#[test]
fn two_pushers_and_the_task_that_wrote_for_them_lose_nothing() {
    two_pushers_and_the_task(Transport::Plain);
}

#[test]
fn two_pushers_and_the_task_that_alone_can_write_lose_nothing() {
    two_pushers_and_the_task(Transport::Tls);
}

fn push_and_close(transport: Transport) {
    model(5, move || {
        let socket = Socket::new(1);
        let outbox = outbox(transport, &socket);
        let pusher = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || outbox.send(Bytes::from_static(b"a1")))
        };
        let closer = {
            let (outbox, socket) = (Arc::clone(&outbox), socket.clone());
            thread::spawn(move || {
                assert!(outbox.close(CloseCode::Draining, Bytes::from_static(FAREWELL), false));
                socket.make_room(100);
            })
        };
        assert_eq!(run_task(&outbox, &socket, transport), CloseCode::Draining);
        let before: &[u8] = if pusher.join().unwrap() == Pushed::Closed { b"" } else { b"a1" };
        closer.join().unwrap();
        assert_eq!(socket.received(), [before, FAREWELL].concat());
    });
}

#[test]
fn a_farewell_is_last_and_sent_once() {
    push_and_close(Transport::Plain);
}

#[test]
fn a_farewell_that_the_task_sends_is_last_and_sent_once() {
    push_and_close(Transport::Tls);
}

#[test]
fn of_two_closes_one_wins() {
    model(5, || {
        let socket = Socket::new(1);
        let outbox = outbox(Transport::Plain, &socket);
        outbox.send(Bytes::from_static(b"a1"));
        let closers = [(CloseCode::Slow, "slow", true), (CloseCode::TokenExpired, "expired", false)].map(
            |(code, farewell, drop_waiting)| {
                let (outbox, socket) = (Arc::clone(&outbox), socket.clone());
                thread::spawn(move || {
                    let won = outbox.close(code, Bytes::from_static(farewell.as_bytes()), drop_waiting);
                    socket.make_room(100);
                    won.then_some((code, farewell))
                })
            },
        );
        let told = run_task(&outbox, &socket, Transport::Plain);
        let won: Vec<_> = closers.into_iter().filter_map(|closer| closer.join().unwrap()).collect();
        let [(code, farewell)] = won[..] else { panic!("{won:?}") };
        assert_eq!(told, code);
        assert_eq!(socket.received(), ["a1", farewell].concat().as_bytes());
    });
}
