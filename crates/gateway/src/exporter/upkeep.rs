//! What is told of what somebody has to keep up: the function library on Redis, the issuer's keys, the certificate.

use std::sync::Arc;

use fanfare_backplane::FunctionLibrary;
use rustls::sign::CertifiedKey;

use super::Instruments;
use crate::tls;
use crate::watched_file::WatchedFile;

impl Instruments {
    /// What the node finds of its function library on Redis. Whether that is too old is for alerts to say.
    pub(super) fn functions(&self) {
        let help = "The function library's version that the node last saw on Redis; 0 when it was missing";
        self.gauges("fanfare_functions_version", help, |node, tell| {
            if let Some(version) = node.backplane.functions_version() {
                tell(&[], version);
            }
        });
        let help = "The function library's version that the node was built with";
        self.gauges("fanfare_functions_version_expected", help, |node, tell| {
            if node.backplane.functions_version().is_some() {
                tell(&[], FunctionLibrary::VERSION);
            }
        });
    }

    /// What runs out when nobody renews it.
    pub(super) fn keys(&self, certificate: Option<Arc<WatchedFile<CertifiedKey>>>) {
        let node = Arc::clone(&self.node);
        self.meter
            .f64_observable_gauge("fanfare_jwks_age_seconds")
            .with_description("How long ago the issuer's key set was fetched")
            .with_callback(move |observer| {
                if let Some(age) = node.verifier.jwks_age() {
                    observer.observe(age.as_secs_f64(), &[]);
                }
            })
            .build();
        let Some(certificate) = certificate else {
            return;
        };
        let help = "When the certificate that clients are shown ends to be valid, Unix time";
        self.gauges("fanfare_tls_certificate_expiry_timestamp_seconds", help, move |_, tell| {
            if let Some(expires_at_s) = tls::expires_at_s(&certificate.load()) {
                tell(&[], u64::try_from(expires_at_s).unwrap_or(0));
            }
        });
    }
}
