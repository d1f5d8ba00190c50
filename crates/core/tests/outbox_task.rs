//! The outbox and its connection's task: the task is woken whenever it is needed, and only then.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(not(loom))]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use fanfare_core::{Budget, Deferred, Flush, Need, Outbox, Pushed, SessionId, Wire};
use fanfare_protocol::{CloseCode, Codec};
use proptest::prelude::*;

use support::{FakeSocket, Take, batch, event, note, split_frames};

/// Counts how often it was woken.
#[derive(Debug, Default)]
struct Alarm(AtomicUsize);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    /// Anybody.
    Plain,
    /// The task alone.
    Tls,
}

/// A connection's task. It only runs when it was woken, or when the socket is writable again and it waits for that.
struct Task {
    outbox: Outbox,
    socket: FakeSocket,
    transport: Transport,
    alarm: Arc<Alarm>,
    alarms_heard: usize,
    waits_for_socket: bool,
    told: Vec<Need>,
}

impl Task {
    fn new(transport: Transport, bytes_max: usize) -> Self {
        let socket = FakeSocket::default();
        let wire = match transport {
            Transport::Plain => socket.wire(),
            Transport::Tls => Arc::new(Deferred),
        };
        let outbox = Outbox::new(wire, Codec::Json, bytes_max, Arc::new(Budget::new(0)));
        let alarm = Arc::new(Alarm::default());
        let mut task =
            Self { outbox, socket, transport, alarm, alarms_heard: 0, waits_for_socket: false, told: Vec::new() };
        task.turn();
        task
    }

    fn alarms(&self) -> usize {
        self.alarm.0.load(Ordering::Relaxed)
    }

    /// The executor: runs the task for as long as somebody wakes it.
    fn run_if_woken(&mut self) {
        for _ in 0..4 {
            if self.alarms() == self.alarms_heard {
                return;
            }
            self.alarms_heard = self.alarms();
            self.turn();
        }
        panic!("the task keeps itself running: {:?}", self.told);
    }

    /// The socket takes these now; the task hears of it if it waits for that.
    fn becomes_writable(&mut self, takes: &[Take]) {
        self.socket.set(takes);
        if self.waits_for_socket && self.socket.has_room() {
            self.turn();
        }
        self.run_if_woken();
    }

    fn turn(&mut self) {
        let waker = Waker::from(Arc::clone(&self.alarm));
        while let Poll::Ready(need) = self.outbox.poll_need(&mut Context::from_waker(&waker)) {
            assert!(need != Need::Writable || !self.waits_for_socket, "told what it knows");
            self.told.push(need);
            if need == Need::Gone {
                self.waits_for_socket = false;
                return;
            }
            self.waits_for_socket = true;
        }
        if self.waits_for_socket {
            let pushed = match self.transport {
                Transport::Plain => self.outbox.resume(),
                Transport::Tls => self.outbox.drain(|slices| self.socket.try_write(slices)),
            };
            self.waits_for_socket = matches!(pushed, Pushed::Waiting(_));
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send,
    DeliverLater,
    Flush,
    Close { drop_waiting: bool },
    Writable(Vec<Take>),
}

fn step() -> impl Strategy<Value = Step> {
    let take = prop_oneof![20 => (1_usize..100).prop_map(Take::UpTo), 1 => Just(Take::Break)];
    prop_oneof![
        10 => Just(Step::Send),
        4 => Just(Step::DeliverLater),
        3 => Just(Step::Flush),
        1 => any::<bool>().prop_map(|drop_waiting| Step::Close { drop_waiting }),
        10 => prop::collection::vec(take, 0..4).prop_map(Step::Writable),
    ]
}

proptest! {
    #[test]
    fn while_the_socket_takes_bytes_nothing_waits(
        transport in prop_oneof![Just(Transport::Plain), Just(Transport::Tls)],
        bytes_max in prop_oneof![Just(usize::MAX), Just(300)],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut task = Task::new(transport, bytes_max);
        let mut is_flushed = true;
        for (step, number) in steps.into_iter().zip(0..) {
            match step {
                Step::Send => {
                    task.outbox.send(note(Codec::Json, number));
                    is_flushed = true;
                }
                Step::DeliverLater => {
                    let batch = batch(0, &[event(number, Some("k"), 20)]);
                    is_flushed &= task.outbox.deliver(&batch, SessionId(1), Flush::Later) == Pushed::Closed;
                }
                Step::Flush => {
                    task.outbox.send(bytes::Bytes::new());
                    is_flushed = true;
                }
                Step::Close { drop_waiting } => {
                    task.outbox.close(CloseCode::Normal, note(Codec::Json, number), drop_waiting);
                    is_flushed = true;
                }
                Step::Writable(takes) => task.becomes_writable(&takes),
            }
            task.run_if_woken();
            prop_assert!(task.outbox.waiting_bytes() == 0 || !task.socket.has_room() || !is_flushed);
        }
        task.socket.set(&[]);
        let is_closed = task.outbox.send(note(Codec::Json, 0)) == Pushed::Closed;
        task.run_if_woken();
        // It was told of each end once, and never woken for nothing.
        let ends = task.told.iter().filter(|need| matches!(need, Need::Close(_))).count();
        prop_assert!(ends <= 1);
        prop_assert_eq!(ends == 1 || task.told.contains(&Need::Gone), is_closed);
        prop_assert!(task.alarms() <= task.told.len());

        task.outbox.send(bytes::Bytes::new());
        task.becomes_writable(&[Take::UpTo(usize::MAX); 100]);
        prop_assert_eq!(task.outbox.waiting_bytes(), 0);
        prop_assert!(split_frames(&task.socket.received()).1.is_empty() || task.told.contains(&Need::Gone));
    }
}

#[test]
fn a_socket_that_takes_all_costs_the_task_nothing() {
    let task = Task::new(Transport::Plain, 1_000);
    task.socket.set(&[Take::UpTo(usize::MAX)]);
    let frame = note(Codec::Json, 1);
    assert_eq!(task.outbox.send(frame.clone()), Pushed::Written(frame.len()));
    assert_eq!(task.alarms(), 0);
}

#[test]
fn a_task_that_alone_can_write_is_woken_once_until_it_has_written_all() {
    let mut task = Task::new(Transport::Tls, usize::MAX);
    for number in 0..10 {
        task.outbox.send(note(Codec::Json, number));
    }
    assert_eq!(task.alarms(), 1);
    // The socket is full: the task tries, waits for the socket, and is not woken for what it waits for already.
    task.run_if_woken();
    task.outbox.send(note(Codec::Json, 10));
    assert_eq!((task.alarms(), task.told.as_slice()), (1, &[Need::Writable][..]));
    // A transport may take less than it could, as one with a buffer of its own does: it is asked until it takes nothing.
    task.becomes_writable(&[Take::UpTo(5); 3]);
    assert_eq!(task.socket.received().len(), 15);
    task.becomes_writable(&[Take::UpTo(40); 10]);
    assert_eq!(task.outbox.waiting_bytes(), 0);
    assert_eq!((task.alarms(), task.told.as_slice()), (1, &[Need::Writable][..]));
    // That need is over; the next one is told anew.
    task.outbox.send(note(Codec::Json, 11));
    task.run_if_woken();
    assert_eq!((task.alarms(), task.told.len()), (2, 2));
}

#[test]
fn a_close_reaches_a_task_that_waits_for_the_socket() {
    let mut task = Task::new(Transport::Plain, 1_000);
    task.outbox.send(note(Codec::Json, 1));
    task.run_if_woken();
    task.becomes_writable(&[Take::UpTo(3)]);
    assert!(task.outbox.close(CloseCode::Slow, note(Codec::Json, 2), true));
    assert!(!task.outbox.close(CloseCode::Normal, note(Codec::Json, 3), true));
    task.run_if_woken();
    assert_eq!(task.told, [Need::Writable, Need::Close(CloseCode::Slow)]);
    task.becomes_writable(&[Take::UpTo(usize::MAX); 2]);
    assert_eq!(task.socket.received(), [note(Codec::Json, 1), note(Codec::Json, 2)].concat());
    assert_eq!(task.told.len(), 2, "the farewell is seen through without being told again");
}

#[test]
fn a_push_that_does_not_fit_is_the_last_one_even_if_its_pusher_does_not_close() {
    let mut task = Task::new(Transport::Plain, 30);
    task.socket.set(&[Take::UpTo(4)]);
    let frame = note(Codec::Json, 1);
    assert_eq!(task.outbox.send(frame.clone()), Pushed::Waiting(4));
    task.run_if_woken();
    let mut pushed = Vec::new();
    while !pushed.contains(&Pushed::Overflowed) {
        pushed.push(task.outbox.send(frame.clone()));
        assert!(task.outbox.waiting_bytes() <= 30);
    }
    assert_eq!(task.outbox.waiting_bytes(), frame.len() - 4, "what was begun");
    task.socket.set(&[Take::UpTo(usize::MAX)]);
    assert_eq!(task.outbox.send(frame.clone()), Pushed::Overflowed);
    assert_eq!(task.outbox.send(bytes::Bytes::new()), Pushed::Overflowed);
    let farewell = note(Codec::Json, 4413);
    assert!(task.outbox.close(CloseCode::Slow, farewell.clone(), false));
    assert_eq!(task.socket.received(), [frame, farewell].concat());
}

#[test]
fn a_frame_longer_than_the_bound_is_finished_once_it_was_begun() {
    let mut task = Task::new(Transport::Plain, 1);
    task.socket.set(&[Take::UpTo(4)]);
    let frame = note(Codec::Json, 1);
    assert_eq!(task.outbox.send(frame.clone()), Pushed::Overflowed);
    task.run_if_woken();
    task.becomes_writable(&[Take::UpTo(usize::MAX)]);
    assert_eq!(task.socket.received(), frame);
}

#[test]
fn of_a_batch_that_was_begun_only_the_begun_frame_is_finished() {
    let mut task = Task::new(Transport::Plain, 10_000);
    let batch = batch(0, &[event(1, None, 0), event(2, None, 0), event(3, None, 0)]);
    let first = batch.bytes(Codec::Json, 0..1).len();
    task.socket.set(&[Take::UpTo(first + 5)]);
    assert_eq!(task.outbox.deliver_whole(&batch), Pushed::Waiting(first + 5));
    let farewell = note(Codec::Json, 4413);
    task.outbox.close(CloseCode::Slow, farewell.clone(), true);
    task.run_if_woken();
    task.becomes_writable(&[Take::UpTo(usize::MAX)]);
    assert_eq!(task.socket.received(), [batch.bytes(Codec::Json, 0..2), &farewell].concat());
}

#[test]
fn a_broken_socket_is_told_and_charges_nothing() {
    for whole in [true, false] {
        let budget = Arc::new(Budget::new(0));
        let socket = FakeSocket::default();
        let outbox = Outbox::new(socket.wire(), Codec::Json, 10_000, Arc::clone(&budget));
        let batch = batch(0, &[event(1, None, 0)]);
        outbox.send(note(Codec::Json, 1));
        assert!(budget.used_bytes() > 0);
        socket.set(&[Take::UpTo(usize::MAX)]);
        outbox.resume();
        socket.set(&[Take::Break]);
        let deliver =
            || if whole { outbox.deliver_whole(&batch) } else { outbox.deliver(&batch, SessionId(1), Flush::Now) };
        assert_eq!(deliver(), Pushed::Closed);
        assert_eq!(deliver(), Pushed::Closed);
        assert_eq!((outbox.waiting_bytes(), budget.used_bytes()), (0, 0));
        assert_eq!(socket.seen().offers, 3, "a broken socket is not asked again");
        assert!(!outbox.close(CloseCode::Normal, note(Codec::Json, 2), false));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(outbox.poll_need(&mut context), Poll::Ready(Need::Gone));
    }
}
