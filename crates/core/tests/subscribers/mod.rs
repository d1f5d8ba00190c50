//! Topics with subscribers whose sockets are stubs, and the deliveries to them as a shard makes them: for what counts
//! allocations and instructions.

use std::io::{self, IoSlice};
use std::sync::Arc;

use fanfare_core::{Batch, Budget, Millis, Outbox, Registry, Session, SessionId, TopicId, Wire};
use fanfare_protocol::{Codec, TopicKey};

const OUTBOX_BYTES_MAX: usize = 1 << 20;
const PING_MS: u64 = 25_000;
const NOW: Millis = Millis(60_000);

/// What stands for a client's socket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Socket {
    TakesAll,
    #[allow(dead_code, reason = "not everyone who counts has blocked clients")]
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

/// Topics that all have the same subscribers.
pub(crate) fn shared(topics: u32, subscribers: u64, socket: Socket) -> Registry {
    let budget = Arc::new(Budget::new(usize::MAX));
    let mut registry = Registry::default();
    for id in 0..subscribers {
        let session = session(id, socket, &budget);
        for topic in 0..topics {
            registry.add(TopicId(topic), &topic_key(topic), &session);
        }
    }
    registry
}

/// Topics that have a subscriber each.
pub(crate) fn separate(topics: u32) -> Registry {
    let budget = Arc::new(Budget::new(usize::MAX));
    let mut registry = Registry::default();
    for topic in 0..topics {
        registry.add(TopicId(topic), &topic_key(topic), &session(topic.into(), Socket::TakesAll, &budget));
    }
    registry
}

fn session(id: u64, socket: Socket, budget: &Arc<Budget>) -> Arc<Session> {
    let outbox = Outbox::new(Arc::new(socket), Codec::Json, OUTBOX_BYTES_MAX, Arc::clone(budget));
    Arc::new(Session::new(SessionId(id), outbox, PING_MS, Millis(0)))
}

/// The name of topic `number`.
pub(crate) fn topic_key(number: u32) -> TopicKey {
    TopicKey::parse(&format!("acme:channel:{number}")).unwrap()
}

/// The events of one topic.
pub(crate) fn deliver_now(registry: &Registry, batch: &Arc<Batch>) {
    for session in registry.sessions(batch.topic()) {
        session.deliver(batch, NOW);
    }
}

/// What came for several topics: each client is written to once.
pub(crate) fn deliver_together(registry: &Registry, batches: &[Arc<Batch>]) {
    registry.announce(batches);
    for batch in batches {
        deliver_now(registry, batch);
    }
}
