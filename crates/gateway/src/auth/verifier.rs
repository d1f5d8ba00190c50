//! Checks tokens against every configured key. Synchronous but for the one case in which the issuer's keys may have to be
//! fetched first.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::jwks::Jwks;
use super::keys::{Claims, Key, KeySet, TokenRules, select};
use super::{AuthError, AuthSetupError, Principal, claims, info, install_crypto, public_keys};
use crate::clock::unix_ms;
use crate::config::{AuthConfig, ClaimNames};
use crate::watched_file::{WatchedFile, WatchedFileError};

/// A longer token is refused unread; the contract's first frame is no larger either.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Turns tokens into principals. Share it by `Arc`; its keys change underneath as files and the issuer do.
#[derive(Debug)]
pub struct Verifier {
    secrets: KeySet,
    files: Vec<Arc<WatchedFile<KeySet>>>,
    jwks: Option<Jwks>,
    names: ClaimNames,
}

impl Verifier {
    /// Reads the key files and starts fetching the issuer's key set, without waiting for it. Files are looked at again
    /// every `reload_interval`.
    pub async fn new(config: &AuthConfig, reload_interval: Duration) -> Result<Self, AuthSetupError> {
        install_crypto();
        let rules = TokenRules::new(config);
        let secrets = config.hs256_secrets.iter().map(|secret| Key::hs256(secret, &rules)).collect();
        let mut files = Vec::new();
        if let Some(path) = &config.hs256_secret_file {
            let rules = rules.clone();
            let parse = move |files: &[Vec<u8>]| KeySet::parse_secrets(&files.concat(), &rules);
            files.push(WatchedFile::spawn(vec![path.clone()], reload_interval, parse).await.map_err(key_file)?);
        }
        if !config.public_key_files.is_empty() {
            let rules = rules.clone();
            let parse = move |files: &[Vec<u8>]| public_keys::parse(files, &rules);
            let paths = config.public_key_files.clone();
            files.push(WatchedFile::spawn(paths, reload_interval, parse).await.map_err(key_file)?);
        }
        let jwks = config.jwks.as_ref().map(|config| Jwks::spawn(config, rules)).transpose()?;
        Ok(Self { secrets: KeySet::new(secrets), files, jwks, names: config.claims.clone() })
    }

    /// How long ago the issuer's key set was fetched: when it never was, as long ago as Unix time began. None when there is
    /// none to fetch.
    pub fn jwks_age(&self) -> Option<Duration> {
        let jwks = self.jwks.as_ref()?;
        Some(jwks.age().unwrap_or_else(|| Duration::from_millis(unix_ms())))
    }

    /// Checks a token, and waits for the issuer's keys when only they can tell.
    pub async fn verify(&self, token: &str) -> Result<Principal, AuthError> {
        if let Some(result) = self.try_verify(token) {
            return result;
        }
        if let Some(jwks) = &self.jwks {
            jwks.refresh().await;
        }
        self.check(token).map_err(|refusal| refusal.error)
    }

    /// Checks a token with the keys at hand. `None`: the issuer's keys should be fetched first, call [`Verifier::verify`].
    pub fn try_verify(&self, token: &str) -> Option<Result<Principal, AuthError>> {
        match self.check(token) {
            Err(refusal) if refusal.fetch_may_help && self.jwks.as_ref().is_some_and(Jwks::may_refresh) => None,
            result => Some(result.map_err(|refusal| refusal.error)),
        }
    }

    fn check(&self, token: &str) -> Result<Principal, Refusal> {
        let header = Header::of(token)?;
        let claims = self.claims(token, &header)?;
        let principal = claims::principal(&claims, &self.names)?;
        // Most tokens have none, and need not be read twice.
        let has_info = claims::lookup(&claims, &self.names.info).is_some();
        let info = if has_info { info::info(token, &self.names.info)? } else { None };
        Ok(Principal { info, ..principal })
    }

    fn claims(&self, token: &str, header: &Header) -> Result<Claims, Refusal> {
        let files: Vec<Arc<KeySet>> = self.files.iter().map(|file| file.load()).collect();
        let fetched = self.jwks.as_ref().map(Jwks::load);
        let mut sets = vec![&self.secrets];
        sets.extend(files.iter().chain(&fetched).map(Arc::as_ref));
        let refuse = |error| match &fetched {
            Some(fetched) if header.algorithm != Algorithm::HS256 => {
                let unknown = header.kid.as_deref().is_some_and(|kid| !sets.iter().any(|set| set.has_kid(kid)));
                let error = if fetched.is_empty() { AuthError::KeysUnavailable } else { error };
                Refusal { error, fetch_may_help: unknown || fetched.is_empty() }
            }
            _ => Refusal::from(error),
        };
        let keys = select(&sets, header.algorithm, header.kid.as_deref()).map_err(refuse)?;
        for key in keys {
            match key.claims(token) {
                Err(AuthError::BadSignature) => {}
                result => return Ok(result?),
            }
        }
        Err(refuse(AuthError::BadSignature))
    }
}

fn key_file(error: WatchedFileError) -> AuthSetupError {
    AuthSetupError::KeyFile { paths: error.paths, problem: error.problem }
}

/// A refusal, and whether keys that we have not fetched yet might change it.
struct Refusal {
    error: AuthError,
    fetch_may_help: bool,
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        Self { error, fetch_may_help: false }
    }
}

/// The part of a token's header (RFC 7515 section 4.1) that chooses a key.
struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct RawHeader {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl Header {
    fn of(token: &str) -> Result<Self, AuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::TooLong { bytes_max: TOKEN_BYTES_MAX });
        }
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(AuthError::Malformed);
        };
        let json = URL_SAFE_NO_PAD.decode(header).map_err(|_| AuthError::Malformed)?;
        let raw: RawHeader = serde_json::from_slice(&json).map_err(|_| AuthError::Malformed)?;
        if raw.crit.is_some() {
            return Err(AuthError::UnsupportedExtension);
        }
        let algorithm = match raw.alg.as_str() {
            "HS256" => Algorithm::HS256,
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            "EdDSA" => Algorithm::EdDSA,
            _ => return Err(AuthError::AlgorithmNotAllowed),
        };
        Ok(Self { algorithm, kid: raw.kid })
    }
}
