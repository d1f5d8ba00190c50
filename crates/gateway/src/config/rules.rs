//! Topic rules: what holds for which topics. An ordered list; the first rule whose pattern matches a topic decides all of
//! it, and what a rule leaves out has its default. How they are read is in [`super::rule_check`]; what they mean for a
//! client stands in [`crate::access`], what for a publisher in [`crate::publishing`].

use std::sync::Arc;
use std::time::Duration;

use fanfare_backplane::{Keep, MAXLEN_DEFAULT, TTL_DEFAULT};
use fanfare_protocol::Pattern;

/// The rules in their order. There is always one that matches: behind those that are configured stands one of defaults.
#[derive(Clone, Debug)]
pub struct Rules(Vec<Arc<Rule>>);

/// What holds for the topics of one pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its place in the configuration, counted from 1; none for the defaults.
    pub number: Option<usize>,
    /// The topics it is for, their kind spelled.
    pub pattern: Pattern,
    /// Whether events are kept.
    pub durable: Durable,
    /// How many events the topic keeps when a node publishes.
    pub maxlen: u64,
    /// How long the history outlives the last event when a node publishes.
    pub ttl: Duration,
    /// Whether who is there is told.
    pub presence: Presence,
    /// Who may subscribe. Of `tenant` and `user:` topics the protocol says that, and no rule.
    pub subscribe: Subscribe,
    /// The longest envelope, in bytes.
    pub event_bytes_max: usize,
}

/// A key of a rule whose value is one of a few words.
pub trait Words: Copy + PartialEq + 'static {
    /// The words and what they stand for.
    const WORDS: &[(&str, Self)];

    /// The word.
    fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

/// A publisher wants an event kept, and the topic's rule has it that none is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the topic takes ephemeral events alone: publish it without durable")]
pub struct NeverDurable;

/// Whether events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// As the publisher wishes.
    Allowed,
    /// All of them: what is published through a node is kept by itself, an ephemeral event on Redis is not valid, and an
    /// outage costs the topic nothing that its history doesn't have.
    Always,
    /// None that is published through a node.
    Never,
}

/// Whether who is there is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Of those who asked for it with their subscribe, to them.
    Asked,
    /// Of all subscribers, to all.
    All,
    /// Of nobody.
    Off,
}

/// Who may subscribe to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribe {
    /// Whose token says so.
    Claims,
    /// Everybody of the tenant.
    Tenant,
    /// Nobody.
    Nobody,
}

impl Words for Durable {
    const WORDS: &[(&str, Self)] = &[("allowed", Self::Allowed), ("always", Self::Always), ("never", Self::Never)];
}

impl Words for Presence {
    const WORDS: &[(&str, Self)] = &[("asked", Self::Asked), ("all", Self::All), ("off", Self::Off)];
}

impl Words for Subscribe {
    const WORDS: &[(&str, Self)] = &[("claims", Self::Claims), ("tenant", Self::Tenant), ("nobody", Self::Nobody)];
}

impl Rules {
    /// These, in this order, and the defaults.
    pub(crate) fn new(rules: impl IntoIterator<Item = Rule>, event_bytes_max: usize) -> Self {
        let rules = rules.into_iter().chain([Rule::defaults(event_bytes_max)]);
        Self(rules.map(Arc::new).collect())
    }

    /// The rule that decides about `topic`, which is written with its kind. Cheap, but not free: what is done for each event
    /// keeps it.
    pub fn of(&self, topic: &str) -> &Arc<Rule> {
        let decides = self.0.iter().find(|rule| rule.pattern.matches(topic));
        decides.unwrap_or_else(|| &self.0[self.0.len() - 1])
    }

    /// Those that are configured, in their order.
    pub fn configured(&self) -> &[Arc<Rule>] {
        &self.0[..self.0.len() - 1]
    }
}

impl Rule {
    /// What holds where no rule is configured.
    pub(crate) fn defaults(event_bytes_max: usize) -> Self {
        Self {
            number: None,
            pattern: Pattern::parse("**").expect("a pattern"),
            durable: Durable::Allowed,
            maxlen: MAXLEN_DEFAULT,
            ttl: TTL_DEFAULT,
            presence: Presence::Asked,
            subscribe: Subscribe::Claims,
            event_bytes_max,
        }
    }

    /// Whether the topic carries durable events alone.
    pub fn is_durable_alone(&self) -> bool {
        self.durable == Durable::Always
    }

    /// Whether an event is kept, as its publisher wishes or as all of the topic are.
    pub fn keeps(&self, is_wished: bool) -> Result<bool, NeverDurable> {
        match self.durable {
            Durable::Never if is_wished => Err(NeverDurable),
            Durable::Never => Ok(false),
            Durable::Allowed => Ok(is_wished),
            Durable::Always => Ok(true),
        }
    }

    /// How a node keeps an event of the topic; `id` is the publisher's for repetitions.
    pub fn keep(&self, id: Option<Box<str>>) -> Keep {
        Keep { maxlen: self.maxlen, ttl: self.ttl, id }
    }
}
