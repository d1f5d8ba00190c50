//! The rule of each topic on the node: looked up once, so that an event finds it by the topic's number.

use std::sync::Arc;

use fanfare_core::TopicId;
use fanfare_core::topics::Topics;

use crate::config::{Rule, Rules};

/// The rules of all topics. Owned by the hub.
pub(crate) struct TopicRules {
    rules: Arc<Rules>,
    /// By the topic's number; none for those that nothing was asked about yet.
    by_topic: Vec<Option<Arc<Rule>>>,
}

impl TopicRules {
    /// No topics yet.
    pub(crate) fn new(rules: Arc<Rules>) -> Self {
        Self { rules, by_topic: Vec::new() }
    }

    /// The rule of a topic in the table.
    pub(crate) fn of(&mut self, id: TopicId, topics: &Topics) -> &Rule {
        if self.by_topic.len() <= id.index() {
            self.by_topic.resize(id.index() + 1, None);
        }
        self.by_topic[id.index()].get_or_insert_with(|| Arc::clone(self.rules.of(topics.key(id).topic())))
    }

    /// The topic is gone, and its number may become another's.
    pub(crate) fn forget(&mut self, id: TopicId) {
        if let Some(rule) = self.by_topic.get_mut(id.index()) {
            *rule = None;
        }
    }
}
