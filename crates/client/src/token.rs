//! Mints the tokens that clients connect with: JWTs signed with HS256 and a secret that the nodes know
//! (`FANFARE_JWT_HS256_SECRET`). Deliberately with the contract's claim names only; nodes that are configured for others take
//! tokens of your identity provider.
//!
//! ```
//! use std::time::Duration;
//! use fanfare_client::Tenant;
//! use fanfare_client::token::{Grant, Signer};
//!
//! let signer = Signer::hs256("a-long-random-secret");
//! let grant = Grant::new(&Tenant::parse("acme")?, "42").channels(["orders", "team:*"]).methods(["dashboard.*"]);
//! let token = signer.mint(&grant.expires_in(Duration::from_secs(900)))?;
//! # assert_eq!(token.split('.').count(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::sync::Once;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fanfare_protocol::{PatternError, Patterns, Tenant, Topic, TopicError};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Map, Value};

/// How long a token is good unless it is set.
pub const EXPIRES_IN_DEFAULT: Duration = Duration::from_hours(1);

/// The claims that [`Grant`] has methods for, and those that say who has signed for whom.
const OWN_CLAIMS: [&str; 11] =
    ["aud", "channels", "exp", "iat", "iss", "jti", "methods", "publish", "sub", "subscribe", "tenant"];

/// Signs tokens. It never shows its secret.
#[derive(Clone)]
pub struct Signer {
    key: EncodingKey,
    key_id: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
}

/// What a token grants: by itself the topic of the tenant and the user's own.
#[derive(Debug, Clone)]
pub struct Grant {
    tenant: Tenant,
    user: String,
    channels: Vec<String>,
    publish: Vec<String>,
    methods: Vec<String>,
    subscribe: Vec<String>,
    expires_in: Duration,
    token_id: Option<String>,
    more: Map<String, Value>,
    fault: Option<String>,
}

/// Why a token can't be minted: no node would take it as it is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// The user makes no topic.
    #[error("the user can't be used: {0}")]
    User(TopicError),
    /// A pattern.
    #[error("the claim `{claim}` can't be used: {error}")]
    Pattern {
        /// In which claim.
        claim: &'static str,
        /// What is wrong with it.
        error: PatternError,
    },
    /// A topic that the node should subscribe.
    #[error("the topic {topic:?} can't be subscribed: {error}")]
    Subscribe {
        /// The topic as it was given.
        topic: String,
        /// What is wrong with it.
        error: TopicError,
    },
    /// Another claim.
    #[error("the claim can't be used: {0}")]
    Claim(String),
    /// Signing failed.
    #[error("the token can't be signed: {0}")]
    Signing(String),
}

impl Signer {
    /// With the secret that the nodes have. (A node may have several, separated by commas; this is one of them.)
    pub fn hs256(secret: &str) -> Signer {
        let key = EncodingKey::from_secret(secret.as_bytes());
        Signer { key, key_id: None, issuer: None, audience: None }
    }

    /// The secret's `kid`, where nodes have several.
    #[must_use]
    pub fn key_id(mut self, key_id: impl Into<String>) -> Signer {
        self.key_id = Some(key_id.into());
        self
    }

    /// `iss`, where nodes require one.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Signer {
        self.issuer = Some(issuer.into());
        self
    }

    /// `aud`, where nodes require one.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Signer {
        self.audience = Some(audience.into());
        self
    }

    /// Mints a token that is good from now on.
    pub fn mint(&self, grant: &Grant) -> Result<String, MintError> {
        grant.check()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut claims = grant.more.clone();
        let mut insert = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
        insert("sub", grant.user.as_str().into());
        insert("tenant", grant.tenant.as_str().into());
        insert("iat", now.as_secs().into());
        insert("exp", now.saturating_add(grant.expires_in).as_secs().into());
        let lists = [
            ("channels", &grant.channels),
            ("publish", &grant.publish),
            ("methods", &grant.methods),
            ("subscribe", &grant.subscribe),
        ];
        for (name, items) in lists.into_iter().filter(|(_, items)| !items.is_empty()) {
            insert(name, items.as_slice().into());
        }
        for (name, value) in [("jti", &grant.token_id), ("iss", &self.issuer), ("aud", &self.audience)] {
            if let Some(value) = value {
                insert(name, value.as_str().into());
            }
        }
        install_crypto();
        let header = Header { kid: self.key_id.clone(), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|error| MintError::Signing(error.to_string()))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("key", &"[hidden]").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Grant {
    /// For this user of this tenant, for an hour.
    pub fn new(tenant: &Tenant, user: impl Into<String>) -> Grant {
        Grant {
            tenant: tenant.clone(),
            user: user.into(),
            channels: Vec::new(),
            publish: Vec::new(),
            methods: Vec::new(),
            subscribe: Vec::new(),
            expires_in: EXPIRES_IN_DEFAULT,
            token_id: None,
            more: Map::new(),
            fault: None,
        }
    }

    /// Patterns of channel names that it may subscribe to: `orders`, `team:*`, `**`.
    #[must_use]
    pub fn channels<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Grant {
        self.channels = texts(patterns);
        self
    }

    /// Patterns of topics that it may publish to, with their kinds: `channel:cursors:*`.
    #[must_use]
    pub fn publish<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Grant {
        self.publish = texts(patterns);
        self
    }

    /// Patterns of methods that it may request: `dashboard.*`.
    #[must_use]
    pub fn methods<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Grant {
        self.methods = texts(patterns);
        self
    }

    /// Topics that the node subscribes for it: `channel:news`.
    #[must_use]
    pub fn subscribe<S: Into<String>>(mut self, topics: impl IntoIterator<Item = S>) -> Grant {
        self.subscribe = texts(topics);
        self
    }

    /// How long it is good, to the second; [`EXPIRES_IN_DEFAULT`] unless set.
    #[must_use]
    pub fn expires_in(mut self, time: Duration) -> Grant {
        self.expires_in = time;
        self
    }

    /// Its `jti`, by which it can be revoked.
    #[must_use]
    pub fn token_id(mut self, id: impl Into<String>) -> Grant {
        self.token_id = Some(id.into());
        self
    }

    /// Another claim, such as what presence tells of the user. Those that this type has methods for are refused.
    #[must_use]
    pub fn claim<T: Serialize + ?Sized>(mut self, name: impl Into<String>, value: &T) -> Grant {
        let name = name.into();
        match serde_json::to_value(value) {
            _ if OWN_CLAIMS.contains(&name.as_str()) => self.fault = Some(format!("`{name}` has a method of its own")),
            Ok(value) => drop(self.more.insert(name, value)),
            Err(error) => self.fault = Some(format!("`{name}`: {error}")),
        }
        self
    }

    fn check(&self) -> Result<(), MintError> {
        if let Some(fault) = &self.fault {
            return Err(MintError::Claim(fault.clone()));
        }
        Topic::user(&self.user).map_err(MintError::User)?;
        for (claim, patterns) in [("channels", &self.channels), ("publish", &self.publish), ("methods", &self.methods)]
        {
            Patterns::parse(patterns).map_err(|error| MintError::Pattern { claim, error })?;
        }
        for topic in &self.subscribe {
            Topic::parse(topic).map_err(|error| MintError::Subscribe { topic: topic.clone(), error })?;
        }
        Ok(())
    }
}

fn texts<S: Into<String>>(items: impl IntoIterator<Item = S>) -> Vec<String> {
    items.into_iter().map(Into::into).collect()
}

/// Chooses aws-lc, unless the backend has chosen already; without a choice the first use may panic.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::json;

    use super::*;

    fn grant() -> Grant {
        Grant::new(&Tenant::parse("acme").unwrap(), "42")
    }

    #[test]
    fn a_token_has_the_claims_of_the_contract() {
        let signer = Signer::hs256("secret").key_id("k1").issuer("i").audience("fanfare");
        let grant = grant().channels(["orders"]).publish(["user:*"]).methods(["dashboard.*"]).subscribe(["channel:a"]);
        let token = signer.mint(&grant.token_id("t1").claim("info", &json!({ "name": "Ada" }))).unwrap();
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&["fanfare"]);
        let data =
            jsonwebtoken::decode::<Map<String, Value>>(&token, &DecodingKey::from_secret(b"secret"), &rules).unwrap();
        assert_eq!(data.header.kid.as_deref(), Some("k1"));
        let mut claims = data.claims;
        let (iat, exp) = (claims.remove("iat").unwrap(), claims.remove("exp").unwrap());
        assert_eq!(exp.as_u64().unwrap() - iat.as_u64().unwrap(), 3_600);
        let expected = json!({
            "sub": "42", "tenant": "acme", "channels": ["orders"], "publish": ["user:*"], "methods": ["dashboard.*"],
            "subscribe": ["channel:a"], "jti": "t1", "iss": "i", "aud": "fanfare", "info": { "name": "Ada" },
        });
        assert_eq!(Value::Object(claims), expected);
    }

    #[test]
    fn a_token_that_no_node_would_take_is_not_minted() {
        let signer = Signer::hs256("secret");
        for (grant, expected) in [
            (Grant::new(&Tenant::parse("acme").unwrap(), ""), "the user can't be used: "),
            (grant().channels(["a b"]), "the claim `channels` can't be used: "),
            (grant().publish(["a***"]), "the claim `publish` can't be used: "),
            (grant().methods([""]), "the claim `methods` can't be used: "),
            (grant().subscribe(["a"]), "the topic \"a\" can't be subscribed: "),
            (grant().claim("sub", "7"), "the claim can't be used: `sub`"),
        ] {
            let error = signer.mint(&grant).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(!format!("{signer:?}").contains("secret"));
    }
}
