//! For tests: issuers with fresh keys of every kind, and a key set served over HTTP that can change and fail.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::config::{AuthConfig, ClaimNames};

/// A key pair, or a secret, that signs tokens.
pub(crate) struct Issuer {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    encoding: EncodingKey,
    /// The public key as `SubjectPublicKeyInfo`; of a secret the secret itself.
    der: Vec<u8>,
    jwk: Value,
}

impl Issuer {
    pub(crate) fn hs256(secret: &str) -> Self {
        let jwk = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(secret)});
        Self {
            algorithm: Algorithm::HS256,
            kid: None,
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            der: secret.as_bytes().to_vec(),
            jwk,
        }
    }

    pub(crate) fn rs256() -> Self {
        Self::rsa(KeySize::Rsa2048)
    }

    pub(crate) fn rsa(size: KeySize) -> Self {
        let pair = aws_lc_rs::rsa::KeyPair::generate(size).unwrap();
        let pkcs8 = pair.as_der().unwrap() as Pkcs8V1Der<'_>;
        let public = pair.public_key();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let parts = simple_rsa_parts(public.as_ref());
        Self {
            algorithm: Algorithm::RS256,
            kid: None,
            encoding: EncodingKey::from_rsa_pem(pem("PRIVATE KEY", pkcs8.as_ref()).as_bytes()).unwrap(),
            der: (public.as_der().unwrap() as PublicKeyX509Der<'_>).as_ref().to_vec(),
            jwk: json!({"kty": "RSA", "n": number(&parts.0), "e": number(&parts.1)}),
        }
    }

    pub(crate) fn es256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap();
        let point = pair.public_key().as_ref().to_vec();
        let coordinate = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        Self {
            algorithm: Algorithm::ES256,
            kid: None,
            encoding: EncodingKey::from_ec_der(pkcs8.as_ref()),
            der: (pair.public_key().as_der().unwrap() as PublicKeyX509Der<'_>).as_ref().to_vec(),
            jwk: json!({"kty": "EC", "crv": "P-256", "x": coordinate(1..33), "y": coordinate(33..65)}),
        }
    }

    pub(crate) fn eddsa() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap();
        let point = pair.public_key().as_ref().to_vec();
        Self {
            algorithm: Algorithm::EdDSA,
            kid: None,
            encoding: EncodingKey::from_ed_der(pkcs8.as_ref()),
            der: (pair.public_key().as_der().unwrap() as PublicKeyX509Der<'_>).as_ref().to_vec(),
            jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(point)}),
        }
    }

    pub(crate) fn with_kid(mut self, kid: &str) -> Self {
        self.kid = Some(kid.to_owned());
        self
    }

    /// A token with these claims and nothing else.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        crate::auth::install_crypto();
        let mut header = Header::new(self.algorithm);
        header.kid.clone_from(&self.kid);
        jsonwebtoken::encode(&header, claims, &self.encoding).unwrap()
    }

    /// A good token of user 42 of acme; `extra` claims are added, `null` takes one away.
    pub(crate) fn token(&self, extra: &Value) -> String {
        self.sign(&claims(extra))
    }

    pub(crate) fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.der)
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = self.jwk.clone();
        if let Some(kid) = &self.kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }
}

pub(crate) fn claims(extra: &Value) -> Value {
    let mut claims = Map::new();
    for (name, value) in [("sub", json!("42")), ("tenant", json!("acme")), ("exp", json!(now_s() + 60))] {
        claims.insert(name.to_owned(), value);
    }
    claims.extend(extra.as_object().unwrap().clone());
    claims.retain(|_, value| !value.is_null());
    Value::Object(claims)
}

pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Modulus and exponent out of an `RSAPublicKey` (RFC 8017 appendix A.1.1).
fn simple_rsa_parts(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    fn element(der: &[u8]) -> (&[u8], &[u8]) {
        let (length, start) = match der[1] {
            short @ 0..=0x7f => (usize::from(short), 2),
            0x81 => (usize::from(der[2]), 3),
            _ => (usize::from(der[2]) << 8 | usize::from(der[3]), 4),
        };
        der[start..].split_at(length)
    }
    let (sequence, _) = element(der);
    let (modulus, rest) = element(sequence);
    let (exponent, _) = element(rest);
    let plain = |bytes: &[u8]| bytes.iter().skip_while(|byte| **byte == 0).copied().collect();
    (plain(modulus), plain(exponent))
}

pub(crate) fn config() -> AuthConfig {
    AuthConfig {
        hs256_secrets: Vec::new(),
        hs256_secret_file: None,
        public_key_files: Vec::new(),
        jwks: None,
        issuers: Vec::new(),
        audiences: Vec::new(),
        leeway: Duration::from_secs(5),
        claims: ClaimNames {
            user: "sub".into(),
            tenant: "tenant".into(),
            channels: "channels".into(),
            publish: "publish".into(),
            methods: "methods".into(),
            subscribe: "subscribe".into(),
            info: "info".into(),
        },
        expiry_grace: Duration::from_secs(10),
        own_user_topic: true,
    }
}

/// An issuer's web server. It counts requests, and answers what it is told to.
pub(crate) struct KeyServer {
    pub(crate) url: reqwest::Url,
    state: Arc<State>,
}

struct State {
    answer: Mutex<(StatusCode, Bytes)>,
    requests: AtomicUsize,
}

impl KeyServer {
    pub(crate) async fn start(issuers: &[&Issuer]) -> Self {
        let state = State { answer: Mutex::new((StatusCode::OK, key_set(issuers))), requests: AtomicUsize::new(0) };
        let state = Arc::new(state);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap()).parse().unwrap();
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                let service = service_fn(move |_: Request<hyper::body::Incoming>| {
                    let state = Arc::clone(&state);
                    async move {
                        state.requests.fetch_add(1, Ordering::SeqCst);
                        let (status, body) = state.answer.lock().clone();
                        let mut response = Response::new(Full::new(body));
                        *response.status_mut() = status;
                        Ok::<_, Infallible>(response)
                    }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Self { url, state }
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn publish(&self, issuers: &[&Issuer]) {
        self.answer(StatusCode::OK, key_set(issuers));
    }

    pub(crate) fn answer(&self, status: StatusCode, body: impl Into<Bytes>) {
        *self.state.answer.lock() = (status, body.into());
    }
}

fn key_set(issuers: &[&Issuer]) -> Bytes {
    let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.jwk()).collect();
    json!({ "keys": keys }).to_string().into()
}
