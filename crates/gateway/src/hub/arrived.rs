//! What subscribers are about to be told: taken from the backplane, not yet handed to the shards. Gathered by topic, so that
//! what came together is framed and written together.

use std::sync::Arc;
use std::time::Instant;

use fanfare_core::sequence::Told;
use fanfare_core::topics::Topics;
use fanfare_core::{Batch, Except, Member, Said, TopicId};

use crate::traces::{Deliveries, Delivery};

/// What a frame has beside its topic and its envelope, at most: header, field names, a position, a trace; or a whole
/// gap.
const AROUND_EVENT_BYTES: usize = 200;

/// Fewer events of one topic may have come together by chance.
const BURST_EVENTS: usize = 8;

/// How much of what has arrived goes to the same clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Density {
    /// About one event of each topic: to wait for more would save no writes.
    Single,
    /// Two and more of each topic.
    Several,
    /// So many of one topic that more of it may be about to come.
    Burst,
}

/// What is told, by topic.
#[derive(Default)]
pub(crate) struct Arrived {
    /// By the topic's number.
    by_topic: Vec<Vec<Member>>,
    order: Vec<TopicId>,
    bytes: usize,
    events: usize,
    /// Events of the topic that has the most of them.
    most: usize,
    oldest: Option<Instant>,
    /// Of those events that are traced.
    deliveries: Vec<Delivery>,
}

/// What is handed to the shards together.
pub(crate) struct Taken {
    /// A batch for each topic that a shard has subscribers of.
    pub(crate) by_shard: Vec<Vec<Arc<Batch>>>,
    /// When the oldest came.
    pub(crate) received: Instant,
    /// The spans of its events.
    pub(crate) deliveries: Option<Arc<Deliveries>>,
}

impl Arrived {
    /// Takes one more; `received` is when it came, `except` who is left out, `delivery` the span of an event that has one.
    pub(crate) fn add(
        &mut self,
        id: TopicId,
        (said, except): (Said, Except),
        delivery: Option<Delivery>,
        received: Instant,
    ) {
        let envelope_bytes = match &said {
            Said::Told(Told::Event(event)) => event.envelope.len(),
            Said::Change(change) => change.bytes(),
            Said::Told(Told::Gap(_)) | Said::Count(_) => 0,
        };
        self.bytes += envelope_bytes + AROUND_EVENT_BYTES;
        self.events += 1;
        self.oldest.get_or_insert(received);
        if self.by_topic.len() <= id.index() {
            self.by_topic.resize_with(id.index() + 1, Vec::new);
        }
        let events = &mut self.by_topic[id.index()];
        if events.is_empty() {
            self.order.push(id);
        }
        self.most = self.most.max(events.len() + 1);
        events.push(Member::from((said, except)).in_span(delivery.as_ref().map(Delivery::context)));
        self.deliveries.extend(delivery);
    }

    /// Whether nothing has arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.oldest.is_none()
    }

    /// How much of it goes to the same clients.
    pub(crate) fn density(&self) -> Density {
        if self.most >= BURST_EVENTS {
            Density::Burst
        } else if self.events >= 2 * self.order.len() {
            Density::Several
        } else {
            Density::Single
        }
    }

    /// About how many bytes of frames it becomes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything, as batches for each of so many shards. None when there is nothing.
    pub(crate) fn take(&mut self, topics: &Topics, shards: usize) -> Option<Taken> {
        let received = self.oldest.take()?;
        let mut by_shard = vec![Vec::new(); shards];
        for id in self.order.drain(..) {
            let events = std::mem::take(&mut self.by_topic[id.index()]);
            let batch = Arc::new(Batch::new(id, topics.key(id).clone(), events));
            for shard in topics.shards(id) {
                by_shard[usize::from(shard.0)].push(Arc::clone(&batch));
            }
        }
        (self.bytes, self.events, self.most) = (0, 0, 0);
        Some(Taken { by_shard, received, deliveries: Deliveries::new(std::mem::take(&mut self.deliveries)) })
    }
}
