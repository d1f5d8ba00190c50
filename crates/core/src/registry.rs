//! Who is subscribed to what in one shard. Owned by the shard's task, so there is no lock. Deliberately not the table of
//! the node's topics: that is [`crate::topics`].

use std::sync::Arc;

use fanfare_protocol::TopicKey;
use indexmap::IndexMap;

use crate::batch::{Batch, TopicId};
use crate::session::{Session, SessionId};

/// The subscribers of each topic.
#[derive(Debug, Default)]
pub struct Registry {
    /// Indexed by [`TopicId`], which the hub keeps dense.
    topics: Vec<Option<Subscribers>>,
}

/// Most topics are somebody's own (`user:<id>`), so one subscriber takes no table.
#[derive(Debug)]
struct Subscribers {
    name: TopicKey,
    sessions: Sessions,
}

#[derive(Debug)]
enum Sessions {
    One(Arc<Session>),
    Many(Box<IndexMap<SessionId, Arc<Session>>>),
}

impl Registry {
    /// Adds a subscriber; a second time changes nothing.
    pub fn add(&mut self, topic: TopicId, name: &TopicKey, session: &Arc<Session>) {
        let index = topic.index();
        if index >= self.topics.len() {
            self.topics.resize_with(index + 1, || None);
        }
        match &mut self.topics[index] {
            None => {
                let sessions = Sessions::One(Arc::clone(session));
                self.topics[index] = Some(Subscribers { name: name.clone(), sessions });
            }
            Some(subscribers) => subscribers.sessions.add(session),
        }
    }

    /// Removes a subscriber.
    pub fn remove(&mut self, topic: TopicId, session: SessionId) {
        let Some(slot) = self.topics.get_mut(topic.index()) else { return };
        if slot.as_mut().is_some_and(|subscribers| subscribers.sessions.remove(session)) {
            *slot = None;
        }
    }

    /// How many subscribers a topic has here.
    pub fn count(&self, topic: TopicId) -> usize {
        match self.subscribers(topic).map(|subscribers| &subscribers.sessions) {
            None => 0,
            Some(Sessions::One(_)) => 1,
            Some(Sessions::Many(many)) => many.len(),
        }
    }

    /// The topic's subscribers, in no particular order.
    pub fn sessions(&self, topic: TopicId) -> impl Iterator<Item = &Arc<Session>> {
        let (one, many) = match self.subscribers(topic).map(|subscribers| &subscribers.sessions) {
            None => (None, None),
            Some(Sessions::One(one)) => (Some(one), None),
            Some(Sessions::Many(many)) => (None, Some(many.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Announces batches, each of another topic, to their subscribers: who gets more than one of them is written to once
    /// ([`Session::announce`]). All of them have to be delivered to the same subscribers, before anything changes here.
    pub fn announce(&self, batches: &[Arc<Batch>]) {
        if batches.len() > 1 {
            batches.iter().flat_map(|batch| self.sessions(batch.topic())).for_each(|session| session.announce());
        }
    }

    /// The topic's name, while it has subscribers here.
    pub fn name(&self, topic: TopicId) -> Option<&TopicKey> {
        self.subscribers(topic).map(|subscribers| &subscribers.name)
    }

    /// Whether `session` is subscribed to `topic`.
    pub fn contains(&self, topic: TopicId, session: SessionId) -> bool {
        match self.subscribers(topic).map(|subscribers| &subscribers.sessions) {
            None => false,
            Some(Sessions::One(one)) => one.id() == session,
            Some(Sessions::Many(many)) => many.contains_key(&session),
        }
    }

    fn subscribers(&self, topic: TopicId) -> Option<&Subscribers> {
        self.topics.get(topic.index())?.as_ref()
    }
}

impl Sessions {
    fn add(&mut self, session: &Arc<Session>) {
        if let Self::One(one) = self {
            *self = Self::Many(Box::new(IndexMap::from([(one.id(), Arc::clone(one))])));
        }
        if let Self::Many(sessions) = self {
            sessions.insert(session.id(), Arc::clone(session));
        }
    }

    /// Says whether nobody is left.
    fn remove(&mut self, session: SessionId) -> bool {
        match self {
            Self::One(one) => one.id() == session,
            Self::Many(sessions) => {
                sessions.swap_remove(&session);
                sessions.is_empty()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{Budget, Deferred, Millis, Outbox};
    use fanfare_protocol::Codec;
    use proptest::prelude::*;

    fn name(topic: u32) -> TopicKey {
        TopicKey::parse(&format!("acme:channel:t{topic}")).unwrap()
    }

    fn session(id: u64) -> Arc<Session> {
        let outbox = Outbox::new(Arc::new(Deferred), Codec::Json, 1_000, Arc::new(Budget::new(0)));
        Arc::new(Session::new(SessionId(id), outbox, 25_000, Millis(0)))
    }

    proptest! {
        #[test]
        fn each_topic_has_those_who_were_added_and_not_removed(
            steps in prop::collection::vec((any::<bool>(), 0_u32..3, 0_u64..5), 1..100),
        ) {
            let sessions: Vec<_> = (0..5).map(session).collect();
            let mut registry = Registry::default();
            let mut model = BTreeMap::<u32, BTreeSet<u64>>::new();
            for (adds, topic, id) in steps {
                let known = model.entry(topic).or_default();
                if adds {
                    registry.add(TopicId(topic), &name(topic), &sessions[usize::try_from(id).unwrap()]);
                    known.insert(id);
                } else {
                    registry.remove(TopicId(topic), SessionId(id));
                    known.remove(&id);
                }
                for topic in 0..4 {
                    let expected = model.get(&topic).cloned().unwrap_or_default();
                    let mut found: Vec<_> = registry.sessions(TopicId(topic)).map(|session| session.id().0).collect();
                    found.sort_unstable();
                    prop_assert_eq!(&found, &expected.iter().copied().collect::<Vec<_>>());
                    prop_assert_eq!(registry.count(TopicId(topic)), expected.len());
                    prop_assert_eq!(registry.name(TopicId(topic)).is_some(), !expected.is_empty());
                    for id in 0..5 {
                        prop_assert_eq!(registry.contains(TopicId(topic), SessionId(id)), expected.contains(&id));
                    }
                }
            }
        }
    }

    #[test]
    fn a_topic_that_lost_all_may_have_another_name_next_time() {
        let mut registry = Registry::default();
        let one = session(1);
        registry.add(TopicId(0), &name(7), &one);
        assert_eq!(registry.name(TopicId(0)), Some(&name(7)));
        registry.remove(TopicId(0), one.id());
        assert_eq!(registry.name(TopicId(0)), None);
        registry.add(TopicId(0), &name(8), &one);
        assert_eq!(registry.name(TopicId(0)), Some(&name(8)));
    }
}
