//! What a user may do with a topic, and why: the one place that decides it, from the token's claims and the topic's rule.
//! Frames, HTTP and `fanfare explain` ask here, so that none of them can see it otherwise. Deliberately without topics as
//! clients write them, and without any look at whether a topic is used: a refusal must not tell.

use fanfare_protocol::{Pattern, Topic, TopicKind};

use crate::auth::Principal;
use crate::config::{Presence, Rule, Rules, Subscribe};

/// A user and a topic of the user's tenant.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    principal: &'a Principal,
    topic: &'a Topic,
    rule: &'a Rule,
}

/// Whether something is allowed, and what decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    is_allowed: bool,
    /// What decided.
    pub reason: Reason<'a>,
}

/// What decides whether a user may do something with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason<'a> {
    /// Everybody is on the tenant's topic.
    TenantTopic,
    /// It is the user's own.
    OwnTopic,
    /// It is another user's.
    OthersTopic,
    /// The topic's rule lets everybody of the tenant subscribe.
    RuleTenant,
    /// The topic's rule lets nobody subscribe.
    RuleNobody,
    /// The topic's rule has no presence.
    RulePresenceOff,
    /// This pattern of the claim for channels matches.
    Channels(&'a Pattern),
    /// The claim for subscriptions has the topic.
    Subscribed,
    /// No pattern of the claim for channels matches, and the claim for subscriptions doesn't have the topic.
    NoChannel,
    /// This pattern of the claim for publishing matches.
    Publish(&'a Pattern),
    /// No pattern of the claim for publishing matches.
    NoPublish,
}

impl<'a> Access<'a> {
    /// Of this user to this topic.
    pub fn new(principal: &'a Principal, rules: &'a Rules, topic: &'a Topic) -> Self {
        Self { principal, topic, rule: rules.of(topic.as_str()) }
    }

    /// The topic's rule.
    pub fn rule(&self) -> &'a Rule {
        self.rule
    }

    /// Whether the user may be subscribed, by the client or by the node itself.
    pub fn subscribe(&self) -> Verdict<'a> {
        let name = match self.topic.kind() {
            TopicKind::Tenant => return Verdict::allowed(Reason::TenantTopic),
            TopicKind::User(id) if *id == *self.principal.user => return Verdict::allowed(Reason::OwnTopic),
            TopicKind::User(_) => return Verdict::refused(Reason::OthersTopic),
            TopicKind::Channel(name) => name,
        };
        match self.rule.subscribe {
            Subscribe::Nobody => return Verdict::refused(Reason::RuleNobody),
            Subscribe::Tenant => return Verdict::allowed(Reason::RuleTenant),
            Subscribe::Claims => {}
        }
        match self.principal.channels.find(name) {
            Some(pattern) => Verdict::allowed(Reason::Channels(pattern)),
            None if self.principal.subscribe.contains(self.topic) => Verdict::allowed(Reason::Subscribed),
            None => Verdict::refused(Reason::NoChannel),
        }
    }

    /// Whether the user may read what the topic has kept: whoever may subscribe.
    pub fn history(&self) -> Verdict<'a> {
        self.subscribe()
    }

    /// Whether the user may be told who is there: whoever may subscribe, where the topic has presence.
    pub fn presence(&self) -> Verdict<'a> {
        match self.subscribe() {
            verdict if verdict.is_allowed() && self.rule.presence == Presence::Off => {
                Verdict::refused(Reason::RulePresenceOff)
            }
            verdict => verdict,
        }
    }

    /// Whether the user may publish.
    pub fn publish(&self) -> Verdict<'a> {
        match self.principal.publish.find(self.topic.as_str()) {
            Some(pattern) => Verdict::allowed(Reason::Publish(pattern)),
            None => Verdict::refused(Reason::NoPublish),
        }
    }
}

impl<'a> Verdict<'a> {
    fn allowed(reason: Reason<'a>) -> Self {
        Self { is_allowed: true, reason }
    }

    fn refused(reason: Reason<'a>) -> Self {
        Self { is_allowed: false, reason }
    }

    /// Whether it is allowed.
    pub fn is_allowed(&self) -> bool {
        self.is_allowed
    }
}

/// The topics that the node itself subscribes a connection of this user to, each once.
pub fn automatic_topics(principal: &Principal, rules: &Rules, own_user_topic: bool) -> Vec<Topic> {
    let own = own_user_topic.then_some(&principal.user_topic);
    let mut topics = vec![Topic::tenant()];
    for topic in own.into_iter().chain(&principal.subscribe) {
        if !topics.contains(topic) && Access::new(principal, rules, topic).subscribe().is_allowed() {
            topics.push(topic.clone());
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use fanfare_protocol::{Patterns, Tenant};

    use super::*;

    fn topic(text: &str) -> Topic {
        Topic::parse(text).unwrap()
    }

    fn principal() -> Principal {
        Principal {
            tenant: Tenant::parse("acme").unwrap(),
            user: "42".into(),
            user_topic: topic("user:42"),
            channels: Patterns::parse(["team:*", "news"]).unwrap(),
            publish: Patterns::parse(["channel:cursors:*", "user:*"]).unwrap(),
            methods: Patterns::parse([""; 0]).unwrap(),
            subscribe: vec![topic("channel:given")],
            expires_at_ms: 0,
            token_id: None,
            info: None,
        }
    }

    fn rules(subscribe: Subscribe, presence: Presence) -> Rules {
        Rules::new([Rule { presence, subscribe, ..Rule::defaults(65_536) }], 65_536)
    }

    fn by_claims() -> Rules {
        rules(Subscribe::Claims, Presence::Asked)
    }

    #[test]
    fn subscribing_follows_the_patterns_of_channel_names() {
        let (principal, rules) = (principal(), by_claims());
        let may = |text: &str| {
            let topic = topic(text);
            let access = Access::new(&principal, &rules, &topic);
            assert_eq!(access.history(), access.subscribe());
            assert_eq!(access.presence(), access.subscribe());
            access.subscribe().is_allowed()
        };
        for allowed in ["tenant", "user:42", "channel:team:7", "channel:news", "channel:given"] {
            assert!(may(allowed), "{allowed}");
        }
        for refused in ["user:43", "user:4", "channel:team:7:private", "channel:new", "channel:42", "channel:tenant"] {
            assert!(!may(refused), "{refused}");
        }
    }

    #[test]
    fn publishing_follows_the_patterns_of_topics_whatever_the_rule() {
        let principal = principal();
        for rules in [by_claims(), rules(Subscribe::Nobody, Presence::Off)] {
            let may = |text: &str| Access::new(&principal, &rules, &topic(text)).publish().is_allowed();
            for allowed in ["channel:cursors:7", "user:42", "user:43"] {
                assert!(may(allowed), "{allowed}");
            }
            for refused in ["tenant", "channel:news", "channel:cursors"] {
                assert!(!may(refused), "{refused}");
            }
        }
    }

    #[test]
    fn without_patterns_nothing_is_allowed_but_the_own_topics() {
        let none = || Patterns::parse([""; 0]).unwrap();
        let principal = Principal { channels: none(), publish: none(), subscribe: Vec::new(), ..principal() };
        let rules = by_claims();
        for (text, expected) in [("tenant", true), ("user:42", true), ("channel:news", false)] {
            let topic = topic(text);
            let access = Access::new(&principal, &rules, &topic);
            assert_eq!((access.subscribe().is_allowed(), access.publish().is_allowed()), (expected, false), "{text}");
        }
    }

    #[test]
    fn a_rule_opens_or_closes_channels_and_nothing_else() {
        let principal = principal();
        for (subscribe, reason, channels) in
            [(Subscribe::Tenant, Reason::RuleTenant, true), (Subscribe::Nobody, Reason::RuleNobody, false)]
        {
            let rules = rules(subscribe, Presence::Asked);
            let judge = |text: &str| {
                let topic = topic(text);
                let verdict = Access::new(&principal, &rules, &topic).subscribe();
                (verdict.is_allowed(), format!("{:?}", verdict.reason))
            };
            for channel in ["channel:news", "channel:given", "channel:other"] {
                assert_eq!(judge(channel), (channels, format!("{reason:?}")), "{channel}");
            }
            assert!(judge("tenant").0 && judge("user:42").0 && !judge("user:43").0);
            let expected: &[&str] =
                if channels { &["tenant", "user:42", "channel:given"] } else { &["tenant", "user:42"] };
            let automatic = automatic_topics(&principal, &rules, true);
            assert_eq!(automatic.iter().map(Topic::as_str).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn presence_is_for_subscribers_where_there_is_any() {
        let (principal, rules) = (principal(), rules(Subscribe::Claims, Presence::Off));
        for text in ["tenant", "user:42", "channel:news"] {
            let topic = topic(text);
            let verdict = Access::new(&principal, &rules, &topic).presence();
            assert_eq!((verdict.is_allowed(), verdict.reason), (false, Reason::RulePresenceOff), "{text}");
        }
        let other = topic("channel:other");
        assert_eq!(Access::new(&principal, &rules, &other).presence().reason, Reason::NoChannel);
    }
}
