//! From a batch to the sockets of its subscribers, as a shard does it. Deliberately without the shard: its turns and its
//! metrics are the gateway's.

use std::io::{self, IoSlice};
use std::sync::Arc;

use fanfare_core::{Batch, Budget, Millis, Outbox, Registry, Session, SessionId, TopicId, Wire};
use fanfare_protocol::{Codec, Event, TopicKey};

use crate::counting::Cases;
use crate::counting::sample::envelope;

const SUBSCRIBERS: u64 = 1_000;
const TOPICS: u32 = 10;
const OUTBOX_BYTES_MAX: usize = 1 << 20;
const PING_MS: u64 = 25_000;
const NOW: Millis = Millis(60_000);

/// What stands for a client's socket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Socket {
    TakesAll,
    TakesNone,
}

impl Wire for Socket {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::TakesAll => Ok(slices.iter().map(|slice| slice.len()).sum()),
            Self::TakesNone => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Adds the cases.
pub(crate) fn add(cases: &mut Cases) {
    for codec in [Codec::Json, Codec::Msgpack] {
        let frame = move |batch: &mut Batch| batch.bytes(codec, 0..batch.len()).len();
        cases.add(format!("frame 200 events for {codec:?}"), || batch(0, 200, None), frame);
    }
    for (events, what) in [(1, "1 event"), (200, "200 events")] {
        for (socket, whom) in [(Socket::TakesAll, ""), (Socket::TakesNone, " blocked")] {
            let prepare = move || {
                let registry = registry(1, SUBSCRIBERS, socket);
                // A socket is known to be blocked once something was offered to it.
                deliver_now(&registry, &framed(0, 1, None));
                (registry, framed(0, events, None))
            };
            let deliver = |(registry, batch): &mut (Registry, Arc<Batch>)| deliver_now(registry, batch);
            cases.add(format!("fan out {what} to {SUBSCRIBERS}{whom}"), prepare, deliver);
        }
    }
    let but_one = || (registry(1, SUBSCRIBERS, Socket::TakesAll), framed(0, 1, Some(SessionId(7))));
    let deliver = |(registry, batch): &mut (Registry, Arc<Batch>)| deliver_now(registry, batch);
    cases.add(format!("fan out 1 event to {SUBSCRIBERS} but one"), but_one, deliver);
    let of_each_topic = || {
        let batches: Vec<_> = (0..TOPICS).map(|topic| framed(topic, 1, None)).collect();
        (registry(TOPICS, SUBSCRIBERS, Socket::TakesAll), batches)
    };
    let name = format!("fan out 1 event of each of {TOPICS} topics to {SUBSCRIBERS}");
    cases.add(name, of_each_topic, |(registry, batches)| deliver_together(registry, batches));
}

/// As a shard delivers the events of one topic.
fn deliver_now(registry: &Registry, batch: &Arc<Batch>) {
    for session in registry.sessions(batch.topic()) {
        session.deliver(batch, NOW);
    }
}

/// As a shard delivers what came for several topics: each client is written to once.
fn deliver_together(registry: &Registry, batches: &[Arc<Batch>]) {
    registry.announce(batches);
    for batch in batches {
        deliver_now(registry, batch);
    }
}

/// Topics that all have the same subscribers.
pub(crate) fn registry(topics: u32, subscribers: u64, socket: Socket) -> Registry {
    let budget = Arc::new(Budget::new(usize::MAX));
    let mut registry = Registry::default();
    for id in 0..subscribers {
        let outbox = Outbox::new(Arc::new(socket), Codec::Json, OUTBOX_BYTES_MAX, Arc::clone(&budget));
        let session = Arc::new(Session::new(SessionId(id), outbox, PING_MS, Millis(0)));
        for topic in 0..topics {
            registry.add(TopicId(topic), &topic_key(topic), &session);
        }
    }
    registry
}

/// The name of topic `number`.
pub(crate) fn topic_key(number: u32) -> TopicKey {
    TopicKey::parse(&format!("acme:channel:{number}")).unwrap()
}

/// A batch that was delivered to somebody before: its frames are made.
fn framed(topic: u32, events: u32, except: Option<SessionId>) -> Arc<Batch> {
    let batch = batch(topic, events, except);
    batch.bytes(Codec::Json, 0..batch.len());
    Arc::new(batch)
}

/// Events of 128 bytes, with the session that they leave out.
fn batch(topic: u32, events: u32, except: Option<SessionId>) -> Batch {
    let event = Event::decode(envelope(128), 65_536).unwrap();
    Batch::new(TopicId(topic), topic_key(topic), (0..events).map(|_| (event.clone(), except)))
}
