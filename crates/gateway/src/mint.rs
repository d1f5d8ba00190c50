//! Makes tokens: for `fanfare token`, `fanfare tail` and the demo page. A node that serves others takes tokens and makes
//! none.

use std::time::{SystemTime, UNIX_EPOCH};

use fanfare_protocol::{PatternError, Patterns, Tenant, TenantError, Topic, TopicError};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::auth::install_crypto;
use crate::config::{AuthConfig, Hs256Secret};

/// What a token grants.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// The user's tenant.
    pub tenant: &'a str,
    /// The user's id.
    pub user: &'a str,
    /// Patterns of channel names to subscribe to.
    pub channels: &'a [String],
    /// Patterns of topics to publish to.
    pub publish: &'a [String],
    /// Patterns of methods to ask backends for.
    pub methods: &'a [String],
    /// Topics that the node subscribes.
    pub subscribe: &'a [String],
    /// How long the token is good, in seconds.
    pub expires_s: u64,
    /// `jti`.
    pub id: Option<&'a str>,
}

/// Why a token can't be made: no node would accept it.
#[derive(Debug, Error)]
pub enum MintError {
    /// The tenant.
    #[error("the tenant can't be used: {0}")]
    Tenant(#[from] TenantError),
    /// The user.
    #[error("the user can't be used: {0}")]
    User(TopicError),
    /// A pattern of channels.
    #[error("the channels can't be used: {0}")]
    Channels(PatternError),
    /// A pattern of topics to publish to.
    #[error("the topics to publish to can't be used: {0}")]
    Publish(PatternError),
    /// A pattern of methods.
    #[error("the methods can't be used: {0}")]
    Methods(PatternError),
    /// A topic that the node should subscribe.
    #[error("the topic {topic:?} can't be subscribed: {error}")]
    Subscribe {
        /// The topic as it was given.
        topic: String,
        /// What is wrong with it.
        error: TopicError,
    },
    /// Signing failed.
    #[error("the token can't be signed: {0}")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

/// Signs a token that a node with this configuration accepts: the claims have the configured names, and the first
/// configured issuer and audience.
pub fn mint(grant: &Grant<'_>, secret: &Hs256Secret, config: &AuthConfig) -> Result<String, MintError> {
    check(grant)?;
    let names = &config.claims;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut claims = Map::new();
    insert(&mut claims, &names.tenant, json!(grant.tenant));
    insert(&mut claims, &names.user, json!(grant.user));
    let lists = [
        (&names.channels, grant.channels),
        (&names.publish, grant.publish),
        (&names.methods, grant.methods),
        (&names.subscribe, grant.subscribe),
    ];
    for (name, items) in lists.into_iter().filter(|(_, items)| !items.is_empty()) {
        insert(&mut claims, name, json!(items));
    }
    claims.insert("iat".to_owned(), json!(now_s));
    claims.insert("exp".to_owned(), json!(now_s.saturating_add(grant.expires_s)));
    let registered = [
        ("iss", config.issuers.first().map(String::as_str)),
        ("aud", config.audiences.first().map(String::as_str)),
        ("jti", grant.id),
    ];
    for (name, value) in registered {
        if let Some(value) = value {
            claims.insert(name.to_owned(), json!(value));
        }
    }
    install_crypto();
    let header = Header { kid: secret.kid.as_deref().map(str::to_owned), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(secret.secret.expose().as_bytes());
    Ok(jsonwebtoken::encode(&header, &claims, &key)?)
}

fn check(grant: &Grant<'_>) -> Result<(), MintError> {
    Tenant::parse(grant.tenant)?;
    Topic::user(grant.user).map_err(MintError::User)?;
    Patterns::parse(grant.channels).map_err(MintError::Channels)?;
    Patterns::parse(grant.publish).map_err(MintError::Publish)?;
    Patterns::parse(grant.methods).map_err(MintError::Methods)?;
    for topic in grant.subscribe {
        Topic::parse(topic).map_err(|error| MintError::Subscribe { topic: topic.clone(), error })?;
    }
    Ok(())
}

/// Puts a claim where its name says: a name that starts with `/` is a JSON pointer (RFC 6901).
fn insert(claims: &mut Map<String, Value>, name: &str, value: Value) {
    let Some(path) = name.strip_prefix('/') else {
        claims.insert(name.to_owned(), value);
        return;
    };
    let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let first = first.replace("~1", "/").replace("~0", "~");
    match rest {
        None => drop(claims.insert(first, value)),
        Some(rest) => {
            if let Value::Object(inner) = claims.entry(first).or_insert_with(|| json!({})) {
                insert(inner, &format!("/{rest}"), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::time::Duration;

    use super::*;
    use crate::auth::Verifier;
    use crate::auth::testing::config;
    use crate::config::{ClaimNames, parse_hs256_secret};

    fn grant<'a>() -> Grant<'a> {
        Grant {
            tenant: "acme",
            user: "42",
            channels: &[],
            publish: &[],
            methods: &[],
            subscribe: &[],
            expires_s: 60,
            id: None,
        }
    }

    #[tokio::test]
    async fn a_node_of_the_same_configuration_accepts_it() {
        let secret = parse_hs256_secret("kid:a:secret").unwrap();
        let config = AuthConfig {
            hs256_secrets: vec![parse_hs256_secret("kid:b:other").unwrap(), secret.clone()],
            issuers: vec!["https://issuer".to_owned()],
            audiences: vec!["fanfare".to_owned()],
            claims: ClaimNames {
                user: "https://example.com/user".into(),
                tenant: "/app/org".into(),
                channels: "/app/a~1b".into(),
                ..config().claims
            },
            ..config()
        };
        let channels = ["news".to_owned()];
        let subscribe = ["channel:given".to_owned()];
        let grant = Grant { channels: &channels, subscribe: &subscribe, id: Some("t1"), ..grant() };
        let token = mint(&grant, &secret, &config).unwrap();
        let verifier = Verifier::new(&config, Duration::from_secs(5)).await.unwrap();
        let principal = verifier.verify(&token).await.unwrap();
        assert_eq!((principal.tenant.as_str(), &*principal.user), ("acme", "42"));
        assert!(principal.channels.matches("news") && principal.subscribe[0].as_str() == "channel:given");
        assert_eq!(principal.token_id.as_deref(), Some("t1"));
    }

    #[test]
    fn a_token_that_no_node_would_accept_is_not_made() {
        let (secret, bad) = (parse_hs256_secret("secret").unwrap(), ["a b".to_owned()]);
        let cases = [
            (Grant { tenant: "a:b", ..grant() }, "the tenant can't be used: "),
            (Grant { user: "", ..grant() }, "the user can't be used: "),
            (Grant { channels: &bad, ..grant() }, "the channels can't be used: "),
            (Grant { publish: &bad, ..grant() }, "the topics to publish to can't be used: "),
            (Grant { methods: &bad, ..grant() }, "the methods can't be used: "),
            (Grant { subscribe: &bad, ..grant() }, "the topic \"a b\" can't be subscribed: "),
        ];
        for (grant, expected) in cases {
            let error = mint(&grant, &secret, &config()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
