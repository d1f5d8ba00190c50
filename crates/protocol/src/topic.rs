//! What an event is addressed to. A value of these types has been checked, so nothing past the edge checks it again.
//! Deliberately without permissions (see [`crate::pattern`]) and without the Redis prefix, which the backplane owns.

mod own;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

pub use self::own::ChannelKind;

/// The longest `<id>` or `<name>` of a topic, in bytes of UTF-8.
pub const TOPIC_NAME_BYTES_MAX: usize = 200;
/// The longest tenant, in bytes.
pub const TENANT_BYTES_MAX: usize = 64;

/// Names that a tenant can't have, since keys of the node's own use them under the same prefix.
const TENANTS_RESERVED: [&str; 4] = ["node", "nodes", "control", "revoked"];
const TENANT_TOPIC: &str = "tenant";
const USER_PREFIX: &str = "user:";
const CHANNEL_PREFIX: &str = "channel:";

/// A topic inside one tenant: `tenant`, `user:<id>` or `channel:<name>`. Compared byte by byte, without normalisation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Topic(Arc<str>);

/// What a topic addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicKind<'a> {
    /// Every connection of the tenant.
    Tenant,
    /// Every connection of the user with this id.
    User(&'a str),
    /// Whoever subscribed to the channel of this name.
    Channel(&'a str),
}

/// The isolation boundary: `[A-Za-z0-9_-]{1,64}`, not a reserved name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tenant(Arc<str>);

/// A topic with its tenant, `acme:channel:orders`: what a node keeps its tables by. Or a channel of the nodes' own: see
/// [`ChannelKind`]. A clone is a reference count, and a map of keys is searched by `&str` without an allocation.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicKey(Arc<str>);

/// Why a text is no topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// It starts with none of the kinds.
    #[error("a topic is `tenant`, `user:<id>` or `channel:<name>`")]
    UnknownKind,
    /// Nothing follows the kind.
    #[error("the name after the kind is empty")]
    EmptyName,
    /// More than [`TOPIC_NAME_BYTES_MAX`] bytes follow the kind.
    #[error("the name after the kind has {bytes} bytes; at most {TOPIC_NAME_BYTES_MAX} are allowed")]
    NameTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A space, a control character or one of `{ } * ? [ ]`.
    #[error("the character {character:?} is not allowed in a topic")]
    ForbiddenCharacter {
        /// The first such character.
        character: char,
    },
    /// The part before the first `:` of a key is no tenant.
    #[error(transparent)]
    Tenant(#[from] TenantError),
}

/// Why a text is no tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// It is empty.
    #[error("the tenant is empty")]
    Empty,
    /// More than [`TENANT_BYTES_MAX`] bytes.
    #[error("the tenant has {bytes} bytes; at most {TENANT_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Something else than a letter, a digit, `_` or `-`.
    #[error("the character {character:?} is not allowed in a tenant: only A-Z, a-z, 0-9, _ and -")]
    ForbiddenCharacter {
        /// The first such character.
        character: char,
    },
    /// One of the names that keys of the node's own use.
    #[error("the tenant name is reserved")]
    Reserved,
}

impl Topic {
    /// Takes the canonical text of a topic.
    pub fn parse(text: &str) -> Result<Topic, TopicError> {
        check_topic(text)?;
        Ok(Topic(text.into()))
    }

    /// The topic of everyone in the tenant.
    pub fn tenant() -> Topic {
        Topic(TENANT_TOPIC.into())
    }

    /// The topic of every connection of one user.
    pub fn user(id: &str) -> Result<Topic, TopicError> {
        check_name(id)?;
        Ok(Topic([USER_PREFIX, id].concat().into()))
    }

    /// The topic of whoever subscribed to the channel.
    pub fn channel(name: &str) -> Result<Topic, TopicError> {
        check_name(name)?;
        Ok(Topic([CHANNEL_PREFIX, name].concat().into()))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it addresses.
    pub fn kind(&self) -> TopicKind<'_> {
        if let Some(name) = self.0.strip_prefix(CHANNEL_PREFIX) {
            TopicKind::Channel(name)
        } else if let Some(id) = self.0.strip_prefix(USER_PREFIX) {
            TopicKind::User(id)
        } else {
            TopicKind::Tenant
        }
    }
}

impl Tenant {
    /// Takes the name of a tenant.
    pub fn parse(text: &str) -> Result<Tenant, TenantError> {
        check_tenant(text)?;
        Ok(Tenant(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TopicKey {
    /// Joins a tenant and a topic. There is nothing to check any more.
    pub fn new(tenant: &Tenant, topic: &Topic) -> TopicKey {
        TopicKey([tenant.as_str(), ":", topic.as_str()].concat().into())
    }

    /// Takes `<tenant>:<topic>`, as a Redis channel has it after the prefix.
    pub fn parse(text: &str) -> Result<TopicKey, TopicError> {
        let (tenant, topic) = text.split_once(':').unwrap_or((text, ""));
        check_tenant(tenant)?;
        check_topic(topic)?;
        Ok(TopicKey(text.into()))
    }

    /// The tenant's name.
    pub fn tenant(&self) -> &str {
        self.parts().0
    }

    /// The topic's text, without the tenant; of a presence channel that of its topic, since clients know no other name.
    pub fn topic(&self) -> &str {
        let text = self.parts().1;
        text.strip_suffix(own::PRESENCE).unwrap_or(text)
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A tenant has no `:`, so the first one always separates.
    fn parts(&self) -> (&str, &str) {
        self.0.split_once(':').unwrap_or_default()
    }
}

fn check_topic(text: &str) -> Result<(), TopicError> {
    if text == TENANT_TOPIC {
        return Ok(());
    }
    let name = text.strip_prefix(CHANNEL_PREFIX).or_else(|| text.strip_prefix(USER_PREFIX));
    check_name(name.ok_or(TopicError::UnknownKind)?)
}

fn check_name(name: &str) -> Result<(), TopicError> {
    if name.is_empty() {
        return Err(TopicError::EmptyName);
    }
    if name.len() > TOPIC_NAME_BYTES_MAX {
        return Err(TopicError::NameTooLong { bytes: name.len() });
    }
    match name.chars().find(|&character| is_forbidden_in_topic(character)) {
        Some(character) => Err(TopicError::ForbiddenCharacter { character }),
        None => Ok(()),
    }
}

/// Characters that no topic has: the space and controls of the contract, and those that mean something in a pattern or
/// a cluster's hash tag. Patterns know `*` themselves.
pub(crate) fn is_forbidden_in_topic(character: char) -> bool {
    matches!(character, '\0'..='\u{20}' | '\u{7f}'..='\u{9f}' | '{' | '}' | '*' | '?' | '[' | ']')
}

fn check_tenant(text: &str) -> Result<(), TenantError> {
    if text.is_empty() {
        return Err(TenantError::Empty);
    }
    if text.len() > TENANT_BYTES_MAX {
        return Err(TenantError::TooLong { bytes: text.len() });
    }
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    if let Some(character) = text.chars().find(|&character| !is_allowed(character)) {
        return Err(TenantError::ForbiddenCharacter { character });
    }
    if TENANTS_RESERVED.contains(&text) { Err(TenantError::Reserved) } else { Ok(()) }
}

/// Text types print as their text, and `Debug` quotes it.
macro_rules! text_type {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}

text_type!(Topic, Tenant, TopicKey);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_topic_has_one_of_three_kinds() {
        assert_eq!(Topic::parse("tenant").unwrap().kind(), TopicKind::Tenant);
        assert_eq!(Topic::parse("user:42").unwrap().kind(), TopicKind::User("42"));
        assert_eq!(Topic::parse("channel:team:42").unwrap().kind(), TopicKind::Channel("team:42"));
        assert_eq!(Topic::parse("channel:tenant").unwrap().kind(), TopicKind::Channel("tenant"));
        for text in ["", "orders", "Tenant", "tenant:", "tenants", "channel", "user", "requests", "replies:n1", ":a"] {
            assert_eq!(Topic::parse(text), Err(TopicError::UnknownKind), "{text:?}");
        }
    }

    #[test]
    fn the_parts_give_the_same_topic_as_the_text() {
        assert_eq!(Topic::tenant(), Topic::parse("tenant").unwrap());
        assert_eq!(Topic::user("a/b.c").unwrap(), Topic::parse("user:a/b.c").unwrap());
        assert_eq!(Topic::channel("team:42").unwrap(), Topic::parse("channel:team:42").unwrap());
        assert_eq!(Topic::user(""), Err(TopicError::EmptyName));
        assert_eq!(Topic::channel("a b"), Err(TopicError::ForbiddenCharacter { character: ' ' }));
    }

    #[test]
    fn a_name_has_one_to_200_bytes() {
        assert_eq!(Topic::parse("channel:"), Err(TopicError::EmptyName));
        assert!(Topic::parse(&format!("channel:{}", "a".repeat(200))).is_ok());
        let refused = Topic::parse(&format!("channel:{}", "a".repeat(201)));
        assert_eq!(refused, Err(TopicError::NameTooLong { bytes: 201 }));
        // Bytes count, not characters: 67 of three bytes each are 201.
        assert_eq!(Topic::user(&"日".repeat(67)), Err(TopicError::NameTooLong { bytes: 201 }));
        assert!(Topic::user(&"日".repeat(66)).is_ok());
    }

    #[test]
    fn spaces_controls_and_pattern_characters_are_refused_by_name() {
        let controls = ('\0'..='\u{20}').chain('\u{7f}'..='\u{9f}');
        for character in controls.chain("{}*?[]".chars()) {
            let refused = Topic::parse(&format!("channel:a{character}b"));
            assert_eq!(refused, Err(TopicError::ForbiddenCharacter { character }));
        }
        for character in "!\"#$%&'()+,-./09:;<=>@AZ\\^_`az|~\u{a0}é日🎺\u{2028}\u{feff}".chars() {
            assert!(Topic::parse(&format!("channel:{character}")).is_ok(), "{character:?}");
        }
    }

    #[test]
    fn what_looks_alike_stays_different() {
        let composed = Topic::channel("caf\u{e9}").unwrap();
        let decomposed = Topic::channel("cafe\u{301}").unwrap();
        assert_ne!(composed, decomposed);
    }

    #[test]
    fn a_tenant_is_a_short_plain_name() {
        for text in ["a", "acme", "ACME_2-x", "-", "_", "node1", "Node", &"a".repeat(64)] {
            assert_eq!(Tenant::parse(text).unwrap().as_str(), text);
        }
        for text in ["node", "nodes", "control", "revoked"] {
            assert_eq!(Tenant::parse(text), Err(TenantError::Reserved));
        }
        assert_eq!(Tenant::parse(""), Err(TenantError::Empty));
        assert_eq!(Tenant::parse(&"a".repeat(65)), Err(TenantError::TooLong { bytes: 65 }));
        for character in [':', '.', '/', ' ', '{', '*', 'é', '\0'] {
            let refused = Tenant::parse(&format!("a{character}"));
            assert_eq!(refused, Err(TenantError::ForbiddenCharacter { character }));
        }
    }

    #[test]
    fn a_key_is_found_by_its_text() {
        let key = TopicKey::new(&Tenant::parse("acme").unwrap(), &Topic::parse("channel:team:42").unwrap());
        assert_eq!((key.tenant(), key.topic(), key.as_str()), ("acme", "channel:team:42", "acme:channel:team:42"));
        let table = HashMap::from([(key, 7)]);
        assert_eq!(table.get("acme:channel:team:42"), Some(&7));
        assert_eq!(table.get("acme:channel:team"), None);
    }

    #[test]
    fn a_key_needs_both_of_its_parts() {
        assert_eq!(TopicKey::parse("acme:tenant").unwrap().topic(), "tenant");
        assert_eq!(TopicKey::parse(""), Err(TopicError::Tenant(TenantError::Empty)));
        assert_eq!(TopicKey::parse(":tenant"), Err(TopicError::Tenant(TenantError::Empty)));
        assert_eq!(TopicKey::parse("acme"), Err(TopicError::UnknownKind));
        assert_eq!(TopicKey::parse("acme:requests"), Err(TopicError::UnknownKind));
        assert_eq!(TopicKey::parse("node:tenant"), Err(TopicError::Tenant(TenantError::Reserved)));
        assert_eq!(TopicKey::parse("acme:user:"), Err(TopicError::EmptyName));
    }

    #[test]
    fn an_error_tells_a_person_what_to_change() {
        let message = |text| Topic::parse(text).unwrap_err().to_string();
        assert_eq!(message("orders"), "a topic is `tenant`, `user:<id>` or `channel:<name>`");
        assert_eq!(message("channel:a*"), "the character '*' is not allowed in a topic");
        assert_eq!(message("channel:a\n"), "the character '\\n' is not allowed in a topic");
    }

    proptest! {
        #[test]
        fn a_key_gives_back_its_parts(tenant in "[A-Za-z0-9_-]{1,64}", name in "[a-zé日:/.]{1,40}") {
            prop_assume!(!TENANTS_RESERVED.contains(&tenant.as_str()));
            let (tenant, topic) = (Tenant::parse(&tenant).unwrap(), Topic::channel(&name).unwrap());
            let key = TopicKey::new(&tenant, &topic);
            prop_assert_eq!((key.tenant(), key.topic()), (tenant.as_str(), topic.as_str()));
            prop_assert_eq!(TopicKey::parse(key.as_str()), Ok(key.clone()));
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in "(channel:|user:|tenant)?\\PC{0,210}") {
            if let Ok(topic) = Topic::parse(&text) {
                prop_assert_eq!(topic.as_str(), text);
            }
        }
    }
}
