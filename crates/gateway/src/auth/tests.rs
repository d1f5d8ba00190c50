//! Stories about tokens: what is accepted, and the exact words of every refusal.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod key_files;
mod key_sets;
mod tokens;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::testing::config;
use super::*;
use crate::config::{AuthConfig, Hs256Secret};
use crate::secret::Secret;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const RELOAD: Duration = Duration::from_millis(5);
/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

fn with_secret() -> AuthConfig {
    AuthConfig { hs256_secrets: vec![Hs256Secret { kid: None, secret: Secret::new(SECRET) }], ..config() }
}

async fn verifier(config: &AuthConfig) -> Verifier {
    Verifier::new(config, RELOAD).await.unwrap()
}

/// What a client with this token is told.
async fn told(verifier: &Verifier, token: &str) -> String {
    match verifier.verify(token).await {
        Ok(principal) => format!("welcome {} of {}", principal.user, principal.tenant.as_str()),
        Err(error) => error.message().into_owned(),
    }
}

async fn until(verifier: &Verifier, token: &str, expected: &str) {
    let wait = async {
        while told(verifier, token).await != expected {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the expected answer comes");
}

const WELCOME: &str = "welcome 42 of acme";

fn raw(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}
