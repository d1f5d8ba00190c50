//! Gap notices that are due to sessions, each at its own moment: thousands of clients that are told in the same instant
//! would all fetch in the same instant.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use fanfare_protocol::TopicKey;

use crate::batch::TopicId;
use crate::session::{Session, SessionId};
use crate::time::{Millis, spread_ms};

/// What one shard has yet to tell its sessions.
#[derive(Debug, Default)]
pub struct Gaps {
    owed: HashMap<SessionId, Owed>,
    due: BTreeSet<(Millis, SessionId)>,
}

/// The topics of one session that may have missed events.
#[derive(Debug)]
pub struct Owed {
    /// Who has to be told.
    pub session: Arc<Session>,
    /// Of what; the name guards against a number that was given to another topic meanwhile.
    pub topics: BTreeMap<TopicId, TopicKey>,
}

impl Gaps {
    /// Owes `session` a notice for a topic, within `spread_within_ms` from `now`; all of a session's notices go together.
    pub fn owe(&mut self, session: &Arc<Session>, topic: (TopicId, &TopicKey), now: Millis, spread_within_ms: u64) {
        let owed = self.owed.entry(session.id()).or_insert_with(|| {
            self.due.insert((now + spread_ms(session.id().0, spread_within_ms), session.id()));
            Owed { session: Arc::clone(session), topics: BTreeMap::new() }
        });
        // If its number was another topic's before, then nobody is subscribed to that one any more.
        owed.topics.insert(topic.0, topic.1.clone());
    }

    /// The next session to be told at `now`.
    pub fn next_due(&mut self, now: Millis) -> Option<Owed> {
        let &(due, session) = self.due.first()?;
        if due > now {
            return None;
        }
        self.due.pop_first();
        self.owed.remove(&session)
    }

    /// Whether nobody has to be told anything.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::{Budget, Deferred, Outbox};
    use fanfare_protocol::Codec;

    const SPREAD_MS: u64 = 5_000;

    fn name(topic: u32) -> TopicKey {
        TopicKey::parse(&format!("acme:channel:t{topic}")).unwrap()
    }

    fn session(id: u64) -> Arc<Session> {
        let outbox = Outbox::new(Arc::new(Deferred), Codec::Json, 1_000, Arc::new(Budget::new(0)));
        Arc::new(Session::new(SessionId(id), outbox, 25_000, Millis(0)))
    }

    fn owe(gaps: &mut Gaps, session: &Arc<Session>, topic: u32, now: u64) {
        gaps.owe(session, (TopicId(topic), &name(topic)), Millis(now), SPREAD_MS);
    }

    fn next_topics(gaps: &mut Gaps, now: u64) -> Option<Vec<u32>> {
        gaps.next_due(Millis(now)).map(|owed| owed.topics.keys().map(|id| id.0).collect())
    }

    #[test]
    fn notices_are_spread_over_the_time_given_for_it() {
        let mut gaps = Gaps::default();
        for id in 0..1_000 {
            owe(&mut gaps, &session(id), 0, 100);
        }
        let mut told = BTreeSet::new();
        for second in 0..5 {
            let now = 100 + second * 1_000 + 999;
            let before = told.len();
            while let Some(owed) = gaps.next_due(Millis(now)) {
                assert!(told.insert(owed.session.id()), "told twice");
            }
            assert!((120..280).contains(&(told.len() - before)), "second {second}: {}", told.len() - before);
        }
        assert_eq!(told.len(), 1_000);
        assert!(gaps.is_empty());
    }

    #[test]
    fn a_sessions_notices_go_together_when_the_first_is_due() {
        let mut gaps = Gaps::default();
        let one = session(1);
        owe(&mut gaps, &one, 3, 0);
        let due = (0..SPREAD_MS).find(|&now| gaps.due.first().unwrap().0 <= Millis(now)).unwrap();
        owe(&mut gaps, &one, 1, due);
        owe(&mut gaps, &one, 3, due);
        assert!(due == 0 || next_topics(&mut gaps, due - 1).is_none());
        assert_eq!(next_topics(&mut gaps, due), Some(vec![1, 3]));
        assert_eq!(next_topics(&mut gaps, u64::MAX), None);
        // What is lost after that is told again.
        owe(&mut gaps, &one, 3, due);
        assert_eq!(next_topics(&mut gaps, due + SPREAD_MS), Some(vec![3]));
        assert!(gaps.is_empty());
    }

    #[test]
    fn a_number_that_went_to_another_topic_is_told_by_its_newest_name() {
        let mut gaps = Gaps::default();
        let one = session(1);
        gaps.owe(&one, (TopicId(0), &name(7)), Millis(0), SPREAD_MS);
        gaps.owe(&one, (TopicId(0), &name(8)), Millis(0), SPREAD_MS);
        let owed = gaps.next_due(Millis(SPREAD_MS)).unwrap();
        assert_eq!(owed.topics.into_values().collect::<Vec<_>>(), [name(8)]);
    }

    #[test]
    fn without_a_spread_all_is_due_at_once() {
        let mut gaps = Gaps::default();
        for id in 0..10 {
            gaps.owe(&session(id), (TopicId(0), &name(0)), Millis(5), 0);
        }
        assert!(gaps.next_due(Millis(4)).is_none());
        let told = std::iter::from_fn(|| gaps.next_due(Millis(5))).count();
        assert_eq!(told, 10);
    }
}
