//! Native TLS for clients: a certificate and its key from PEM files, replaced while connections live.
//!
//! TLS 1.2 and 1.3 with the aws-lc provider, ALPN `http/1.1` (a WebSocket upgrade needs HTTP/1.1). This module sees only
//! bytes and neither reads nor watches files. There are no client certificates.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};

/// Which of the two files an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFile {
    /// The certificate chain.
    Certificate,
    /// The private key.
    Key,
}

/// Why a certificate and key can't be used. The texts name the file by its role; [`TlsError::file`] tells it
/// to who knows the path. No text has a byte of the key in it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TlsError {
    /// The certificate file has no certificate.
    #[error(
        "the certificate file has no certificate in it (expected a PEM section `-----BEGIN CERTIFICATE-----`{})",
        hint(*.holds_key, "; it has a private key: are the two files swapped?")
    )]
    NoCertificate {
        /// It has a private key instead.
        holds_key: bool,
    },
    /// The certificate file isn't well-formed PEM.
    #[error("the certificate file is not well-formed PEM: {0}")]
    CertificatePem(&'static str),
    /// The server's own certificate, the first in the file, can't be parsed.
    #[error("the first certificate in the certificate file is invalid: {0}")]
    InvalidCertificate(rustls::Error),
    /// The key file has no private key.
    #[error(
        "the key file has no private key in it (expected a PEM section `-----BEGIN PRIVATE KEY-----`, \
         `EC PRIVATE KEY` or `RSA PRIVATE KEY`{})",
        hint(*.holds_certificate, "; it has a certificate: are the two files swapped?")
    )]
    NoKey {
        /// It has a certificate instead.
        holds_certificate: bool,
    },
    /// The key is protected by a passphrase, which nobody is there to type.
    #[error(
        "the private key in the key file is encrypted; store it without a passphrase (`openssl pkey -in … -out …`)"
    )]
    EncryptedKey,
    /// The key file isn't well-formed PEM.
    #[error("the key file is not well-formed PEM: {0}")]
    KeyPem(&'static str),
    /// The key is of a kind or size that isn't supported, or is damaged.
    #[error(
        "the private key in the key file can't be used: it must be RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) \
         or Ed25519"
    )]
    UnusableKey,
    /// Both are fine, but not made for each other.
    #[error("the private key doesn't belong to the first certificate in the certificate file")]
    KeyMismatch,
}

impl TlsError {
    /// The file that is wrong; `None` when only the two together are.
    pub fn file(&self) -> Option<TlsFile> {
        match self {
            Self::NoCertificate { .. } | Self::CertificatePem(_) | Self::InvalidCertificate(_) => {
                Some(TlsFile::Certificate)
            }
            Self::NoKey { .. } | Self::EncryptedKey | Self::KeyPem(_) | Self::UnusableKey => Some(TlsFile::Key),
            Self::KeyMismatch => None,
        }
    }
}

fn hint(applies: bool, text: &'static str) -> &'static str {
    if applies { text } else { "" }
}

/// Parses a certificate chain (the server's own first, then the intermediate ones) and its key (PKCS#8, SEC1 or
/// PKCS#1), and checks that they belong together.
pub fn load(cert_pem: &[u8], key_pem: &[u8]) -> Result<CertifiedKey, TlsError> {
    let chain = parse_chain(cert_pem)?;
    let key = parse_key(key_pem)?;
    let key = provider().key_provider.load_private_key(key).map_err(|_| TlsError::UnusableKey)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(TlsError::KeyMismatch),
        Err(error) => Err(TlsError::InvalidCertificate(error)),
    }
}

/// When the server's own certificate ends to be valid, Unix time in seconds. None when that can't be read, although the
/// rest can be used.
pub fn expires_at_s(certified: &CertifiedKey) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certified.cert.first()?).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// Settings that present whatever `current` returns when a handshake begins: after a renewal new connections get the
/// new certificate, and those that are open keep theirs.
///
/// # Panics
/// Never: aws-lc knows TLS 1.2 and 1.3.
pub fn server_config(current: impl Fn() -> Arc<CertifiedKey> + Send + Sync + 'static) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the provider knows both versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Current(current)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

struct Current<F>(F);

impl<F> fmt::Debug for Current<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl<F: Fn() -> Arc<CertifiedKey> + Send + Sync> ResolvesServerCert for Current<F> {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some((self.0)())
    }
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

fn parse_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::CertificatePem(what_is_wrong(&error)))?;
    if chain.is_empty() {
        let holds_key = PrivateKeyDer::from_pem_slice(pem).is_ok();
        return Err(TlsError::NoCertificate { holds_key });
    }
    Ok(chain)
}

fn parse_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    // "BEGIN ENCRYPTED PRIVATE KEY" (PKCS#8), or the header "Proc-Type: 4,ENCRYPTED" of the older form.
    if pem.windows(9).any(|window| window == b"ENCRYPTED") {
        return Err(TlsError::EncryptedKey);
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            let holds_certificate = CertificateDer::from_pem_slice(pem).is_ok();
            TlsError::NoKey { holds_certificate }
        }
        error => TlsError::KeyPem(what_is_wrong(&error)),
    })
}

/// In words instead of the library's own text, which quotes the line that it stumbled over.
fn what_is_wrong(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no `-----END …-----` line (is the file cut off?)",
        pem::Error::IllegalSectionStart { .. } => "a `-----BEGIN …` line is broken",
        pem::Error::Base64Decode(_) => "a section is not valid base64",
        pem::Error::SectionTooLarge => "a section is too large",
        _ => "it can't be read",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use ::aws_lc_rs::encoding::AsDer;
    use ::aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
    use arc_swap::ArcSwap;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::{TlsAcceptor, TlsConnector, client};

    use super::*;

    struct Issued {
        cert: String,
        key: String,
    }

    fn issue_for(key: &KeyPair) -> String {
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(key).unwrap().pem()
    }

    fn issue() -> Issued {
        let key = KeyPair::generate().unwrap();
        Issued { cert: issue_for(&key), key: key.serialize_pem() }
    }

    fn load_text(cert: &str, key: &str) -> Result<CertifiedKey, TlsError> {
        load(cert.as_bytes(), key.as_bytes())
    }

    fn current(issued: &Issued) -> Arc<ArcSwap<CertifiedKey>> {
        Arc::new(ArcSwap::from_pointee(load_text(&issued.cert, &issued.key).unwrap()))
    }

    fn error(cert: &str, key: &str) -> TlsError {
        load_text(cert, key).unwrap_err()
    }

    fn pem(label: &str, der: &[u8]) -> String {
        let text = BASE64_STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    #[test]
    fn keys_of_every_form_are_loaded() {
        let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        load_text(&issue_for(&ed25519), &ed25519.serialize_pem()).unwrap();

        let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        load_text(&issue_for(&rsa), &rsa.serialize_pem()).unwrap();
        // A PKCS#8 document is 26 bytes that say "RSA", then the PKCS#1 document.
        let pkcs1 = pem("RSA PRIVATE KEY", &rsa.serialize_der()[26..]);
        load_text(&issue_for(&rsa), &pkcs1).unwrap();

        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let pkcs8 = pem("PRIVATE KEY", ec.to_pkcs8v1().unwrap().as_ref());
        let cert = issue_for(&KeyPair::from_pem(&pkcs8).unwrap());
        load_text(&cert, &pkcs8).unwrap();
        let sec1 = pem("EC PRIVATE KEY", ec.private_key().as_der().unwrap().as_ref());
        load_text(&cert, &sec1).unwrap();
    }

    #[test]
    fn a_chain_is_kept_in_order_and_text_around_it_is_ignored() {
        let (server, other) = (issue(), issue());
        let chain = format!("subject=server\n{}\nsubject=issuer\n{}", server.cert, other.cert);
        assert_eq!(load_text(&chain, &server.key).unwrap().cert.len(), 2);
        let wrong_order = format!("{}{}", other.cert, server.cert);
        assert_eq!(error(&wrong_order, &server.key), TlsError::KeyMismatch);
        // Both in one file, used for both.
        let both = format!("{}{}", server.key, server.cert);
        load_text(&both, &both).unwrap();
    }

    #[test]
    fn each_mistake_is_told_with_the_file_it_is_in() {
        let (one, other) = (issue(), issue());
        let cut_off = |text: &str| text[..text.len() - 40].to_owned();
        let not_base64 = |text: &str| text.replace("MI", "M!");
        let no_certificate_bytes = pem("CERTIFICATE", b"not a certificate");
        let no_key_bytes = pem("PRIVATE KEY", b"not a key");
        let encrypted = pem("ENCRYPTED PRIVATE KEY", b"secret");
        for (cert, key, file, text) in [
            ("", &*one.key, Some(TlsFile::Certificate), "the certificate file has no certificate in it"),
            (&one.key, &one.cert, Some(TlsFile::Certificate), "are the two files swapped?"),
            (&cut_off(&one.cert), &one.key, Some(TlsFile::Certificate), "is the file cut off?"),
            (&not_base64(&one.cert), &one.key, Some(TlsFile::Certificate), "not valid base64"),
            (
                &no_certificate_bytes,
                &one.key,
                Some(TlsFile::Certificate),
                "first certificate in the certificate file is invalid",
            ),
            (&one.cert, "", Some(TlsFile::Key), "the key file has no private key in it"),
            (&one.cert, &one.cert, Some(TlsFile::Key), "are the two files swapped?"),
            (&one.cert, &cut_off(&one.key), Some(TlsFile::Key), "is the file cut off?"),
            (&one.cert, &not_base64(&one.key), Some(TlsFile::Key), "not valid base64"),
            (&one.cert, &encrypted, Some(TlsFile::Key), "is encrypted"),
            (&one.cert, &no_key_bytes, Some(TlsFile::Key), "can't be used"),
            (&one.cert, &other.key, None, "doesn't belong to the first certificate"),
        ] {
            let error = error(cert, key);
            assert_eq!(error.file(), file, "{error}");
            assert!(error.to_string().contains(text), "{error} should say: {text}");
        }
    }

    /// Echoes over TLS with whatever certificate is current.
    async fn serve(current: &Arc<ArcSwap<CertifiedKey>>) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let current = Arc::clone(current);
        let acceptor = TlsAcceptor::from(server_config(move || current.load_full()));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A refused handshake is the client's to report.
                    if let Ok(mut stream) = acceptor.accept(socket).await {
                        let mut byte = [0];
                        while stream.read_exact(&mut byte).await.is_ok() {
                            stream.write_all(&byte).await.unwrap();
                        }
                    }
                });
            }
        });
        address
    }

    /// A client that trusts exactly these certificates.
    async fn connect(
        address: std::net::SocketAddr,
        trusted: &[&str],
        version: &'static SupportedProtocolVersion,
        alpn: &[&str],
    ) -> std::io::Result<client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for cert in trusted {
            roots.add(CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()).unwrap();
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }

    async fn echoes(stream: &mut client::TlsStream<TcpStream>) {
        stream.write_all(b"x").await.unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"x");
    }

    #[tokio::test]
    async fn both_versions_and_alpn_are_negotiated() {
        let issued = issue();
        let address = serve(&current(&issued)).await;
        for (version, expected) in
            [(&rustls::version::TLS13, ProtocolVersion::TLSv1_3), (&rustls::version::TLS12, ProtocolVersion::TLSv1_2)]
        {
            let mut stream = connect(address, &[&issued.cert], version, &["h2", "http/1.1"]).await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            echoes(&mut stream).await;
            let mut stream = connect(address, &[&issued.cert], version, &[]).await.unwrap();
            echoes(&mut stream).await;
        }
        assert!(connect(address, &[&issued.cert], &rustls::version::TLS13, &["h2"]).await.is_err());
    }

    #[tokio::test]
    async fn a_renewed_certificate_serves_new_connections_and_open_ones_live_on() {
        let (old, new) = (issue(), issue());
        let current = current(&old);
        let address = serve(&current).await;
        let version = &rustls::version::TLS13;
        let mut open = connect(address, &[&old.cert], version, &[]).await.unwrap();
        echoes(&mut open).await;

        // The certificate is written before its key: nothing to serve with yet.
        assert_eq!(error(&new.cert, &old.key), TlsError::KeyMismatch);
        current.store(Arc::new(load_text(&new.cert, &new.key).unwrap()));

        echoes(&mut connect(address, &[&new.cert], version, &[]).await.unwrap()).await;
        assert!(connect(address, &[&old.cert], version, &[]).await.is_err());
        echoes(&mut open).await;
    }

    #[test]
    fn nothing_prints_the_key() {
        let issued = issue();
        let current = current(&issued);
        let printed = [format!("{current:?}"), format!("{:?}", server_config(move || current.load_full()))].concat();
        let secret = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let secret = format!("{:?}", &secret.secret_der()[36..68]);
        assert!(!printed.contains(secret.trim_matches(['[', ']'])), "{printed}");
        assert!(!printed.contains(issued.key.lines().nth(1).unwrap()));
    }
}
