//! From the claims of a good token to a [`Principal`], but for its info, which stands in [`super::info`]. Signature, time,
//! issuer and audience are checked before.

use fanfare_protocol::{Patterns, Tenant, Topic, TopicKind};
use serde_json::Value;

use super::keys::Claims;
use super::{AuthError, Principal};
use crate::config::ClaimNames;

/// 2^53 - 1, the largest integer that JavaScript holds exactly.
const UNIX_MS_MAX: u64 = (1 << 53) - 1;

pub(super) fn principal(claims: &Claims, names: &ClaimNames) -> Result<Principal, AuthError> {
    let tenant = required_text(claims, &names.tenant)?;
    let tenant = Tenant::parse(tenant).map_err(|error| AuthError::invalid(&names.tenant, error.to_string()))?;
    let user = required_text(claims, &names.user)?;
    let user_topic = Topic::user(user).map_err(|error| AuthError::invalid(&names.user, error.to_string()))?;
    Ok(Principal {
        tenant,
        user: user.into(),
        subscribe: topics(claims, &names.subscribe, &user_topic)?,
        user_topic,
        channels: patterns(claims, &names.channels)?,
        publish: patterns(claims, &names.publish)?,
        methods: patterns(claims, &names.methods)?,
        expires_at_ms: expires_at_ms(claims)?,
        token_id: text(claims, "jti")?.map(Into::into),
        info: None,
    })
}

/// A claim by its name or, when that starts with `/`, by JSON pointer (RFC 6901). `null` counts as missing.
pub(super) fn lookup<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    let found = match name.strip_prefix('/') {
        None => claims.get(name),
        Some(path) => {
            let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
            let value = claims.get(&first.replace("~1", "/").replace("~0", "~"));
            match rest {
                None => value,
                Some(rest) => value?.pointer(&format!("/{rest}")),
            }
        }
    };
    found.filter(|value| !value.is_null())
}

fn text<'a>(claims: &'a Claims, name: &str) -> Result<Option<&'a str>, AuthError> {
    match lookup(claims, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(AuthError::invalid(name, "must be a string")),
    }
}

fn required_text<'a>(claims: &'a Claims, name: &str) -> Result<&'a str, AuthError> {
    text(claims, name)?.ok_or_else(|| AuthError::MissingClaim(name.into()))
}

/// An array of strings, or one string.
fn texts<'a>(claims: &'a Claims, name: &str) -> Result<Vec<&'a str>, AuthError> {
    let wrong = || AuthError::invalid(name, "must be an array of strings");
    match lookup(claims, name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(Value::Array(items)) => items.iter().map(|item| item.as_str().ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}

fn patterns(claims: &Claims, name: &str) -> Result<Patterns, AuthError> {
    Patterns::parse(texts(claims, name)?).map_err(|error| AuthError::invalid(name, error.to_string()))
}

fn topics(claims: &Claims, name: &str, own: &Topic) -> Result<Vec<Topic>, AuthError> {
    let mut topics = Vec::new();
    for text in texts(claims, name)? {
        let topic = Topic::parse(text).map_err(|error| AuthError::invalid(name, error.to_string()))?;
        if matches!(topic.kind(), TopicKind::User(_)) && topic != *own {
            return Err(AuthError::invalid(name, "has the topic of another user"));
        }
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    Ok(topics)
}

/// `exp`, a `NumericDate` (RFC 7519 section 2): seconds, which may have a fraction.
fn expires_at_ms(claims: &Claims) -> Result<u64, AuthError> {
    let exp = lookup(claims, "exp").ok_or_else(|| AuthError::MissingClaim("exp".into()))?;
    let ms = match (exp.as_u64(), exp.as_f64()) {
        (Some(seconds), _) => seconds.saturating_mul(1000),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float to integer cast saturates"
        )]
        (None, Some(seconds)) => (seconds * 1000.0) as u64,
        (None, None) => return Err(AuthError::invalid("exp", "must be a number")),
    };
    Ok(ms.min(UNIX_MS_MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::json;

    use super::*;

    fn names() -> ClaimNames {
        ClaimNames {
            user: "sub".into(),
            tenant: "tenant".into(),
            channels: "channels".into(),
            publish: "publish".into(),
            methods: "methods".into(),
            subscribe: "subscribe".into(),
            info: "info".into(),
        }
    }

    fn of(extra: &Value) -> Result<Principal, AuthError> {
        let mut claims = Claims::new();
        for (name, value) in [("sub", json!("42")), ("tenant", json!("acme")), ("exp", json!(100))] {
            claims.insert(name.to_owned(), value);
        }
        claims.extend(extra.as_object().unwrap().clone());
        principal(&claims, &names())
    }

    fn message(extra: &Value) -> String {
        of(extra).unwrap_err().message().into_owned()
    }

    #[test]
    fn the_least_token_is_a_user_of_a_tenant() {
        let principal = of(&json!({})).unwrap();
        assert_eq!((principal.tenant.as_str(), &*principal.user, principal.expires_at_ms), ("acme", "42", 100_000));
        assert_eq!(principal.user_topic.as_str(), "user:42");
        assert!(principal.subscribe.is_empty() && principal.token_id.is_none());
    }

    #[test]
    fn permissions_are_arrays_or_one_string() {
        let extra = json!({"channels": "news", "publish": ["user:*"], "methods": "ping", "subscribe": ["channel:a", "channel:a", "user:42"], "jti": "t1"});
        let principal = of(&extra).unwrap();
        assert!(
            principal.channels.matches("news")
                && principal.publish.matches("user:7")
                && principal.methods.matches("ping")
        );
        let topics: Vec<&str> = principal.subscribe.iter().map(Topic::as_str).collect();
        assert_eq!(topics, ["channel:a", "user:42"]);
        assert_eq!(principal.token_id.as_deref(), Some("t1"));
    }

    #[test]
    fn claims_that_can_not_be_used_are_named() {
        assert_eq!(message(&json!({"tenant": null})), "missing claim \"tenant\"");
        assert_eq!(message(&json!({"sub": null})), "missing claim \"sub\"");
        assert_eq!(message(&json!({"sub": 42})), "invalid claim \"sub\": must be a string");
        assert_eq!(message(&json!({"jti": 1})), "invalid claim \"jti\": must be a string");
        assert_eq!(message(&json!({"channels": [1]})), "invalid claim \"channels\": must be an array of strings");
        assert_eq!(message(&json!({"methods": 7})), "invalid claim \"methods\": must be an array of strings");
        assert_eq!(message(&json!({"publish": {}})), "invalid claim \"publish\": must be an array of strings");
        assert_eq!(
            message(&json!({"subscribe": ["user:7"]})),
            "invalid claim \"subscribe\": has the topic of another user"
        );
        for (claim, bad) in [
            ("tenant", json!("a:b")),
            ("tenant", json!("")),
            ("tenant", json!("nodes")),
            ("sub", json!("a b")),
            ("sub", json!("")),
            ("sub", json!("x".repeat(201))),
            ("channels", json!(["a b"])),
            ("publish", json!([""])),
            ("methods", json!(["a b"])),
            ("subscribe", json!(["orders"])),
        ] {
            let found = message(&json!({ claim: bad }));
            assert!(found.starts_with(&format!("invalid claim \"{claim}\": ")), "{found}");
        }
    }

    #[test]
    fn expiry_may_have_a_fraction_and_never_exceeds_what_clients_can_hold() {
        assert_eq!(of(&json!({"exp": 1.5})).unwrap().expires_at_ms, 1500);
        assert_eq!(of(&json!({"exp": u64::MAX})).unwrap().expires_at_ms, UNIX_MS_MAX);
        assert_eq!(message(&json!({"exp": "soon"})), "invalid claim \"exp\": must be a number");
    }

    #[test]
    fn a_claim_name_may_be_a_pointer() {
        let claims = json!({"sub": "42", "exp": 1, "app_metadata": {"tenant": "acme", "a/b": {"c": ["news"]}}});
        let names = ClaimNames {
            tenant: "/app_metadata/tenant".into(),
            channels: "/app_metadata/a~1b/c".into(),
            publish: "/nowhere/at/all".into(),
            ..names()
        };
        let principal = principal(claims.as_object().unwrap(), &names).unwrap();
        assert_eq!(principal.tenant.as_str(), "acme");
        assert!(principal.channels.matches("news"));
        let names = ClaimNames { tenant: "https://example.com/tenant".into(), ..super::tests::names() };
        let claims = json!({"sub": "42", "exp": 1, "https://example.com/tenant": "acme"});
        assert!(super::principal(claims.as_object().unwrap(), &names).is_ok());
    }
}
