//! What the tests of the outbox share: events that can be told apart, and a socket that does as it is told.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fanfare_core::{Batch, SessionId, TopicId, Wire, frame};
use fanfare_protocol::{Codec, Event, TopicKey, event_frame_json, event_frame_msgpack};

/// The topic of number `id`.
pub(crate) fn topic_key(id: u32) -> TopicKey {
    TopicKey::parse(&format!("acme:channel:t{id}")).unwrap()
}

/// Event `number`, which is as much longer as `pad`.
pub(crate) fn event(number: u32, key: Option<&str>, pad: usize) -> Event {
    let key = key.map_or(String::new(), |key| format!(r#""key":"{key}","#));
    let envelope = format!(r#"{{"type":"e",{key}"data":{{"n":{number},"pad":"{}"}}}}"#, "x".repeat(pad));
    Event::decode(envelope.into(), 1 << 20).unwrap()
}

/// The frame of one event, made without a batch.
pub(crate) fn event_frame(codec: Codec, topic: u32, event: &Event) -> Vec<u8> {
    let mut payload = Vec::new();
    match codec {
        Codec::Json => event_frame_json(&mut payload, topic_key(topic).topic(), event, None),
        Codec::Msgpack => event_frame_msgpack(&mut payload, topic_key(topic).topic(), event, None),
    }
    frame::message(codec, &payload).to_vec()
}

/// A batch that leaves nobody out.
pub(crate) fn batch(topic: u32, events: &[Event]) -> Arc<Batch> {
    batch_with(topic, events.iter().map(|event| (event.clone(), None)))
}

/// A batch that leaves sessions out.
pub(crate) fn batch_with(topic: u32, events: impl IntoIterator<Item = (Event, Option<SessionId>)>) -> Arc<Batch> {
    Arc::new(Batch::new(TopicId(topic), topic_key(topic), events))
}

/// The whole frames in `wire`, and what is left after them.
pub(crate) fn split_frames(wire: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let (mut frames, mut rest) = (Vec::new(), wire);
    while let Some(len) = frame_len(rest).filter(|&len| len <= rest.len()) {
        let (whole, after) = rest.split_at(len);
        frames.push(whole);
        rest = after;
    }
    (frames, rest)
}

/// How long the frame is that `wire` begins with (RFC 6455 §5.2, without a mask).
fn frame_len(wire: &[u8]) -> Option<usize> {
    match *wire.get(1)? {
        126 => Some(4 + usize::from(u16::from_be_bytes([*wire.get(2)?, *wire.get(3)?]))),
        127 => Some(10 + usize::try_from(u64::from_be_bytes(wire.get(2..10)?.try_into().unwrap())).unwrap()),
        short => Some(2 + usize::from(short)),
    }
}

/// What the socket does with the next offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// Takes so many bytes, or all if there are fewer.
    UpTo(usize),
    /// Takes none now.
    Nothing,
    /// Is gone.
    Break,
}

/// A socket's other end.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeSocket(Arc<Mutex<Fake>>);

#[derive(Debug, Default)]
struct Fake {
    received: Vec<u8>,
    script: VecDeque<Take>,
    offers: usize,
    blocked: bool,
    is_broken: bool,
}

/// What the socket saw since it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How often it was offered bytes.
    pub(crate) offers: usize,
    /// Whether it had to say that it takes none now.
    pub(crate) blocked: bool,
    /// Whether it is gone.
    pub(crate) is_broken: bool,
    /// All that it has taken, ever.
    pub(crate) received_bytes: usize,
}

impl FakeSocket {
    /// What it does from here on; after that it takes nothing.
    pub(crate) fn set(&self, script: &[Take]) {
        let mut fake = self.0.lock().unwrap();
        fake.script = script.iter().copied().collect();
    }

    /// What it has taken.
    pub(crate) fn received(&self) -> Vec<u8> {
        self.0.lock().unwrap().received.clone()
    }

    /// What happened since the last call.
    pub(crate) fn seen(&self) -> Seen {
        let mut fake = self.0.lock().unwrap();
        let seen = Seen {
            offers: fake.offers,
            blocked: fake.blocked,
            is_broken: fake.is_broken,
            received_bytes: fake.received.len(),
        };
        (fake.offers, fake.blocked) = (0, false);
        seen
    }

    /// The outbox's end.
    pub(crate) fn wire(&self) -> Arc<dyn Wire> {
        Arc::new(self.clone())
    }

    /// Whether it would take something now.
    pub(crate) fn has_room(&self) -> bool {
        matches!(self.0.lock().unwrap().script.front(), Some(Take::UpTo(_)))
    }
}

impl Wire for FakeSocket {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut fake = self.0.lock().unwrap();
        assert!(slices.iter().all(|slice| !slice.is_empty()), "an offer of nothing");
        fake.offers += 1;
        if fake.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match fake.script.pop_front().unwrap_or(Take::Nothing) {
            Take::UpTo(most) => {
                let offered: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                let taken = most.min(offered.len());
                fake.received.extend_from_slice(&offered[..taken]);
                Ok(taken)
            }
            Take::Nothing => {
                fake.blocked = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
            Take::Break => {
                fake.is_broken = true;
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
    }
}

/// A frame that stands for what a node says beside events.
pub(crate) fn note(codec: Codec, number: u32) -> Bytes {
    frame::message(codec, format!("note {number}").as_bytes())
}
