//! From a batch to the sockets of its subscribers, as a shard does it. Deliberately without the shard: its turns and its
//! metrics are the gateway's.

use std::sync::Arc;

use fanfare_core::{Batch, Registry, SessionId, TopicId};
use fanfare_protocol::{Codec, Event};

use crate::counting::Cases;
use crate::counting::sample::envelope;
use crate::subscribers::{Socket, deliver_now, deliver_together, shared, topic_key};

const SUBSCRIBERS: u64 = 1_000;
const TOPICS: u32 = 10;

/// Adds the cases.
pub(crate) fn add(cases: &mut Cases) {
    for codec in [Codec::Json, Codec::Msgpack] {
        let frame = move |batch: &mut Batch| batch.bytes(codec, 0..batch.len()).len();
        cases.add(format!("frame 200 events for {codec:?}"), || batch(0, 200, None), frame);
    }
    for (events, what) in [(1, "1 event"), (200, "200 events")] {
        for (socket, whom) in [(Socket::TakesAll, ""), (Socket::TakesNone, " blocked")] {
            let prepare = move || {
                let registry = shared(1, SUBSCRIBERS, socket);
                // A socket is known to be blocked once something was offered to it.
                deliver_now(&registry, &framed(0, 1, None));
                (registry, framed(0, events, None))
            };
            let deliver = |(registry, batch): &mut (Registry, Arc<Batch>)| deliver_now(registry, batch);
            cases.add(format!("fan out {what} to {SUBSCRIBERS}{whom}"), prepare, deliver);
        }
    }
    let but_one = || (shared(1, SUBSCRIBERS, Socket::TakesAll), framed(0, 1, Some(SessionId(7))));
    let deliver = |(registry, batch): &mut (Registry, Arc<Batch>)| deliver_now(registry, batch);
    cases.add(format!("fan out 1 event to {SUBSCRIBERS} but one"), but_one, deliver);
    let of_each_topic = || {
        let batches: Vec<_> = (0..TOPICS).map(|topic| framed(topic, 1, None)).collect();
        (shared(TOPICS, SUBSCRIBERS, Socket::TakesAll), batches)
    };
    let name = format!("fan out 1 event of each of {TOPICS} topics to {SUBSCRIBERS}");
    cases.add(name, of_each_topic, |(registry, batches)| deliver_together(registry, batches));
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
