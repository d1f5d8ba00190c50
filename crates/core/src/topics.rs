//! The node's table of topics: which exist, whether the backplane has confirmed them, which shards have subscribers.
//! Owned by the hub's task alone, because a topic's first subscriber races its last one's leaving. Deliberately not who
//! the subscribers are: that is each shard's [`crate::Registry`].

use std::collections::{HashMap, VecDeque};

use fanfare_protocol::TopicKey;

use crate::batch::TopicId;
use crate::time::Millis;

/// A shard's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShardId(pub u16);

/// The topics that somebody on this node is, or was a moment ago, subscribed to.
#[derive(Debug, Default)]
pub struct Topics {
    ids: HashMap<TopicKey, TopicId>,
    slots: Vec<Option<Topic>>,
    free: Vec<TopicId>,
    /// Topics that lost their last subscriber, in the order in which they did.
    idle: VecDeque<(Millis, TopicId)>,
}

#[derive(Debug)]
struct Topic {
    key: TopicKey,
    subscribers: Vec<(ShardId, u32)>,
    /// The backplane has been asked for it and has not refused.
    asked: bool,
    confirmed: bool,
    /// Events may have been missed since its subscribers were told that they are subscribed.
    owes_gap: bool,
    idle_since: Option<Millis>,
}

impl Topic {
    fn lose(&mut self) {
        // Only a confirmed subscription had anything to lose; a subscriber of an unconfirmed one that was told it is
        // subscribed has been noted by `owe_gap`.
        self.owes_gap |= self.confirmed;
        self.confirmed = false;
    }
}

/// How a subscriber found its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// The backplane delivers it.
    Confirmed,
    /// Wanted already, not confirmed yet.
    Waiting,
    /// The backplane has to be asked for it.
    Unasked,
}

impl Topics {
    /// Counts one more subscriber of `key` in `shard`.
    pub fn enter(&mut self, key: &TopicKey, shard: ShardId) -> (TopicId, Entered) {
        let id = self.find(key.as_str()).unwrap_or_else(|| self.insert(key));
        let topic = self.slot_mut(id);
        topic.idle_since = None;
        match topic.subscribers.iter_mut().find(|(of, _)| *of == shard) {
            Some((_, count)) => *count += 1,
            None => topic.subscribers.push((shard, 1)),
        }
        let entered = match (topic.confirmed, topic.asked) {
            (true, _) => Entered::Confirmed,
            (false, true) => Entered::Waiting,
            (false, false) => Entered::Unasked,
        };
        topic.asked = true;
        (id, entered)
    }

    /// Counts one subscriber of `shard` less. A topic without any stays for a while: see [`Topics::expire`].
    pub fn leave(&mut self, id: TopicId, shard: ShardId, now: Millis) {
        let topic = self.slot_mut(id);
        let Some(place) = topic.subscribers.iter().position(|(of, _)| *of == shard) else { return };
        topic.subscribers[place].1 -= 1;
        if topic.subscribers[place].1 == 0 {
            topic.subscribers.swap_remove(place);
        }
        if topic.subscribers.is_empty() {
            topic.idle_since = Some(now);
            self.idle.push_back((now, id));
        }
    }

    /// Forgets the topics that have had no subscriber for `linger_ms` and returns them: the backplane need not deliver
    /// them any more. The delay spares it the churn of clients that reconnect. Their numbers may be given out again.
    pub fn expire(&mut self, now: Millis, linger_ms: u64) -> Vec<(TopicId, TopicKey)> {
        let mut expired = Vec::new();
        while let Some(&(since, id)) = self.idle.front() {
            if now.since(since) < linger_ms {
                break;
            }
            self.idle.pop_front();
            // It may have been entered and left again since: then a later entry of the queue speaks for it.
            let still_idle = self.slots[id.index()].as_ref().is_some_and(|topic| topic.idle_since == Some(since));
            if still_idle && let Some(topic) = self.slots[id.index()].take() {
                self.ids.remove(&topic.key);
                self.free.push(id);
                expired.push((id, topic.key));
            }
        }
        expired
    }

    /// The backplane delivers `key` from here on. Returns its number and whether its subscribers are owed a gap.
    pub fn confirm(&mut self, key: &TopicKey) -> Option<(TopicId, bool)> {
        let id = self.find(key.as_str())?;
        let topic = self.slot_mut(id);
        topic.confirmed = true;
        topic.asked = true;
        Some((id, std::mem::take(&mut topic.owes_gap)))
    }

    /// Whether nobody is subscribed any more.
    pub fn is_idle(&self, id: TopicId) -> bool {
        self.slot(id).subscribers.is_empty()
    }

    /// The backplane refuses `id`: whoever wants it next asks again.
    pub fn refuse(&mut self, id: TopicId) {
        self.slot_mut(id).asked = false;
    }

    /// Whether the backplane refused `id`, and nobody has asked again.
    pub fn is_refused(&self, id: TopicId) -> bool {
        !self.slot(id).asked
    }

    /// The backplane delivers nothing from here on.
    pub fn lose_all(&mut self) {
        self.slots.iter_mut().flatten().for_each(Topic::lose);
    }

    /// The backplane doesn't deliver this topic until it confirms it again.
    pub fn lose(&mut self, id: TopicId) {
        self.slot_mut(id).lose();
    }

    /// A subscriber was told that it is subscribed although the topic is not confirmed.
    pub fn owe_gap(&mut self, id: TopicId) {
        self.slot_mut(id).owes_gap = true;
    }

    /// The number of a topic by its name.
    pub fn find(&self, key: &str) -> Option<TopicId> {
        self.ids.get(key).copied()
    }

    /// The topic's name.
    pub fn key(&self, id: TopicId) -> &TopicKey {
        &self.slot(id).key
    }

    /// The shards that have subscribers of the topic.
    pub fn shards(&self, id: TopicId) -> impl Iterator<Item = ShardId> + '_ {
        self.slot(id).subscribers.iter().map(|&(shard, _)| shard)
    }

    /// How many topics there are, those without subscribers that still linger included.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn insert(&mut self, key: &TopicKey) -> TopicId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            TopicId(u32::try_from(self.slots.len() - 1).expect("memory ends before topics' numbers do"))
        });
        self.slots[id.index()] = Some(Topic {
            key: key.clone(),
            subscribers: Vec::new(),
            asked: false,
            confirmed: false,
            owes_gap: false,
            idle_since: None,
        });
        self.ids.insert(key.clone(), id);
        id
    }

    fn slot(&self, id: TopicId) -> &Topic {
        self.slots[id.index()].as_ref().expect("a number in use")
    }

    fn slot_mut(&mut self, id: TopicId) -> &mut Topic {
        self.slots[id.index()].as_mut().expect("a number in use")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn key(name: &str) -> TopicKey {
        TopicKey::parse(&format!("acme:channel:{name}")).unwrap()
    }

    const SHARD: ShardId = ShardId(0);

    #[test]
    fn the_first_subscriber_asks_and_the_next_waits_until_the_confirmation() {
        let mut topics = Topics::default();
        let (id, entered) = topics.enter(&key("a"), SHARD);
        assert_eq!(entered, Entered::Unasked);
        assert_eq!(topics.enter(&key("a"), SHARD), (id, Entered::Waiting));
        assert_eq!(topics.confirm(&key("a")), Some((id, false)));
        assert_eq!(topics.enter(&key("a"), ShardId(1)), (id, Entered::Confirmed));
        assert_eq!(topics.shards(id).count(), 2);
    }

    #[test]
    fn a_refused_topic_is_asked_for_again() {
        let mut topics = Topics::default();
        let (id, _) = topics.enter(&key("a"), SHARD);
        topics.refuse(id);
        assert_eq!(topics.enter(&key("a"), SHARD).1, Entered::Unasked);
        assert_eq!(topics.enter(&key("a"), SHARD).1, Entered::Waiting);
    }

    #[test]
    fn a_subscriber_that_comes_back_in_time_finds_its_topic_confirmed() {
        let mut topics = Topics::default();
        let (id, _) = topics.enter(&key("a"), SHARD);
        topics.confirm(&key("a"));
        topics.leave(id, SHARD, Millis(100));
        assert!(topics.expire(Millis(5_099), 5_000).is_empty());
        assert_eq!(topics.enter(&key("a"), SHARD), (id, Entered::Confirmed));
        assert!(topics.expire(Millis(9_000), 5_000).is_empty());
        topics.leave(id, SHARD, Millis(9_000));
        assert!(topics.expire(Millis(13_999), 5_000).is_empty());
        assert_eq!(topics.expire(Millis(14_000), 5_000), [(id, key("a"))]);
        assert!(topics.is_empty());
        assert_eq!(topics.find("acme:channel:a"), None);
    }

    #[test]
    fn a_topic_that_is_lost_alone_leaves_the_others_as_they_are() {
        let mut topics = Topics::default();
        let [(moved, _), (stays, _)] = ["moved", "stays"].map(|name| topics.enter(&key(name), SHARD));
        topics.confirm(&key("moved"));
        topics.confirm(&key("stays"));
        topics.lose(moved);
        assert_eq!(topics.enter(&key("moved"), SHARD), (moved, Entered::Waiting));
        assert_eq!(topics.enter(&key("stays"), SHARD), (stays, Entered::Confirmed));
        assert_eq!(topics.confirm(&key("moved")), Some((moved, true)));
        assert_eq!(topics.confirm(&key("stays")), Some((stays, false)));
    }

    #[test]
    fn a_number_is_used_again_only_after_its_topic_is_gone() {
        let mut topics = Topics::default();
        let (a, _) = topics.enter(&key("a"), SHARD);
        topics.leave(a, SHARD, Millis(0));
        let (b, _) = topics.enter(&key("b"), SHARD);
        assert_ne!(a, b);
        topics.expire(Millis(10), 10);
        assert_eq!(topics.enter(&key("c"), SHARD).0, a);
    }

    #[test]
    fn a_loss_is_owed_to_those_who_were_told_they_are_subscribed() {
        let mut topics = Topics::default();
        let (quiet, _) = topics.enter(&key("confirmed"), SHARD);
        topics.confirm(&key("confirmed"));
        topics.enter(&key("waiting"), SHARD);
        topics.lose_all();
        let (automatic, entered) = topics.enter(&key("automatic"), SHARD);
        assert_eq!(entered, Entered::Unasked);
        topics.owe_gap(automatic);
        assert_eq!(topics.confirm(&key("confirmed")), Some((quiet, true)));
        assert!(!topics.confirm(&key("waiting")).unwrap().1);
        assert_eq!(topics.confirm(&key("automatic")), Some((automatic, true)));
        assert_eq!(topics.confirm(&key("confirmed")), Some((quiet, false)));
    }
}
