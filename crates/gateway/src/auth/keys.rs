//! Keys that tokens may be signed with. Each knows its own algorithm: a token's header only chooses among keys, it never
//! says how a key is used, so a public key can't be turned into an HMAC secret.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use super::AuthError;
use crate::config::{AuthConfig, Hs256Secret, parse_hs256_secret};

/// The claims of a token whose signature, time, issuer and audience are good.
pub(super) type Claims = Map<String, Value>;

/// One key, with the rules for what it signs.
#[derive(Debug)]
pub(super) struct Key {
    kid: Option<Box<str>>,
    algorithm: Algorithm,
    decoding: DecodingKey,
    validation: Validation,
}

impl Key {
    pub(super) fn new(kid: Option<&str>, algorithm: Algorithm, decoding: DecodingKey, rules: &TokenRules) -> Self {
        Self { kid: kid.map(Into::into), algorithm, decoding, validation: rules.validation(algorithm) }
    }

    pub(super) fn hs256(secret: &Hs256Secret, rules: &TokenRules) -> Self {
        let decoding = DecodingKey::from_secret(secret.secret.expose().as_bytes());
        Self::new(secret.kid.as_deref(), Algorithm::HS256, decoding, rules)
    }

    /// The token's claims, when this key signed it and nothing is wrong with it.
    pub(super) fn claims(&self, token: &str) -> Result<Claims, AuthError> {
        match jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation) {
            Ok(data) => Ok(data.claims),
            Err(error) => Err(self.refusal(error.kind())),
        }
    }

    fn refusal(&self, kind: &ErrorKind) -> AuthError {
        match kind {
            ErrorKind::InvalidSignature => AuthError::BadSignature,
            ErrorKind::ExpiredSignature => AuthError::Expired,
            ErrorKind::ImmatureSignature => AuthError::NotYetValid,
            ErrorKind::InvalidIssuer => AuthError::WrongIssuer,
            ErrorKind::InvalidAudience if self.validation.aud.is_none() => AuthError::AudienceNotConfigured,
            ErrorKind::InvalidAudience => AuthError::WrongAudience,
            ErrorKind::MissingRequiredClaim(claim) => AuthError::MissingClaim(claim.as_str().into()),
            ErrorKind::InvalidClaimFormat(claim) => AuthError::invalid(claim, "must be a number"),
            ErrorKind::InvalidAlgorithm => AuthError::AlgorithmNotAllowed,
            _ => AuthError::Malformed,
        }
    }
}

/// What holds for tokens of every key.
#[derive(Clone, Debug)]
pub(super) struct TokenRules {
    issuers: Vec<String>,
    audiences: Vec<String>,
    leeway: Duration,
}

impl TokenRules {
    pub(super) fn new(config: &AuthConfig) -> Self {
        Self { issuers: config.issuers.clone(), audiences: config.audiences.clone(), leeway: config.leeway }
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.leeway.as_secs();
        validation.validate_nbf = true;
        // The library compares iss and aud only where a token has them, so they are required as well.
        let mut required = vec!["exp"];
        if !self.issuers.is_empty() {
            validation.set_issuer(&self.issuers);
            required.push("iss");
        }
        if !self.audiences.is_empty() {
            validation.set_audience(&self.audiences);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

/// Keys from one source.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

/// More would make an unauthenticated client's token expensive.
pub(super) const KEYS_MAX: usize = 64;

/// Keys tried for one token: a source with more of one algorithm has to name them by `kid`.
const TRIES_MAX: usize = 16;

impl KeySet {
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// Secrets of HS256 tokens, one a line; empty lines and spaces around a secret don't count.
    pub(super) fn parse_secrets(text: &[u8], rules: &TokenRules) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "not UTF-8 text: write the secret as base64 or hex")?;
        let mut keys = Vec::new();
        for (index, line) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
            let secret = parse_hs256_secret(line).map_err(|wrong| format!("{wrong} in line {}", index + 1))?;
            keys.push(Key::hs256(&secret, rules));
        }
        match keys.len() {
            0 => Err("no secret in it".to_owned()),
            1..=KEYS_MAX => Ok(Self(keys)),
            _ => Err(format!("more than {KEYS_MAX} secrets")),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has_kid(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    #[cfg(test)]
    pub(super) fn algorithms(&self) -> Vec<(Option<&str>, Algorithm)> {
        self.0.iter().map(|key| (key.kid.as_deref(), key.algorithm)).collect()
    }
}

/// The keys of all `sets` to try for a token with this header. A `kid` that some key has selects it; otherwise only keys
/// without one are tried. A token without `kid` is tried with all keys of its algorithm.
pub(super) fn select<'a>(
    sets: &[&'a KeySet],
    algorithm: Algorithm,
    kid: Option<&str>,
) -> Result<Vec<&'a Key>, AuthError> {
    let of_algorithm: Vec<&Key> = sets.iter().flat_map(|set| &set.0).filter(|key| key.algorithm == algorithm).collect();
    if of_algorithm.is_empty() {
        return Err(AuthError::AlgorithmNotAllowed);
    }
    let Some(kid) = kid else {
        return Ok(of_algorithm.into_iter().take(TRIES_MAX).collect());
    };
    let named = of_algorithm.iter().filter(|key| key.kid.as_deref() == Some(kid));
    let named: Vec<&Key> = named.copied().take(TRIES_MAX).collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let unnamed: Vec<&Key> = of_algorithm.into_iter().filter(|key| key.kid.is_none()).take(TRIES_MAX).collect();
    if unnamed.is_empty() { Err(AuthError::UnknownKey) } else { Ok(unnamed) }
}
