//! Mints a token for each client: HS256, its own user, every channel allowed. Only for servers on this machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

const VALID: Duration = Duration::from_hours(24);

pub(crate) struct Mint {
    key: EncodingKey,
    tenant: String,
    expires_at_s: u64,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    tenant: &'a str,
    exp: u64,
    channels: [&'static str; 1],
}

impl Mint {
    pub(crate) fn new(secret: &str, tenant: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            key: EncodingKey::from_secret(secret.as_bytes()),
            tenant: tenant.to_owned(),
            expires_at_s: (now + VALID).as_secs(),
        }
    }

    pub(crate) fn token(&self, user: &str) -> anyhow::Result<String> {
        let claims = Claims { sub: user, tenant: &self.tenant, exp: self.expires_at_s, channels: ["**"] };
        Ok(jsonwebtoken::encode(&Header::default(), &claims, &self.key)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_token_verifies_with_its_secret_and_no_other() {
        let token = Mint::new("a secret of the test", "acme").token("user-7").unwrap();
        let check = |secret: &str| {
            let key = DecodingKey::from_secret(secret.as_bytes());
            jsonwebtoken::decode::<Value>(&token, &key, &Validation::new(Algorithm::HS256))
        };
        let claims = check("a secret of the test").unwrap().claims;
        assert_eq!((&claims["sub"], &claims["tenant"]), (&Value::from("user-7"), &Value::from("acme")));
        assert_eq!(claims["channels"], serde_json::json!(["**"]));
        assert!(check("another").is_err());
    }
}
