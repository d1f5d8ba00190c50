//! How a topic is called on Redis: `<prefix>:<tenant>:<topic>`. Deliberately only the names in use, and no rule of what
//! a topic is, which `fanfare_protocol` has.

use std::sync::Arc;

use fanfare_protocol::{ChannelKind, Tenant, TopicKey};

/// The longest prefix, in bytes.
pub const PREFIX_BYTES_MAX: usize = 64;

const DEFAULT: &str = "fanfare:";
const SEPARATOR: char = ':';

/// What every Redis key and channel of one Fanfare begins with; `fanfare` unless configured. Two Fanfares with
/// different prefixes on one Redis don't see each other, unless one prefix is the other and more behind a `:`
/// (`app` and `app:acme`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(Arc<str>);

/// Why a text is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// It is empty.
    #[error("the prefix is empty")]
    Empty,
    /// More than [`PREFIX_BYTES_MAX`] bytes.
    #[error("the prefix has {bytes} bytes; at most {PREFIX_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Something else than a letter, a digit or one of `_ - . : /`. Braces would choose the slot in a Redis Cluster.
    #[error("the character {character:?} is not allowed in a prefix: only A-Z, a-z, 0-9 and _ - . : /")]
    ForbiddenCharacter {
        /// The first such character.
        character: char,
    },
    /// It ends with the `:` that is added anyway.
    #[error("the prefix ends with `:`, which is added anyway: leave it out")]
    TrailingSeparator,
}

impl Prefix {
    /// Takes a prefix, without the `:` that follows it.
    pub fn parse(text: &str) -> Result<Prefix, PrefixError> {
        let is_allowed = |character: char| character.is_ascii_alphanumeric() || "_-.:/".contains(character);
        if text.is_empty() {
            return Err(PrefixError::Empty);
        }
        if text.len() > PREFIX_BYTES_MAX {
            return Err(PrefixError::TooLong { bytes: text.len() });
        }
        if let Some(character) = text.chars().find(|&character| !is_allowed(character)) {
            return Err(PrefixError::ForbiddenCharacter { character });
        }
        if text.ends_with(SEPARATOR) {
            return Err(PrefixError::TrailingSeparator);
        }
        Ok(Prefix(format!("{text}{SEPARATOR}").into()))
    }

    /// The prefix, without the `:` that follows it.
    pub fn as_str(&self) -> &str {
        self.0.strip_suffix(SEPARATOR).unwrap_or(&self.0)
    }

    /// The channel that carries a topic, or one of the nodes' own. Who comes and goes is told in the topic's slot.
    pub(crate) fn channel(&self, key: &TopicKey) -> String {
        match key.channel_kind() {
            ChannelKind::Presence(_) => ["{", &self.0, key.as_str()].concat(),
            _ => [&self.0, key.as_str()].concat(),
        }
    }

    /// The key that holds a topic's epoch. Like all keys of a topic it shares the slot of its channel.
    pub(crate) fn head(&self, topic: &TopicKey) -> String {
        ["{", &self.0, topic.as_str(), "}:head"].concat()
    }

    /// The key that remembers under which position an event with this id was published.
    pub(crate) fn id(&self, topic: &TopicKey, id: &str) -> String {
        ["{", &self.0, topic.as_str(), "}:id:", id].concat()
    }

    /// The stream of requests of a tenant's clients.
    pub(crate) fn requests(&self, tenant: &Tenant) -> String {
        [&self.0, tenant.as_str(), ":requests"].concat()
    }

    /// The key that has what is known of the users who are there. Their presence has the name of its channel.
    pub(crate) fn info(&self, topic: &TopicKey) -> String {
        ["{", &self.0, topic.as_str(), "}:info"].concat()
    }

    /// The channel of a node's probes. No tenant is called `node`.
    pub(crate) fn probe_channel(&self, node_id: &str) -> String {
        format!("{}node:{node_id}:probe", self.0)
    }

    /// The key that remembers that a token is revoked: that of one tenant, which says nothing of another's token with the
    /// same `jti`, or everybody's. No tenant is called `revoked`, and no topic.
    pub(crate) fn revoked(&self, token_id: &str, tenant: Option<&Tenant>) -> String {
        match tenant {
            Some(tenant) => format!("{}{tenant}:revoked:{token_id}", self.0),
            None => format!("{}revoked:{token_id}", self.0),
        }
    }

    /// The sorted set of nodes by their last report.
    pub(crate) fn nodes(&self) -> String {
        format!("{}nodes", self.0)
    }

    /// The key with what a node reported last.
    pub(crate) fn node(&self, node_id: &str) -> String {
        format!("{}node:{node_id}", self.0)
    }

    /// How many bytes of a channel's name come before the text of its [`TopicKey`]; nothing if the channel isn't ours.
    pub(crate) fn len_in(&self, channel: &[u8]) -> Option<usize> {
        let brace = usize::from(channel.first() == Some(&b'{'));
        channel[brace..].starts_with(self.0.as_bytes()).then_some(brace + self.0.len())
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Prefix(DEFAULT.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn names_the_channel_of_a_topic() {
        let topic = TopicKey::parse("acme:channel:orders").unwrap();
        assert_eq!(Prefix::default().channel(&topic), "fanfare:acme:channel:orders");
        assert_eq!(Prefix::default().head(&topic), "{fanfare:acme:channel:orders}:head");
        assert_eq!(Prefix::default().id(&topic, "a:{1}"), "{fanfare:acme:channel:orders}:id:a:{1}");
        assert_eq!(Prefix::default().info(&topic), "{fanfare:acme:channel:orders}:info");
        assert_eq!(Prefix::parse("prod:ff").unwrap().channel(&topic), "prod:ff:acme:channel:orders");
        assert_eq!(Prefix::default().probe_channel("a-1"), "fanfare:node:a-1:probe");
        assert_eq!(Prefix::default().nodes(), "fanfare:nodes");
        assert_eq!(Prefix::default().node("a-1"), "fanfare:node:a-1");
        let acme = Tenant::parse("acme").unwrap();
        assert_eq!(Prefix::default().revoked("t-1", None), "fanfare:revoked:t-1");
        assert_eq!(Prefix::default().revoked("t-1", Some(&acme)), "fanfare:acme:revoked:t-1");
        assert_eq!(Prefix::default().requests(&acme), "fanfare:acme:requests");
        assert_eq!(Prefix::default().channel(&TopicKey::replies(&acme, "a-1")), "fanfare:acme:replies:a-1");
        assert_eq!(Prefix::default(), Prefix::parse("fanfare").unwrap());
        assert_eq!(Prefix::default().as_str(), "fanfare");
    }

    #[test]
    fn finds_the_topic_in_a_channel_of_its_own_only() {
        let prefix = Prefix::default();
        assert_eq!(prefix.len_in(b"fanfare:acme:tenant"), Some(8));
        assert_eq!(prefix.len_in(b"fanfares:acme:tenant"), None);
        assert_eq!(prefix.len_in(b""), None);
        let presence = TopicKey::parse("acme:channel:orders").unwrap().presence();
        let channel = prefix.channel(&presence);
        assert_eq!(channel, "{fanfare:acme:channel:orders}:presence");
        assert_eq!(&channel[prefix.len_in(channel.as_bytes()).unwrap()..], presence.as_str());
    }

    #[test]
    fn refuses_what_would_break_a_name() {
        assert_eq!(Prefix::parse(""), Err(PrefixError::Empty));
        assert_eq!(Prefix::parse("{a}"), Err(PrefixError::ForbiddenCharacter { character: '{' }));
        assert_eq!(Prefix::parse("a b"), Err(PrefixError::ForbiddenCharacter { character: ' ' }));
        assert_eq!(Prefix::parse("a:"), Err(PrefixError::TrailingSeparator));
        assert_eq!(Prefix::parse(&"a".repeat(65)), Err(PrefixError::TooLong { bytes: 65 }));
    }
}
