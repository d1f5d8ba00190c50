//! Channels of the nodes' own, which a node subscribes to beside topics: who comes and goes, backends' answers, and what
//! concerns all nodes. Their keys can't be mistaken for a topic's; none of them is a topic that a client can name.

use super::{Tenant, TopicKey};

/// No topic has a brace. On Redis the other one stands before the prefix, so that the channel shares the topic's slot.
pub(super) const PRESENCE: &str = "}:presence";
const REPLIES: &str = ":replies:";
const CONTROL: &str = "control";

/// What comes over a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind<'a> {
    /// The events of a topic.
    Topic,
    /// Who comes and goes in the topic with this key.
    Presence(&'a str),
    /// What backends answer to the requests of this tenant's clients on one node.
    Replies {
        /// The tenant's name.
        tenant: &'a str,
    },
    /// What concerns all nodes.
    Control,
}

impl TopicKey {
    /// The channel that tells who comes and goes in this topic.
    #[must_use]
    pub fn presence(&self) -> TopicKey {
        TopicKey([self.as_str(), PRESENCE].concat().into())
    }

    /// The channel for backends' answers to the requests of the tenant's clients on one node.
    pub fn replies(tenant: &Tenant, node: &str) -> TopicKey {
        TopicKey([tenant.as_str(), REPLIES, node].concat().into())
    }

    /// The channel for what concerns all nodes. No tenant is called `control`.
    pub fn control() -> TopicKey {
        TopicKey(CONTROL.into())
    }

    /// What comes over the channel.
    pub fn channel_kind(&self) -> ChannelKind<'_> {
        ChannelKind::of(self.as_str())
    }
}

impl<'a> ChannelKind<'a> {
    /// What comes over the channel with this key.
    pub fn of(key: &'a str) -> ChannelKind<'a> {
        if key == CONTROL {
            return ChannelKind::Control;
        }
        if let Some(topic) = key.strip_suffix(PRESENCE) {
            return ChannelKind::Presence(topic);
        }
        match key.split_once(':') {
            Some((tenant, rest)) if rest.starts_with(&REPLIES[1..]) => ChannelKind::Replies { tenant },
            _ => ChannelKind::Topic,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn channels_of_the_nodes_own_are_told_from_topics_and_are_none() {
        let tenant = Tenant::parse("acme").unwrap();
        for text in ["acme:tenant", "acme:user:replies:n", "acme:channel:control", "acme:channel:replies:presence"] {
            let topic = TopicKey::parse(text).unwrap();
            assert_eq!(topic.channel_kind(), ChannelKind::Topic);
            assert_eq!(topic.presence().channel_kind(), ChannelKind::Presence(text));
            assert_eq!((topic.presence().tenant(), topic.presence().topic()), ("acme", topic.topic()));
            assert!(TopicKey::parse(topic.presence().as_str()).is_err());
        }
        for node in ["n-1", "a.b", "presence"] {
            let replies = TopicKey::replies(&tenant, node);
            assert_eq!(replies.as_str(), format!("acme:replies:{node}"));
            assert_eq!(replies.channel_kind(), ChannelKind::Replies { tenant: "acme" });
            assert!(TopicKey::parse(replies.as_str()).is_err());
        }
        assert_eq!(TopicKey::control().channel_kind(), ChannelKind::Control);
        assert!(TopicKey::parse(TopicKey::control().as_str()).is_err());
    }
}
