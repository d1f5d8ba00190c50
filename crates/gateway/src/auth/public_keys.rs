//! Public keys in PEM files (RFC 7468). The key says what it is: RSA is for RS256, P-256 for ES256, Ed25519 for
//! `EdDSA`.

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::keys::{KEYS_MAX, Key, KeySet, TokenRules};

/// A shorter modulus can be factored; the library refuses its signatures too.
pub(super) const RSA_MODULUS_BYTES_MIN: usize = 256;

/// All keys of all `files`. A line `kid: <id>` before a key, where RFC 7468 has explanatory text, gives it a key id.
pub(super) fn parse(files: &[Vec<u8>], rules: &TokenRules) -> Result<KeySet, String> {
    let mut keys = Vec::new();
    for file in files {
        let text = std::str::from_utf8(file).map_err(|_| "not a PEM file: it is not text")?;
        let found = blocks(text)?;
        if found.is_empty() {
            return Err("no key in it: a public key starts with -----BEGIN PUBLIC KEY-----".to_owned());
        }
        for block in found {
            keys.push(key(&block, rules).map_err(|wrong| format!("the key in line {} {wrong}", block.line))?);
        }
    }
    if keys.len() > KEYS_MAX { Err(format!("more than {KEYS_MAX} keys")) } else { Ok(KeySet::new(keys)) }
}

struct Block<'a> {
    label: &'a str,
    line: usize,
    kid: Option<&'a str>,
    base64: String,
}

fn blocks(text: &str) -> Result<Vec<Block<'_>>, String> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    let mut kid = None;
    for (index, line) in text.lines().map(str::trim).enumerate() {
        let edge = |edge| line.strip_prefix(edge).and_then(|rest| rest.strip_suffix("-----"));
        if let Some(label) = edge("-----BEGIN ") {
            if let Some(block) = &open {
                return Err(format!("the key in line {} has no end", block.line));
            }
            open = Some(Block { label, line: index + 1, kid: kid.take(), base64: String::new() });
        } else if let Some(label) = edge("-----END ") {
            match open.take() {
                Some(block) if block.label == label => blocks.push(block),
                _ => return Err(format!("line {} ends a key that has no start", index + 1)),
            }
        } else if let Some(block) = &mut open {
            block.base64.push_str(line);
        } else if let Some(id) = line.strip_prefix("kid:") {
            kid = Some(id.trim()).filter(|id| !id.is_empty());
        }
    }
    match open {
        Some(block) => Err(format!("the key in line {} has no end", block.line)),
        None => Ok(blocks),
    }
}

fn key(block: &Block<'_>, rules: &TokenRules) -> Result<Key, &'static str> {
    match block.label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        "CERTIFICATE" => {
            return Err("is a certificate: `openssl x509 -pubkey -noout` prints its public key");
        }
        label if label.ends_with("PRIVATE KEY") => {
            return Err("is a private key: leave it with the issuer, `openssl pkey -pubout` prints the public one");
        }
        _ => return Err("is no public key"),
    }
    let der = STANDARD.decode(&block.base64).map_err(|_| "is damaged: not base64")?;
    let (algorithm, decoding) = if let Ok(key) = rsa::PublicKey::from_der(&der) {
        if key.modulus_len() < RSA_MODULUS_BYTES_MIN {
            return Err("is too short: RSA keys need 2048 bits");
        }
        (Algorithm::RS256, DecodingKey::from_rsa_der(&der))
    } else if ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &der).is_ok() {
        (Algorithm::ES256, DecodingKey::from_ec_der(&der))
    } else if ParsedPublicKey::new(&ED25519, &der).is_ok() {
        (Algorithm::EdDSA, DecodingKey::from_ed_der(&der))
    } else {
        return Err("is neither RSA, nor ECDSA on P-256, nor Ed25519");
    };
    Ok(Key::new(block.kid, algorithm, decoding, rules))
}
