//! Why a token is refused, in words that a client may read: no key material and nothing of the token but names of claims.

use std::borrow::Cow;
use std::path::PathBuf;

use thiserror::Error;

/// Why a token is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AuthError {
    /// Longer than a token can sensibly be.
    #[error("token too long: more than {bytes_max} bytes")]
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// Not a signed JWT (RFC 7519 section 7.2), or claims that are no JSON object.
    #[error("malformed token")]
    Malformed,
    /// No key for this algorithm; `none` and algorithms we don't speak among them.
    #[error("algorithm not allowed")]
    AlgorithmNotAllowed,
    /// The header has `crit` (RFC 7515 section 4.1.11), and we know no extension.
    #[error("token requires an extension that is not supported")]
    UnsupportedExtension,
    /// No key with the token's `kid`.
    #[error("unknown key")]
    UnknownKey,
    /// The issuer's keys could not be fetched yet.
    #[error("the issuer's keys are not available, try again later")]
    KeysUnavailable,
    /// No key made this signature.
    #[error("bad signature")]
    BadSignature,
    /// `exp` has passed.
    #[error("token expired")]
    Expired,
    /// Its `jti` was revoked.
    #[error("token revoked")]
    Revoked,
    /// `nbf` has not come yet.
    #[error("token not yet valid")]
    NotYetValid,
    /// `iss` is none of ours.
    #[error("wrong issuer")]
    WrongIssuer,
    /// `aud` has none of ours.
    #[error("wrong audience")]
    WrongAudience,
    /// `aud` is there and we have none: RFC 7519 section 4.1.3 has it refused.
    #[error("token is for an audience, and none is configured here")]
    AudienceNotConfigured,
    /// A required claim is missing.
    #[error("missing claim {0:?}")]
    MissingClaim(Box<str>),
    /// A claim that can't be used.
    #[error("invalid claim {claim:?}: {problem}")]
    InvalidClaim {
        /// Its name.
        claim: Box<str>,
        /// What is wrong with it.
        problem: Box<str>,
    },
}

impl AuthError {
    /// What a client is told. Stable: clients' tests may compare it.
    pub fn message(&self) -> Cow<'static, str> {
        Cow::Owned(self.to_string())
    }

    /// Whether the same token may be good a little later, without the client doing anything.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::KeysUnavailable)
    }

    pub(super) fn invalid(claim: &str, problem: impl Into<Box<str>>) -> Self {
        Self::InvalidClaim { claim: claim.into(), problem: problem.into() }
    }
}

/// Why tokens can't be checked at all: found when a node starts.
#[derive(Debug, Error)]
pub enum AuthSetupError {
    /// A file with keys can't be used.
    #[error("{}: {problem}", paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
    KeyFile {
        /// The files that were read together.
        paths: Vec<PathBuf>,
        /// What is wrong with it.
        problem: String,
    },
    /// The client for the key set can't be made, for example because this machine has no root certificates.
    #[error("can't fetch keys over HTTP: {0}")]
    HttpClient(String),
}
