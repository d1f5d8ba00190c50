//! Tokens as an application would make them.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// What the nodes of the tests check tokens with.
pub(crate) const SECRET: &str = "a-secret-of-the-tests-that-is-long-enough";

/// A token of `user`, good for an hour, that may subscribe to every channel and publish to every topic.
pub(crate) fn token(tenant: &str, user: &str) -> String {
    sign(&claims(tenant, user))
}

/// The claims of [`token`], for a test to change: `claims["channels"] = json!(["news.*"])`.
pub(crate) fn claims(tenant: &str, user: &str) -> Value {
    let expires_at = jsonwebtoken::get_current_timestamp() + 3_600;
    json!({ "tenant": tenant, "sub": user, "exp": expires_at, "channels": ["**"], "publish": ["**"] })
}

/// Any claims, signed with [`SECRET`].
pub(crate) fn sign(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).expect("claims can be signed")
}
