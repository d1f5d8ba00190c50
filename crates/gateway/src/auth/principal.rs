//! Who a connection is, and what it may do: what is left of a token once it has been checked.

use fanfare_protocol::{Patterns, Tenant, Topic, TopicKind};

/// An authenticated user of a tenant.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Everything the user sees is inside it.
    pub tenant: Tenant,
    /// The user's id.
    pub user: Box<str>,
    /// The user's own topic, `user:<id>`.
    pub user_topic: Topic,
    /// Patterns of channel names the user may subscribe to.
    pub channels: Patterns,
    /// Patterns of topics the user may publish to.
    pub publish: Patterns,
    /// Topics the node subscribes for the user, as the issuer wishes.
    pub subscribe: Vec<Topic>,
    /// When the token expires, in Unix milliseconds; at most what a JavaScript number holds exactly.
    pub expires_at_ms: u64,
    /// `jti`: by it a token can be revoked.
    pub token_id: Option<Box<str>>,
}

impl Principal {
    /// Whether the user may be subscribed to `topic`: the tenant's, the user's own, channels by pattern, and what the
    /// issuer subscribes the user to.
    pub fn may_subscribe(&self, topic: &Topic) -> bool {
        match topic.kind() {
            TopicKind::Tenant => true,
            TopicKind::User(id) => *id == *self.user,
            TopicKind::Channel(name) => self.channels.matches(name) || self.subscribe.contains(topic),
        }
    }

    /// Whether the user may publish to `topic`, whose kind the patterns spell.
    pub fn may_publish(&self, topic: &Topic) -> bool {
        self.publish.matches(topic.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

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
            subscribe: vec![topic("channel:given")],
            expires_at_ms: 0,
            token_id: None,
        }
    }

    #[test]
    fn subscribing_follows_the_patterns_of_channel_names() {
        let principal = principal();
        for allowed in ["tenant", "user:42", "channel:team:7", "channel:news", "channel:given"] {
            assert!(principal.may_subscribe(&topic(allowed)), "{allowed}");
        }
        for refused in ["user:43", "user:4", "channel:team:7:private", "channel:new", "channel:42", "channel:tenant"] {
            assert!(!principal.may_subscribe(&topic(refused)), "{refused}");
        }
    }

    #[test]
    fn publishing_follows_the_patterns_of_topics() {
        let principal = principal();
        for allowed in ["channel:cursors:7", "user:42", "user:43"] {
            assert!(principal.may_publish(&topic(allowed)), "{allowed}");
        }
        for refused in ["tenant", "channel:news", "channel:cursors"] {
            assert!(!principal.may_publish(&topic(refused)), "{refused}");
        }
    }

    #[test]
    fn without_patterns_nothing_is_allowed_but_the_own_topics() {
        let principal = Principal {
            channels: Patterns::parse([""; 0]).unwrap(),
            publish: Patterns::parse([""; 0]).unwrap(),
            subscribe: Vec::new(),
            ..principal()
        };
        assert!(principal.may_subscribe(&topic("tenant")) && principal.may_subscribe(&topic("user:42")));
        assert!(!principal.may_subscribe(&topic("channel:news")));
        assert!(!principal.may_publish(&topic("tenant")) && !principal.may_publish(&topic("user:42")));
    }
}
