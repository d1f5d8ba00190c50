//! How Fanfare's keys and channels are called on Redis. Deliberately only the names that a backend uses, and no rule of what
//! a topic or a tenant is, which `fanfare_protocol` has.

use std::sync::Arc;

use fanfare_protocol::{Tenant, TopicKey};

/// The longest prefix, in bytes.
pub const PREFIX_BYTES_MAX: usize = 64;

/// What all names begin with, without the `:` that follows it.
#[derive(Debug, Clone)]
pub(crate) struct Keyspace(Arc<str>);

/// The text is no prefix that a node would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a prefix has 1 to {PREFIX_BYTES_MAX} of the characters A-Z, a-z, 0-9 and _ - . : / and does not end with `:`")]
pub struct PrefixError;

impl Keyspace {
    pub(crate) fn parse(prefix: &str) -> Result<Keyspace, PrefixError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte);
        let is_prefix =
            (1..=PREFIX_BYTES_MAX).contains(&prefix.len()) && prefix.bytes().all(is_allowed) && !prefix.ends_with(':');
        if is_prefix { Ok(Keyspace(prefix.into())) } else { Err(PrefixError) }
    }

    /// A topic's channel, and its stream.
    pub(crate) fn channel(&self, topic: &TopicKey) -> String {
        format!("{}:{topic}", self.0)
    }

    /// What holds a topic's epoch, in the slot of its channel.
    pub(crate) fn head(&self, topic: &TopicKey) -> String {
        format!("{{{}:{topic}}}:head", self.0)
    }

    /// What remembers where the event with this idempotency id stands.
    pub(crate) fn id(&self, topic: &TopicKey, id: &str) -> String {
        format!("{{{}:{topic}}}:id:{id}", self.0)
    }

    /// The stream of clients' requests.
    pub(crate) fn requests(&self, tenant: &Tenant) -> String {
        format!("{}:{tenant}:requests", self.0)
    }

    /// What the channels begin with on which nodes wait for answers.
    pub(crate) fn replies(&self, tenant: &Tenant) -> String {
        format!("{}:{tenant}:replies:", self.0)
    }
}

impl Default for Keyspace {
    fn default() -> Self {
        Keyspace("fanfare".into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn names_are_those_of_the_contract() {
        let (topic, tenant) = (TopicKey::parse("acme:channel:orders").unwrap(), Tenant::parse("acme").unwrap());
        let names = Keyspace::default();
        assert_eq!(names.channel(&topic), "fanfare:acme:channel:orders");
        assert_eq!(names.head(&topic), "{fanfare:acme:channel:orders}:head");
        assert_eq!(names.id(&topic, "a:{1}"), "{fanfare:acme:channel:orders}:id:a:{1}");
        assert_eq!(names.requests(&tenant), "fanfare:acme:requests");
        assert_eq!(names.replies(&tenant), "fanfare:acme:replies:");
        assert_eq!(Keyspace::parse("prod:ff").unwrap().channel(&topic), "prod:ff:acme:channel:orders");
    }

    #[test]
    fn a_prefix_that_would_break_a_name_is_refused() {
        for prefix in ["", "{a}", "a b", "a:", "é", &"a".repeat(65)] {
            assert_eq!(Keyspace::parse(prefix).unwrap_err(), PrefixError, "{prefix:?}");
        }
    }
}
