//! Who a client is: a token is turned into a [`Principal`] once, and nothing reads it afterwards.
//!
//! What a principal may do in one moment is decided here; what happens when a token expires is the connection's work.

mod claims;
mod error;
mod info;
mod jwk_set;
mod jwks;
mod keys;
mod principal;
mod public_keys;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verifier;

pub use error::{AuthError, AuthSetupError};
pub use principal::Principal;
pub use verifier::Verifier;

use std::sync::Once;

/// Chooses aws-lc for TLS and for tokens. Cheap to call again; without it, or with two providers compiled in, the first
/// use of either would panic.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that somebody chose before us in this process, which is as good.
        _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    });
}
