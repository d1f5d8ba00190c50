//! Which tokens are good, and how those that are not are refused.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{Client, Handshake, Node, SECRET, claims, free_port, sign, token};

/// The code that a client with a bad token is closed with.
const UNAUTHENTICATED: u16 = 4401;

/// Tokens that a node with the audience `fanfare`, the issuer `https://issuer.test` and `public_key` refuses, and why.
fn bad_tokens(public_key: &str) -> Vec<(String, &'static str)> {
    let good = good_claims();
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        sign(&claims)
    };
    let signed = |algorithm, secret: &[u8]| {
        jsonwebtoken::encode(&Header::new(algorithm), &good, &EncodingKey::from_secret(secret)).unwrap()
    };
    let unsigned = |algorithm: &str| {
        let header = json!({ "alg": algorithm, "typ": "JWT" });
        let [header, payload] = [&header, &good].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        format!("{header}.{payload}.")
    };
    let now = jsonwebtoken::get_current_timestamp();
    vec![
        (unsigned("none"), "algorithm not allowed"),
        (unsigned("nOnE"), "algorithm not allowed"),
        (signed(Algorithm::HS512, SECRET.as_bytes()), "algorithm not allowed"),
        (signed(Algorithm::HS256, public_key.as_bytes()), "bad signature"),
        (signed(Algorithm::HS256, b"another secret, as long as the one that counts"), "bad signature"),
        (unsigned("HS256"), "bad signature"),
        (unsigned("RS256"), "bad signature"),
        ("garbage".to_owned(), "malformed token"),
        ("a.b.c".to_owned(), "malformed token"),
        (format!("{}.x", sign(&good)), "malformed token"),
        (with("exp", json!(now - 60)), "token expired"),
        (with("nbf", json!(now + 60)), "token not yet valid"),
        (without("exp"), "missing claim \"exp\""),
        (with("aud", json!("elsewhere")), "wrong audience"),
        (without("aud"), "missing claim \"aud\""),
        (with("iss", json!("https://elsewhere.test")), "wrong issuer"),
        (without("iss"), "missing claim \"iss\""),
        (without("tenant"), "missing claim \"tenant\""),
        (
            with("tenant", json!("acme:channel")),
            "invalid claim \"tenant\": the character ':' is not allowed in a tenant: only A-Z, a-z, 0-9, _ and -",
        ),
        (with("tenant", json!("")), "invalid claim \"tenant\": the tenant is empty"),
        (with("tenant", json!("control")), "invalid claim \"tenant\": the tenant name is reserved"),
        (with("tenant", json!(7)), "invalid claim \"tenant\": must be a string"),
        (without("sub"), "missing claim \"sub\""),
        (with("sub", json!("a b")), "invalid claim \"sub\": the character ' ' is not allowed in a topic"),
        (with("sub", json!("*")), "invalid claim \"sub\": the character '*' is not allowed in a topic"),
        (
            with("sub", json!("x".repeat(201))),
            "invalid claim \"sub\": the name after the kind has 201 bytes; at most 200 are allowed",
        ),
        (with("channels", json!({})), "invalid claim \"channels\": must be an array of strings"),
        (with("subscribe", json!(["user:43"])), "invalid claim \"subscribe\": has the topic of another user"),
    ]
}

fn good_claims() -> Value {
    let mut claims = claims("acme", "42");
    claims["aud"] = json!(["other", "fanfare"]);
    claims["iss"] = json!("https://issuer.test");
    claims
}

#[tokio::test]
async fn a_bad_token_is_refused_in_the_way_that_the_client_can_read() {
    let keys = Keys::new();
    let files = tempfile::tempdir().unwrap();
    let node = Node::start(&[
        ("FANFARE_JWT_AUDIENCE", "fanfare"),
        ("FANFARE_JWT_ISSUER", "https://issuer.test,https://second.test"),
        ("FANFARE_JWT_PUBLIC_KEY_FILE", &keys.write(files.path())),
    ])
    .await;
    Handshake::to(&node).bearer(&sign(&good_claims())).open().await.expect("welcome").await;
    for (token, reason) in bad_tokens(&keys.rsa_public_pem()) {
        let told = json!({
            "op": "disconnect", "code": UNAUTHENTICATED, "reason": reason, "reconnect": false, "after_ms": 0
        });
        let mut upgraded = Handshake::to(&node).bearer(&token).open().await;
        let mut first_frame = Handshake::to(&node).msgpack().open().await;
        first_frame.send(&json!({ "op": "auth", "token": token })).await;
        for client in [&mut upgraded, &mut first_frame] {
            assert_eq!(client.message().await, told);
            assert_eq!(client.expect_close().await, (Some(UNAUTHENTICATED), reason.to_owned()));
        }
        let refused = Handshake::to(&node).without("Sec-WebSocket-Protocol").bearer(&token).try_open().await;
        let reply = refused.err().unwrap();
        assert_eq!(reply.status, 401, "{reason}");
        assert_eq!(reply.json(), json!({ "code": "unauthenticated", "message": reason }));
    }
}

#[tokio::test]
async fn an_audience_is_refused_where_none_is_expected() {
    let node = Node::start(&[]).await;
    let mut client = Handshake::to(&node).bearer(&sign(&good_claims())).open().await;
    let told = client.expect_disconnect(UNAUTHENTICATED).await;
    assert_eq!(told["reason"], "token is for an audience, and none is configured here");
}

#[tokio::test]
async fn a_token_has_8_kib_at_most() {
    let node = Node::start(&[]).await;
    let mut claims = claims("acme", "42");
    claims["padding"] = json!("x".repeat(8_192));
    let mut client = Handshake::to(&node).bearer(&sign(&claims)).open().await;
    let told = client.expect_disconnect(UNAUTHENTICATED).await;
    assert_eq!(told["reason"], "token too long: more than 8192 bytes");
}

#[tokio::test]
async fn public_keys_come_from_a_file_and_are_no_secrets() {
    let keys = Keys::new();
    let files = tempfile::tempdir().unwrap();
    let file = keys.write(files.path());
    let node = Node::start(&[("FANFARE_JWT_HS256_SECRET", ""), ("FANFARE_JWT_PUBLIC_KEY_FILE", &file)]).await;
    for (algorithm, key) in &keys.signing {
        let token = jsonwebtoken::encode(&Header::new(*algorithm), &claims("acme", "42"), key).unwrap();
        let mut client = Handshake::to(&node).bearer(&token).open().await;
        assert_eq!(client.expect("welcome").await["user"], "42", "{algorithm:?}");
        // The same with its last claim changed.
        let (head, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = head.split_once('.').unwrap();
        let forged = URL_SAFE_NO_PAD.encode(claims("acme", "43").to_string());
        let mut client = Handshake::to(&node).bearer(&format!("{header}.{forged}.{signature}")).open().await;
        assert_eq!(client.expect_disconnect(UNAUTHENTICATED).await["reason"], "bad signature", "{algorithm:?}");
    }
    for secret in [keys.public_pem.as_str(), keys.rsa_public_pem().as_str(), SECRET] {
        let key = EncodingKey::from_secret(secret.as_bytes());
        let confused = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims("acme", "42"), &key).unwrap();
        let mut client = Handshake::to(&node).bearer(&confused).open().await;
        assert_eq!(client.expect_disconnect(UNAUTHENTICATED).await["reason"], "algorithm not allowed");
    }
}

#[tokio::test]
async fn a_client_whose_issuer_can_not_be_asked_is_told_to_come_back() {
    let url = format!("http://127.0.0.1:{}/jwks.json", free_port());
    let node = Node::start(&[("FANFARE_JWT_JWKS_URL", &url)]).await;
    let (algorithm, key) = Keys::new().signing.remove(1);
    let unknown = jsonwebtoken::encode(&Header::new(algorithm), &claims("acme", "42"), &key).unwrap();
    let reason = "the issuer's keys are not available, try again later";
    let mut upgraded = Handshake::to(&node).bearer(&unknown).open().await;
    let mut first_frame = Handshake::to(&node).open().await;
    first_frame.send(&json!({ "op": "auth", "token": unknown })).await;
    for client in [&mut upgraded, &mut first_frame] {
        let told = client.expect_disconnect(1011).await;
        assert_eq!((&told["reason"], &told["reconnect"]), (&json!(reason), &json!(true)));
    }
    let refused = Handshake::to(&node).without("Sec-WebSocket-Protocol").bearer(&unknown).try_open().await;
    let reply = refused.err().unwrap();
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json(), json!({ "code": "unavailable", "message": reason }));
    // A secret of its own needs no issuer.
    Client::connect(&node, &token("acme", "42")).await;
}

/// An issuer's keys: RSA, P-256, Ed25519.
struct Keys {
    signing: Vec<(Algorithm, EncodingKey)>,
    public_pem: String,
}

impl Keys {
    fn new() -> Self {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let ed25519 = Ed25519KeyPair::generate().unwrap();
        let rsa_pkcs8: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        let public: [PublicKeyX509Der<'_>; 3] = [
            rsa.public_key().as_der().unwrap(),
            ecdsa.public_key().as_der().unwrap(),
            ed25519.public_key().as_der().unwrap(),
        ];
        let rsa_signing = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", rsa_pkcs8.as_ref()).as_bytes()).unwrap();
        let ecdsa_signing = EncodingKey::from_ec_der(ecdsa.to_pkcs8v1().unwrap().as_ref());
        let ed25519_signing = EncodingKey::from_ed_der(ed25519.to_pkcs8v1().unwrap().as_ref());
        Self {
            signing: vec![
                (Algorithm::RS256, rsa_signing),
                (Algorithm::ES256, ecdsa_signing),
                (Algorithm::EdDSA, ed25519_signing),
            ],
            public_pem: public.map(|key| pem("PUBLIC KEY", key.as_ref())).concat(),
        }
    }

    /// The RSA key's part of the file.
    fn rsa_public_pem(&self) -> String {
        let end = "-----END PUBLIC KEY-----\n";
        self.public_pem.split_inclusive(end).next().unwrap().to_owned()
    }

    /// Writes the public keys to a file and returns its path.
    fn write(&self, directory: &std::path::Path) -> String {
        let path = directory.join("keys.pem");
        std::fs::write(&path, &self.public_pem).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
