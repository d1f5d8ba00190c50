//! Whatever the pushers and the socket do: the client gets whole frames, in order, within the bound.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(not(loom))]

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use fanfare_core::{Budget, Flush, Outbox, Pushed, SessionId, Wire, frame};
use fanfare_protocol::{CloseCode, Codec, Event};
use proptest::prelude::*;

use support::{FakeSocket, Seen, Take, batch_with, event, event_frame, note, split_frames};

const SESSION: SessionId = SessionId(1);
const NO_BOUND: usize = usize::MAX;

/// One call, and what the socket does meanwhile.
#[derive(Clone, Debug)]
struct Step {
    /// Which of the two outboxes.
    at: usize,
    call: Call,
    takes: Vec<Take>,
}

#[derive(Clone, Debug)]
enum Call {
    Send { frames: u32 },
    Deliver { topic: u32, events: Vec<Planned>, flush: Flush },
    DeliverWhole { topic: u32, events: Vec<Planned> },
    SendNothing,
    Resume,
    Drain,
    Close { drop_waiting: bool },
}

#[derive(Clone, Debug)]
struct Planned {
    key: Option<&'static str>,
    except: Option<SessionId>,
    pad: usize,
}

/// What is never cut: one event's frame, or what was sent in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    bytes: Vec<u8>,
    key: Option<(u32, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Full,
    Closing,
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    Nothing,
    Conflated,
    Dropped,
}

/// An outbox as simple as it can be told: a list, searched from end to end.
#[derive(Debug)]
struct Model {
    codec: Codec,
    bytes_max: usize,
    waiting: Vec<Piece>,
    /// Bytes of the first piece that the socket has taken.
    begun: usize,
    conflates: bool,
    blocked: bool,
    phase: Phase,
    /// What the socket must have received.
    received: Vec<u8>,
    /// All pieces that were taken, in order.
    accepted: Vec<Piece>,
    /// The worst that has happened to what waited.
    loss: Loss,
}

impl Model {
    fn new(codec: Codec, bytes_max: usize) -> Self {
        Self {
            codec,
            bytes_max,
            waiting: Vec::new(),
            begun: 0,
            conflates: false,
            blocked: false,
            phase: Phase::Open,
            received: Vec::new(),
            accepted: Vec::new(),
            loss: Loss::Nothing,
        }
    }

    fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(|piece| piece.bytes.len()).sum::<usize>() - self.begun
    }

    fn is_over(&self) -> bool {
        self.waiting_bytes() > self.bytes_max
    }

    fn append(&mut self, piece: Piece) {
        self.accepted.push(piece.clone());
        self.waiting.push(piece);
        if self.conflates {
            self.drop_older();
        }
    }

    fn drop_older(&mut self) {
        for place in (usize::from(self.begun > 0)..self.waiting.len()).rev() {
            let (older, newer) = self.waiting.split_at(place + 1);
            let older = &older[place].key;
            if older.is_some() && newer.iter().any(|newer| newer.key == *older) {
                self.waiting.remove(place);
                self.loss = self.loss.max(Loss::Conflated);
            }
        }
    }

    fn drop_unbegun(&mut self) {
        let begun = usize::from(self.begun > 0);
        if self.waiting.len() > begun {
            self.loss = Loss::Dropped;
        }
        self.waiting.truncate(begun);
        self.conflates = false;
    }

    /// The socket took so many bytes, or more of them than there were.
    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let piece = &self.waiting[0].bytes[self.begun..];
            let taken = count.min(piece.len());
            self.received.extend_from_slice(&piece[..taken]);
            count -= taken;
            self.begun += taken;
            if self.begun == self.waiting[0].bytes.len() {
                self.waiting.remove(0);
                self.begun = 0;
            }
        }
        self.conflates &= !self.waiting.is_empty();
    }

    /// What the socket saw while bytes were offered to it, or could have been.
    fn offered(&mut self, seen: Seen, expected: bool) {
        assert_eq!(seen.offers > 0, expected && !self.waiting.is_empty());
        self.advance(seen.received_bytes - self.received.len());
        self.blocked |= seen.blocked;
        if seen.is_broken {
            self.phase = Phase::Broken;
            self.waiting.clear();
            self.begun = 0;
        }
        let gave_up = seen.blocked || seen.is_broken;
        assert!(gave_up || !expected || self.waiting.is_empty(), "it stopped before the socket did");
    }

    fn pushed(&self, written: usize) -> Pushed {
        match self.phase {
            Phase::Broken => Pushed::Closed,
            _ if self.waiting.is_empty() => Pushed::Written(written),
            _ => Pushed::Waiting(written),
        }
    }

    fn push(&mut self, pieces: Vec<Piece>, flush: Flush, seen: Seen) -> Pushed {
        match self.phase {
            Phase::Open => {}
            Phase::Full => return Pushed::Overflowed,
            Phase::Closing | Phase::Broken => return Pushed::Closed,
        }
        let before = self.received.len();
        for piece in pieces {
            self.append(piece);
        }
        self.offered(seen, self.is_over() || (flush == Flush::Now && !self.blocked));
        if self.is_over() && !self.conflates {
            self.conflates = true;
            self.drop_older();
        }
        if self.is_over() {
            self.drop_unbegun();
            self.phase = Phase::Full;
            return Pushed::Overflowed;
        }
        self.pushed(self.received.len() - before)
    }

    fn drain(&mut self, seen: Seen) -> Pushed {
        let before = self.received.len();
        self.blocked = false;
        self.offered(seen, true);
        self.pushed(self.received.len() - before)
    }

    fn close(&mut self, farewell: &[u8], drop_waiting: bool, seen: Seen) -> bool {
        if !matches!(self.phase, Phase::Open | Phase::Full) {
            return false;
        }
        self.phase = Phase::Closing;
        if drop_waiting {
            self.drop_unbegun();
        }
        self.append(Piece { bytes: farewell.to_vec(), key: None });
        self.offered(seen, true);
        true
    }
}

/// An outbox, its model, and the socket's other end.
struct Pair {
    outbox: Outbox,
    model: Model,
    socket: FakeSocket,
    farewell: Bytes,
}

impl Pair {
    fn new(codec: Codec, bytes_max: usize, budget: &Arc<Budget>) -> Self {
        let socket = FakeSocket::default();
        let outbox = Outbox::new(socket.wire(), codec, bytes_max, Arc::clone(budget));
        let farewell = frame::close(4413, "slow");
        Self { outbox, model: Model::new(codec, bytes_max), socket, farewell }
    }

    fn call(&mut self, call: &Call, next_number: &mut u32) {
        match call {
            Call::Send { frames } => {
                let frames: Vec<_> = (0..*frames).map(|more| note(self.model.codec, *next_number + more)).collect();
                *next_number += u32::try_from(frames.len()).unwrap();
                let bytes = frames.concat();
                let pushed = self.outbox.send(bytes.clone().into());
                let piece = Some(Piece { bytes, key: None }).filter(|piece| !piece.bytes.is_empty());
                assert_eq!(pushed, self.model.push(piece.into_iter().collect(), Flush::Now, self.socket.seen()));
            }
            Call::Deliver { topic, events, flush } => {
                let events = numbered(events, next_number);
                let pushed = self.outbox.deliver(&batch_with(*topic, events.clone()), SESSION, *flush);
                let meant = events.into_iter().filter(|(_, except)| *except != Some(SESSION));
                let pieces = meant.map(|(event, _)| self.piece(*topic, &event)).collect();
                assert_eq!(pushed, self.model.push(pieces, *flush, self.socket.seen()));
            }
            Call::DeliverWhole { topic, events } => {
                let events = numbered(events, next_number).into_iter().map(|(event, _)| (event, None));
                let events: Vec<_> = events.collect();
                let pushed = self.outbox.deliver_whole(&batch_with(*topic, events.clone()));
                let pieces = events.iter().map(|(event, _)| self.piece(*topic, event)).collect();
                assert_eq!(pushed, self.model.push(pieces, Flush::Now, self.socket.seen()));
            }
            Call::SendNothing => {
                let pushed = self.outbox.send(Bytes::new());
                assert_eq!(pushed, self.model.push(Vec::new(), Flush::Now, self.socket.seen()));
            }
            Call::Resume => assert_eq!(self.outbox.resume(), self.model.drain(self.socket.seen())),
            Call::Drain => {
                let pushed = self.outbox.drain(|slices| self.socket.try_write(slices));
                assert_eq!(pushed, self.model.drain(self.socket.seen()));
            }
            Call::Close { drop_waiting } => {
                let closed = self.outbox.close(CloseCode::Slow, self.farewell.clone(), *drop_waiting);
                let expected = self.model.close(&self.farewell, *drop_waiting, self.socket.seen());
                assert_eq!(closed, expected);
            }
        }
        assert_eq!(self.outbox.waiting_bytes(), self.model.waiting_bytes());
        assert_eq!(self.socket.received(), self.model.received);
        assert_eq!(self.outbox.close_code().is_some(), self.model.phase == Phase::Closing);
    }

    fn piece(&self, topic: u32, event: &Event) -> Piece {
        let key = event.key.as_deref().map(|key| (topic, *KEYS.iter().find(|known| **known == key).unwrap()));
        Piece { bytes: event_frame(self.model.codec, topic, event), key }
    }

    /// Lets everything out and looks at what the client has in the end, without regard to when it got it.
    fn finish(mut self) {
        self.socket.set(&[Take::UpTo(usize::MAX); 100]);
        self.call(&Call::Resume, &mut 0);
        let received = self.socket.received();
        let (frames, rest) = split_frames(&received);
        let is_broken = self.model.phase == Phase::Broken;
        assert!(rest.is_empty() || is_broken, "half a frame at the end");

        // Each piece once, in the order in which they were taken, none that was not.
        let mut accepted = self.model.accepted.iter();
        let mut got = Vec::new();
        let mut at = 0;
        let whole_bytes: usize = frames.iter().map(|frame| frame.len()).sum();
        while at < whole_bytes {
            let ahead = &received[at..whole_bytes];
            let found =
                accepted.find(|piece| ahead.starts_with(&piece.bytes) || is_broken && piece.bytes.starts_with(ahead));
            let piece = found.expect("a frame that nobody sent, or in the wrong order");
            at += piece.bytes.len();
            got.push(piece.clone());
        }
        if is_broken || self.model.loss == Loss::Dropped {
            return;
        }
        if self.model.loss == Loss::Nothing {
            assert_eq!(got, self.model.accepted, "nothing may be missing");
            return;
        }
        let mut newest = HashMap::new();
        for piece in &self.model.accepted {
            newest.insert(&piece.key, piece);
        }
        for piece in self.model.accepted.iter().filter(|piece| !got.contains(piece)) {
            assert!(piece.key.is_some(), "what has no key may not be missing");
            let newest = newest[&piece.key];
            assert_ne!(newest, piece, "the newest of a key may not be missing");
            assert_eq!(got.iter().rfind(|got| got.key == piece.key), Some(newest));
        }
    }
}

const KEYS: [&str; 3] = ["a", "b", "a long key"];

fn numbered(planned: &[Planned], next_number: &mut u32) -> Vec<(Event, Option<SessionId>)> {
    let one = |planned: &Planned| {
        *next_number += 1;
        (event(*next_number, planned.key, planned.pad), planned.except)
    };
    planned.iter().map(one).collect()
}

fn planned() -> impl Strategy<Value = Vec<Planned>> {
    let key = prop_oneof![1 => Just(None), 3 => prop::sample::select(&KEYS).prop_map(Some)];
    let except = prop_oneof![4 => Just(None), 1 => Just(Some(SESSION)), 1 => Just(Some(SessionId(2)))];
    let one = (key, except, 0_usize..150).prop_map(|(key, except, pad)| Planned { key, except, pad });
    prop::collection::vec(one, 0..6)
}

fn step() -> impl Strategy<Value = Step> {
    let flush = prop_oneof![Just(Flush::Now), Just(Flush::Later)];
    let call = prop_oneof![
        4 => (0_u32..4).prop_map(|frames| Call::Send { frames }),
        8 => (0_u32..2, planned(), flush).prop_map(|(topic, events, flush)| Call::Deliver { topic, events, flush }),
        4 => (0_u32..2, planned()).prop_map(|(topic, events)| Call::DeliverWhole { topic, events }),
        2 => Just(Call::SendNothing),
        3 => Just(Call::Resume),
        2 => Just(Call::Drain),
        1 => any::<bool>().prop_map(|drop_waiting| Call::Close { drop_waiting }),
    ];
    let take = prop_oneof![
        20 => (1_usize..400).prop_map(Take::UpTo),
        5 => Just(Take::UpTo(usize::MAX)),
        20 => Just(Take::Nothing),
        1 => Just(Take::Break),
    ];
    (0_usize..2, call, prop::collection::vec(take, 0..4)).prop_map(|(at, call, takes)| Step { at, call, takes })
}

proptest! {
    #[test]
    fn an_outbox_does_what_a_plain_list_would(
        steps in prop::collection::vec(step(), 1..80),
        bytes_max in prop_oneof![Just(NO_BOUND), Just(2_000), Just(500)],
    ) {
        let budget = Arc::new(Budget::new(1_000));
        let mut pairs = [Codec::Json, Codec::Msgpack].map(|codec| Pair::new(codec, bytes_max, &budget));
        let mut next_number = 0;
        for step in steps {
            let pair = &mut pairs[step.at];
            pair.socket.set(&step.takes);
            pair.call(&step.call, &mut next_number);
            let waiting: usize = pairs.iter().map(|pair| pair.outbox.waiting_bytes()).sum();
            prop_assert_eq!(budget.used_bytes(), waiting);
            prop_assert_eq!(budget.excess_bytes(), waiting.saturating_sub(1_000));
        }
        let [one, other] = pairs;
        one.finish();
        prop_assert_eq!(budget.used_bytes(), other.outbox.waiting_bytes());
        drop(other);
        prop_assert_eq!(budget.used_bytes(), 0);
    }
}
