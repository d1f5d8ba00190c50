//! The presence channels of the node: which of the hub's topics they are, and what their messages become for the members of
//! each topic. Deliberately without who is there: see [`crate::presence`].

use std::time::Instant;

use fanfare_core::{Except, Millis, Said, TopicId};
use fanfare_protocol::{Change, TopicKey};

use super::Hub;

/// Between two numbers that are told of one topic, in milliseconds.
const COUNT_INTERVAL_MS: u64 = 1_000;

/// The presence channels among the hub's topics.
pub(crate) struct Presences {
    /// By the channel's number; boxed, since most topics have none.
    channels: Vec<Option<Box<Channel>>>,
    open: usize,
    /// Of a topic with more users only their number is told.
    told_max: u64,
    /// Channels whose number waits to be told.
    counting: Vec<TopicId>,
}

struct Channel {
    topic: TopicKey,
    /// The number that waits to be told.
    count: Option<u64>,
    /// When the last one was.
    counted: Option<Millis>,
}

impl Presences {
    /// None yet.
    pub(crate) fn new(told_max: u64) -> Self {
        Self { channels: Vec::new(), open: 0, told_max, counting: Vec::new() }
    }

    /// From now on this is the channel of a topic, if it wasn't before.
    pub(crate) fn open(&mut self, id: TopicId, topic: &TopicKey) {
        if self.channels.len() <= id.index() {
            self.channels.resize_with(id.index() + 1, || None);
        }
        if self.channels[id.index()].is_none() {
            self.open += 1;
            self.channels[id.index()] = Some(Box::new(Channel { topic: topic.clone(), count: None, counted: None }));
        }
    }

    /// The channel is gone, and its number may become a topic's.
    pub(crate) fn close(&mut self, id: TopicId) {
        let closed = self.channels.get_mut(id.index()).and_then(Option::take);
        self.open -= usize::from(closed.is_some());
    }

    /// Whether it is a presence channel.
    pub(crate) fn is_one(&self, id: TopicId) -> bool {
        self.topic(id).is_some()
    }

    /// The topic whose channel it is.
    pub(crate) fn topic(&self, id: TopicId) -> Option<&TopicKey> {
        self.channels.get(id.index())?.as_ref().map(|channel| &channel.topic)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    /// Whether a change is told as it is; else its number will be.
    fn is_told(&mut self, id: TopicId, change: &Change) -> bool {
        let Some(Some(channel)) = self.channels.get_mut(id.index()) else { return false };
        let is_told = change.count <= self.told_max;
        if channel.count.is_some() {
            channel.count = Some(change.count);
        } else if !is_told {
            channel.count = Some(change.count);
            self.counting.push(id);
        }
        is_told
    }

    /// The numbers that are due to be told.
    fn due_counts(&mut self, now: Millis) -> Vec<(TopicId, u64)> {
        let mut due = Vec::new();
        let channels = &mut self.channels;
        self.counting.retain(|&id| {
            let Some(Some(channel)) = channels.get_mut(id.index()) else { return false };
            if channel.counted.is_some_and(|counted| now.since(counted) < COUNT_INTERVAL_MS) {
                return true;
            }
            due.extend(channel.count.take().map(|count| (id, count)));
            channel.counted = Some(now);
            false
        });
        due
    }
}

impl Hub {
    /// A message of a presence channel.
    pub(super) fn take_change(&mut self, id: TopicId, payload: &[u8], received: Instant) {
        let Some(topic) = self.presences.topic(id) else { return };
        let Some(change) = Change::decode(payload) else {
            tracing::debug!(topic = topic.as_str(), "a message about presence that no node has written");
            return;
        };
        let own = self.around.presence.sessions(topic, &change.user);
        if self.presences.is_told(id, &change) {
            self.arrived.add(id, (Said::Change(change), own.into()), None, received);
        } else {
            self.add_due_counts(received);
        }
    }

    /// Tells the numbers that had to wait.
    pub(super) fn tell_counts(&mut self) {
        self.add_due_counts(Instant::now());
    }

    fn add_due_counts(&mut self, received: Instant) {
        for (id, count) in self.presences.due_counts(self.around.clock.now()) {
            self.arrived.add(id, (Said::Count(count), Except::Nobody), None, received);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn change(count: u64) -> Change {
        Change { is_joined: true, user: "ana".into(), info: None, count }
    }

    #[test]
    fn of_many_users_the_number_is_told_once_a_second_at_most() {
        let mut presences = Presences::new(3);
        let id = TopicId(4);
        presences.open(id, &TopicKey::parse("acme:channel:a").unwrap());
        assert!(presences.is_told(id, &change(3)) && presences.due_counts(Millis(0)).is_empty());
        assert!(!presences.is_told(id, &change(4)));
        assert_eq!(presences.due_counts(Millis(10)), [(id, 4)]);
        for count in [5, 6, 5] {
            assert!(!presences.is_told(id, &change(count)));
            assert!(presences.due_counts(Millis(1_009)).is_empty());
        }
        assert!(presences.is_told(id, &change(2)), "few again");
        assert_eq!(presences.due_counts(Millis(1_010)), [(id, 2)]);
        assert!(presences.due_counts(Millis(9_000)).is_empty());
    }

    #[test]
    fn a_number_may_become_a_topic_s_when_the_channel_is_gone() {
        let mut presences = Presences::new(3);
        let (id, topic) = (TopicId(1), TopicKey::parse("acme:channel:a").unwrap());
        presences.open(id, &topic);
        presences.open(id, &topic);
        assert_eq!((presences.len(), presences.topic(id)), (1, Some(&topic)));
        assert!(!presences.is_told(id, &change(9)));
        presences.close(id);
        presences.close(id);
        assert!(presences.len() == 0 && !presences.is_one(id) && presences.due_counts(Millis(0)).is_empty());
    }
}
