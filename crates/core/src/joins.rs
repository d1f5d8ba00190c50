//! Subscribe commands that wait for the backplane's confirmation of one or more topics.

use std::collections::{BTreeMap, HashMap};

use crate::batch::TopicId;

/// Commands of type `T`, each waiting for one or more topics; a topic counts as often as it is waited for.
#[derive(Debug)]
pub struct Joins<T> {
    pending: BTreeMap<u64, Pending<T>>,
    waiting_for: HashMap<TopicId, Vec<u64>>,
    next: u64,
}

#[derive(Debug)]
struct Pending<T> {
    join: T,
    missing: usize,
}

impl<T> Default for Joins<T> {
    fn default() -> Self {
        Self { pending: BTreeMap::new(), waiting_for: HashMap::new(), next: 0 }
    }
}

impl<T> Joins<T> {
    /// Keeps `join` until each of `topics` has been settled. Hands it back when it waits for nothing.
    pub fn wait(&mut self, join: T, topics: &[TopicId]) -> Option<T> {
        if topics.is_empty() {
            return Some(join);
        }
        for &topic in topics {
            self.waiting_for.entry(topic).or_default().push(self.next);
        }
        self.pending.insert(self.next, Pending { join, missing: topics.len() });
        self.next += 1;
        None
    }

    /// Something is new about `topic`: `settle` is asked of every join that waits for it, oldest first, whether that is
    /// enough. Those that wait for nothing more are returned.
    pub fn settle(&mut self, topic: TopicId, mut settle: impl FnMut(&mut T) -> bool) -> Vec<T> {
        let mut done = Vec::new();
        let mut waiting = Vec::new();
        for number in self.waiting_for.remove(&topic).unwrap_or_default() {
            let Some(pending) = self.pending.get_mut(&number) else { continue };
            if !settle(&mut pending.join) {
                waiting.push(number);
                continue;
            }
            pending.missing -= 1;
            if pending.missing == 0
                && let Some(pending) = self.pending.remove(&number)
            {
                done.push(pending.join);
            }
        }
        if !waiting.is_empty() {
            self.waiting_for.insert(topic, waiting);
        }
        done
    }

    /// Whether anybody waits for the topic.
    pub fn is_awaited(&self, topic: TopicId) -> bool {
        self.waiting_for.contains_key(&topic)
    }

    /// Gives up on those that have waited too long: the oldest ones for which `is_over` says so.
    pub fn expire(&mut self, is_over: impl Fn(&T) -> bool) -> Vec<T> {
        let mut expired = Vec::new();
        while let Some(oldest) = self.pending.first_entry().filter(|oldest| is_over(&oldest.get().join)) {
            expired.push(oldest.remove().join);
        }
        expired
    }

    /// Gives up on everything: all joins, oldest first.
    pub fn take_all(&mut self) -> Vec<T> {
        self.waiting_for.clear();
        std::mem::take(&mut self.pending).into_values().map(|pending| pending.join).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_is_done_when_its_last_topic_is_settled() {
        let mut joins = Joins::default();
        let (a, b) = (TopicId(1), TopicId(2));
        assert_eq!(joins.wait("none", &[]), Some("none"));
        assert_eq!(joins.wait("both", &[a, b]), None);
        assert_eq!(joins.wait("one", &[b]), None);
        assert!(joins.settle(a, |_| true).is_empty());
        assert_eq!(joins.settle(b, |join| *join == "one"), ["one"]);
        assert!(joins.is_awaited(b));
        assert_eq!(joins.settle(b, |_| true), ["both"]);
        assert!(!joins.is_awaited(b));
        assert!(joins.take_all().is_empty());
    }

    #[test]
    fn what_waited_too_long_is_handed_back_and_not_settled_any_more() {
        let mut joins = Joins::default();
        let topic = TopicId(1);
        for join in 1..4 {
            joins.wait(join, &[topic]);
        }
        assert_eq!(joins.expire(|join| *join < 3), [1, 2]);
        assert_eq!(joins.settle(topic, |_| true), [3]);
    }

    #[test]
    fn giving_up_hands_all_back_in_order() {
        let mut joins = Joins::default();
        joins.wait(1, &[TopicId(1)]);
        joins.wait(2, &[TopicId(2)]);
        assert_eq!(joins.take_all(), [1, 2]);
        assert!(joins.settle(TopicId(1), |_| true).is_empty());
    }
}
