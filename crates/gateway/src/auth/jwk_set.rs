//! A JSON Web Key Set (RFC 7517 section 5): the keys in it that we can use, and no more.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

use super::keys::{KEYS_MAX, Key, KeySet, TokenRules};
use super::public_keys::RSA_MODULUS_BYTES_MIN;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// The usable keys of a set. Others are left out, as RFC 7517 section 5 has it; a set without any is an error, since it is
/// a fault of the issuer far more often than the wish to shut everybody out.
pub(super) fn parse(json: &[u8], rules: &TokenRules) -> Result<KeySet, String> {
    let set: Set = serde_json::from_slice(json).map_err(|error| format!("the answer is no key set: {error}"))?;
    let mut keys = Vec::new();
    for value in set.keys {
        let kid = value.get("kid").and_then(Value::as_str).unwrap_or_default().to_owned();
        match key(value, rules) {
            Ok(key) => keys.push(key),
            Err(Unusable::Secret) => {
                tracing::warn!(kid, "the issuer publishes a symmetric key, which is no secret any more: ignored");
            }
            Err(Unusable::Other(reason)) => {
                tracing::debug!(kid, reason, "a key of the issuer can't be used");
            }
        }
    }
    match keys.len() {
        0 => Err("the key set has no key that can be used (RSA from 2048 bits, EC P-256, Ed25519)".to_owned()),
        1..=KEYS_MAX => Ok(KeySet::new(keys)),
        _ => Err(format!("the key set has more than {KEYS_MAX} keys")),
    }
}

enum Unusable {
    /// `oct`: whoever reads the set could sign tokens.
    Secret,
    Other(&'static str),
}

fn key(value: Value, rules: &TokenRules) -> Result<Key, Unusable> {
    if value.get("kty").and_then(Value::as_str) == Some("oct") {
        return Err(Unusable::Secret);
    }
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| Unusable::Other("not a key we know"))?;
    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return Err(Unusable::Other("not for signatures"));
    }
    if common.key_operations.as_ref().is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
        return Err(Unusable::Other("not for verifying"));
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::OctetKey(_) => return Err(Unusable::Secret),
        _ => return Err(Unusable::Other("neither RSA, nor P-256, nor Ed25519")),
    };
    if common.key_algorithm.is_some_and(|given| given != named) {
        return Err(Unusable::Other("for another algorithm"));
    }
    let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| Unusable::Other("damaged"))?;
    if !is_sound(algorithm, &decoding) {
        return Err(Unusable::Other("damaged, or too short"));
    }
    Ok(Key::new(common.key_id.as_deref(), algorithm, decoding, rules))
}

fn is_sound(algorithm: Algorithm, key: &DecodingKey) -> bool {
    match (algorithm, key.kind()) {
        (_, DecodingKeyKind::RsaModulusExponent { n, .. }) => {
            n.iter().skip_while(|byte| **byte == 0).count() >= RSA_MODULUS_BYTES_MIN
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok()
        }
        (_, DecodingKeyKind::SecretOrDer(point)) => ParsedPublicKey::new(&ED25519, point).is_ok(),
    }
}
