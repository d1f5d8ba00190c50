//! Stories about tokens: what is accepted, and the exact words of every refusal.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rsa::KeySize;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare_protocol::Topic;
use hyper::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::testing::{Issuer, KeyServer, claims, config, now_s, pem};
use super::*;
use crate::access::Access;
use crate::config::{AuthConfig, Hs256Secret, JwksConfig, Rules};
use crate::secret::Secret;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const RELOAD: Duration = Duration::from_millis(5);

fn with_secret() -> AuthConfig {
    AuthConfig { hs256_secrets: vec![Hs256Secret { kid: None, secret: Secret::new(SECRET) }], ..config() }
}

async fn verifier(config: &AuthConfig) -> Verifier {
    Verifier::new(config, RELOAD).await.unwrap()
}

/// What a client with this token is told.
async fn told(verifier: &Verifier, token: &str) -> String {
    match verifier.verify(token).await {
        Ok(principal) => format!("welcome {} of {}", principal.user, principal.tenant.as_str()),
        Err(error) => error.message().into_owned(),
    }
}

async fn until(verifier: &Verifier, token: &str, expected: &str) {
    let wait = async {
        while told(verifier, token).await != expected {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("the expected answer comes within 10 s");
}

const WELCOME: &str = "welcome 42 of acme";

fn raw(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[tokio::test]
async fn a_good_token_is_a_principal_without_waiting() {
    let verifier = verifier(&with_secret()).await;
    let token = Issuer::hs256(SECRET).token(&json!({"channels": ["news"], "jti": "t"}));
    let principal = verifier.try_verify(&token).unwrap().unwrap();
    assert_eq!((principal.tenant.as_str(), &*principal.user), ("acme", "42"));
    assert!(principal.channels.matches("news"));
    assert_eq!(principal.expires_at_ms / 1000, now_s() + 60);
    assert_eq!(principal.token_id.as_deref(), Some("t"));
}

#[tokio::test]
async fn each_algorithm_is_accepted_by_its_key() {
    let dir = tempfile::tempdir().unwrap();
    for issuer in [Issuer::rs256(), Issuer::es256(), Issuer::eddsa()] {
        let path = dir.path().join(format!("{:?}.pem", issuer.algorithm));
        fs::write(&path, issuer.public_pem()).unwrap();
        let verifier = verifier(&AuthConfig { public_key_files: vec![path], ..config() }).await;
        assert_eq!(told(&verifier, &issuer.token(&json!({}))).await, WELCOME, "{:?}", issuer.algorithm);
    }
}

#[tokio::test]
async fn several_keys_in_one_file_and_several_files_all_count() {
    let dir = tempfile::tempdir().unwrap();
    let issuers = [Issuer::rs256(), Issuer::es256(), Issuer::eddsa()];
    let paths = vec![dir.path().join("a.pem"), dir.path().join("b.pem")];
    fs::write(&paths[0], format!("{}\n{}", issuers[0].public_pem(), issuers[1].public_pem())).unwrap();
    fs::write(&paths[1], issuers[2].public_pem()).unwrap();
    let verifier = verifier(&AuthConfig { public_key_files: paths, ..config() }).await;
    for issuer in issuers {
        assert_eq!(told(&verifier, &issuer.token(&json!({}))).await, WELCOME, "{:?}", issuer.algorithm);
    }
}

#[tokio::test]
async fn times_are_checked_with_the_leeway() {
    let verifier = verifier(&with_secret()).await;
    let issuer = Issuer::hs256(SECRET);
    let now = now_s();
    let cases = [
        (json!({"exp": now - 60}), "token expired"),
        (json!({"exp": now - 1}), WELCOME),
        (json!({"nbf": now + 60}), "token not yet valid"),
        (json!({"nbf": now + 2}), WELCOME),
        (json!({"exp": null}), "missing claim \"exp\""),
        (json!({"exp": "tomorrow"}), "missing claim \"exp\""),
        (json!({"exp": 0}), "token expired"),
        (json!({"nbf": "tomorrow"}), "invalid claim \"nbf\": must be a number"),
    ];
    for (extra, expected) in cases {
        assert_eq!(told(&verifier, &issuer.token(&extra)).await, expected, "{extra}");
    }
}

#[tokio::test]
async fn issuer_and_audience_are_required_when_configured() {
    let config = AuthConfig {
        issuers: vec!["https://one".to_owned(), "https://two".to_owned()],
        audiences: vec!["fanfare".to_owned()],
        ..with_secret()
    };
    let verifier = verifier(&config).await;
    let issuer = Issuer::hs256(SECRET);
    let cases = [
        (json!({"iss": "https://one", "aud": "fanfare"}), WELCOME),
        (json!({"iss": "https://two", "aud": ["other", "fanfare"]}), WELCOME),
        (json!({"iss": "https://three", "aud": "fanfare"}), "wrong issuer"),
        (json!({"aud": "fanfare"}), "missing claim \"iss\""),
        (json!({"iss": "https://one", "aud": "other"}), "wrong audience"),
        (json!({"iss": "https://one", "aud": []}), "wrong audience"),
        (json!({"iss": "https://one"}), "missing claim \"aud\""),
        (json!({"iss": "https://one", "aud": 7}), "missing claim \"aud\""),
    ];
    for (extra, expected) in cases {
        assert_eq!(told(&verifier, &issuer.token(&extra)).await, expected, "{extra}");
    }
}

#[tokio::test]
async fn a_token_for_an_audience_is_refused_where_none_is_configured() {
    let verifier = verifier(&with_secret()).await;
    let token = Issuer::hs256(SECRET).token(&json!({"aud": "billing"}));
    assert_eq!(told(&verifier, &token).await, "token is for an audience, and none is configured here");
    let token = Issuer::hs256(SECRET).token(&json!({"iss": "anybody"}));
    assert_eq!(told(&verifier, &token).await, WELCOME);
}

#[tokio::test]
async fn claims_that_make_no_principal_are_refused() {
    let verifier = verifier(&with_secret()).await;
    let issuer = Issuer::hs256(SECRET);
    assert_eq!(told(&verifier, &issuer.token(&json!({"tenant": null}))).await, "missing claim \"tenant\"");
    assert_eq!(told(&verifier, &issuer.token(&json!({"sub": null}))).await, "missing claim \"sub\"");
    for (extra, start) in [
        (json!({"tenant": "acme:evil"}), "invalid claim \"tenant\": "),
        (json!({"sub": "4 2"}), "invalid claim \"sub\": "),
        (json!({"channels": ["a b"]}), "invalid claim \"channels\": "),
        (json!({"publish": ["a b"]}), "invalid claim \"publish\": "),
    ] {
        let found = told(&verifier, &issuer.token(&extra)).await;
        assert!(found.starts_with(start), "{found}");
    }
}

#[tokio::test]
async fn the_algorithm_comes_from_the_key_never_from_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let rsa = Issuer::rs256();
    fs::write(&path, rsa.public_pem()).unwrap();
    let public_only = verifier(&AuthConfig { public_key_files: vec![path.clone()], ..config() }).await;
    let both = verifier(&AuthConfig { public_key_files: vec![path], ..with_secret() }).await;

    // Whoever has the public key could sign this, if a token could say how its key is used.
    let confused = Issuer::hs256(&rsa.public_pem()).token(&json!({}));
    assert_eq!(told(&public_only, &confused).await, "algorithm not allowed");
    assert_eq!(told(&both, &confused).await, "bad signature");

    for alg in ["none", "None", "HS384", "RS512", "PS256", "ES384", "hs256", ""] {
        let token = raw(&json!({"alg": alg, "typ": "JWT"}), &claims(&json!({})), "");
        assert_eq!(told(&both, &token).await, "algorithm not allowed", "{alg}");
    }
    for issuer in [Issuer::es256(), Issuer::eddsa()] {
        assert_eq!(told(&both, &issuer.token(&json!({}))).await, "algorithm not allowed");
    }
    assert_eq!(told(&public_only, &Issuer::hs256(SECRET).token(&json!({}))).await, "algorithm not allowed");
    assert_eq!(told(&both, &rsa.token(&json!({}))).await, WELCOME);
}

#[tokio::test]
async fn a_wrong_or_missing_signature_is_refused() {
    let verifier = verifier(&with_secret()).await;
    let good = Issuer::hs256(SECRET).token(&json!({}));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let other = Issuer::hs256("another secret").token(&json!({}));
    let (_, other_signature) = other.rsplit_once('.').unwrap();
    assert_eq!(told(&verifier, &other).await, "bad signature");
    assert_eq!(told(&verifier, &format!("{message}.")).await, "bad signature");
    assert_eq!(told(&verifier, &format!("{message}.{other_signature}")).await, "bad signature");
    let forged = URL_SAFE_NO_PAD.encode(claims(&json!({"tenant": "other"})).to_string());
    let header = good.split('.').next().unwrap();
    assert_eq!(told(&verifier, &format!("{header}.{forged}.{signature}")).await, "bad signature");
}

#[tokio::test]
async fn what_is_no_token_is_malformed() {
    let verifier = verifier(&with_secret()).await;
    let good = Issuer::hs256(SECRET).token(&json!({}));
    let cases = [
        String::new(),
        "garbage".to_owned(),
        "a.b".to_owned(),
        "..".to_owned(),
        "a.b.c.d.e".to_owned(),
        "\u{0}.\u{1}.é".to_owned(),
        format!("{good}.x"),
        raw(&json!(["HS256"]), &json!({}), ""),
        raw(&json!({"typ": "JWT"}), &json!({}), ""),
        raw(&json!({"alg": 7}), &json!({}), ""),
        raw(&json!({"alg": "HS256", "kid": 7}), &json!({}), ""),
        Issuer::hs256(SECRET).sign(&json!(["sub"])),
        Issuer::hs256(SECRET).sign(&json!("sub")),
    ];
    for token in cases {
        assert_eq!(told(&verifier, &token).await, "malformed token", "{token:?}");
    }
    let critical = raw(&json!({"alg": "HS256", "crit": ["b64"], "b64": false}), &claims(&json!({})), "");
    assert_eq!(told(&verifier, &critical).await, "token requires an extension that is not supported");
}

#[tokio::test]
async fn a_token_longer_than_8_kib_is_refused_unread() {
    let verifier = verifier(&with_secret()).await;
    let issuer = Issuer::hs256(SECRET);
    let long = issuer.token(&json!({"x": "x".repeat(8192)}));
    assert_eq!(told(&verifier, &long).await, "token too long: more than 8192 bytes");
    let shorter = issuer.token(&json!({"x": "x".repeat(5000)}));
    assert_eq!(told(&verifier, &shorter).await, WELCOME);
}

#[tokio::test]
async fn kid_selects_a_key_where_it_is_known() {
    let secret =
        |kid: Option<&str>, secret: &str| Hs256Secret { kid: kid.map(Into::into), secret: Secret::new(secret) };
    let named = AuthConfig { hs256_secrets: vec![secret(Some("a"), "one"), secret(Some("b"), "two")], ..config() };
    let named = verifier(&named).await;
    let token = |kid: &str, secret: &str| Issuer::hs256(secret).with_kid(kid).token(&json!({}));
    assert_eq!(told(&named, &token("a", "one")).await, WELCOME);
    assert_eq!(told(&named, &token("b", "two")).await, WELCOME);
    assert_eq!(told(&named, &token("a", "two")).await, "bad signature");
    assert_eq!(told(&named, &token("c", "one")).await, "unknown key");
    assert_eq!(told(&named, &Issuer::hs256("two").token(&json!({}))).await, WELCOME);

    let mixed = AuthConfig { hs256_secrets: vec![secret(Some("a"), "one"), secret(None, "two")], ..config() };
    let mixed = verifier(&mixed).await;
    assert_eq!(told(&mixed, &token("whatever", "two")).await, WELCOME);
    assert_eq!(told(&mixed, &token("whatever", "one")).await, "bad signature");
}

#[tokio::test]
async fn a_changed_secret_file_counts_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets");
    fs::write(&path, "old secret\n").unwrap();
    let verifier = verifier(&AuthConfig { hs256_secret_file: Some(path.clone()), ..config() }).await;
    let old = Issuer::hs256("old secret").token(&json!({}));
    let new = Issuer::hs256("new,secret=").with_kid("n").token(&json!({}));
    assert_eq!(told(&verifier, &old).await, WELCOME);
    assert_eq!(told(&verifier, &new).await, "bad signature");
    fs::write(&path, "kid:n:new,secret=\n\n  old secret\n").unwrap();
    until(&verifier, &new, WELCOME).await;
    assert_eq!(told(&verifier, &old).await, WELCOME);
    fs::write(&path, "kid:n:new,secret=\n").unwrap();
    until(&verifier, &old, "bad signature").await;
    assert_eq!(told(&verifier, &new).await, WELCOME);
}

#[tokio::test]
async fn a_changed_public_key_file_counts_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let (old, new) = (Issuer::es256().with_kid("old"), Issuer::eddsa().with_kid("new"));
    fs::write(&path, format!("kid: old\n{}", old.public_pem())).unwrap();
    let verifier = verifier(&AuthConfig { public_key_files: vec![path.clone()], ..config() }).await;
    assert_eq!(told(&verifier, &old.token(&json!({}))).await, WELCOME);
    assert_eq!(told(&verifier, &new.token(&json!({}))).await, "algorithm not allowed");
    fs::write(&path, format!("kid: new\n{}kid: old\n{}", new.public_pem(), old.public_pem())).unwrap();
    until(&verifier, &new.token(&json!({})), WELCOME).await;
    assert_eq!(told(&verifier, &old.token(&json!({}))).await, WELCOME);
    fs::write(&path, new.public_pem()).unwrap();
    until(&verifier, &old.token(&json!({})), "algorithm not allowed").await;
}

#[tokio::test]
async fn key_files_that_can_not_be_used_stop_the_start_and_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let pem_error = async |content: &[u8]| {
        fs::write(&path, content).unwrap();
        let config = AuthConfig { public_key_files: vec![path.clone()], ..config() };
        Verifier::new(&config, RELOAD).await.unwrap_err().to_string()
    };
    let good = Issuer::es256().public_pem();
    let at = path.display();
    let cases = [
        (String::new(), "no key in it: a public key starts with -----BEGIN PUBLIC KEY-----"),
        (
            pem("PRIVATE KEY", b"x"),
            "the key in line 1 is a private key: leave it with the issuer, `openssl pkey -pubout` prints the public one",
        ),
        (
            pem("CERTIFICATE", b"x"),
            "the key in line 1 is a certificate: `openssl x509 -pubkey -noout` prints its public key",
        ),
        (
            format!("{good}{}", pem("PUBLIC KEY", b"nonsense")),
            "the key in line 5 is neither RSA, nor ECDSA on P-256, nor Ed25519",
        ),
        (good.replace("-----END", "----END"), "the key in line 1 has no end"),
        (good.replace("BEGIN", "begin"), "line 4 ends a key that has no start"),
        (good.replace("\n-----END", "é\n-----END"), "the key in line 1 is damaged: not base64"),
    ];
    for (content, expected) in cases {
        assert_eq!(pem_error(content.as_bytes()).await, format!("{at}: {expected}"));
    }
    assert_eq!(pem_error(&[0xff]).await, format!("{at}: not a PEM file: it is not text"));

    let secrets_error = async |content: &[u8]| {
        fs::write(&path, content).unwrap();
        let config = AuthConfig { hs256_secret_file: Some(path.clone()), ..config() };
        Verifier::new(&config, RELOAD).await.unwrap_err().to_string()
    };
    assert_eq!(secrets_error(b"\n").await, format!("{at}: no secret in it"));
    assert_eq!(secrets_error(b"a\nkid:b\n").await, format!("{at}: a key id without a secret in line 2"));
    assert_eq!(secrets_error(&[0xff]).await, format!("{at}: not UTF-8 text: write the secret as base64 or hex"));
}

#[tokio::test]
async fn a_p384_key_is_not_taken_for_a_p256_one() {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    fs::write(&path, pem("PUBLIC KEY", der.as_ref())).unwrap();
    let error = Verifier::new(&AuthConfig { public_key_files: vec![path], ..config() }, RELOAD).await.unwrap_err();
    assert!(error.to_string().ends_with("is neither RSA, nor ECDSA on P-256, nor Ed25519"), "{error}");
}

fn jwks(server: &KeyServer, min_interval: Duration) -> AuthConfig {
    let refresh_interval = Duration::from_mins(5);
    AuthConfig { jwks: Some(JwksConfig { url: server.url.clone(), refresh_interval, min_interval }), ..config() }
}

#[tokio::test]
async fn each_algorithm_is_accepted_from_the_issuers_key_set() {
    let issuers =
        [Issuer::rs256().with_kid("r"), Issuer::es256().with_kid("e"), Issuer::eddsa().with_kid("d"), Issuer::es256()];
    let server = KeyServer::start(&issuers.each_ref()).await;
    let verifier = verifier(&jwks(&server, Duration::from_secs(10))).await;
    for issuer in &issuers {
        assert_eq!(told(&verifier, &issuer.token(&json!({}))).await, WELCOME, "{:?}", issuer.algorithm);
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_fetched_once_however_many_ask() {
    let (old, new) = (Issuer::es256().with_kid("old"), Issuer::es256().with_kid("new"));
    let server = KeyServer::start(&[&old]).await;
    let verifier = Arc::new(verifier(&jwks(&server, Duration::from_millis(100))).await);
    until(&verifier, &old.token(&json!({})), WELCOME).await;
    assert_eq!(server.requests(), 1);

    server.publish(&[&old, &new]);
    tokio::time::timeout(Duration::from_secs(10), async {
        while verifier.try_verify(&new.token(&json!({}))).is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("a fetch is allowed again after the least interval");
    let token = new.token(&json!({}));
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let (verifier, token) = (Arc::clone(&verifier), token.clone());
            tokio::spawn(async move { told(&verifier, &token).await })
        })
        .collect();
    for client in clients {
        assert_eq!(client.await.unwrap(), WELCOME);
    }
    assert_eq!(server.requests(), 2);
    assert!(verifier.try_verify(&token).unwrap().is_ok());
    assert_eq!(told(&verifier, &old.token(&json!({}))).await, WELCOME);
}

#[tokio::test]
async fn made_up_key_ids_cause_no_more_than_one_fetch_per_interval() {
    let issuer = Issuer::es256().with_kid("known");
    let server = KeyServer::start(&[&issuer]).await;
    let verifier = verifier(&jwks(&server, Duration::from_mins(1))).await;
    assert_eq!(told(&verifier, &issuer.token(&json!({}))).await, WELCOME);
    let stranger = Issuer::es256();
    for index in 0..20 {
        let token = Issuer::es256().with_kid(&format!("made-up-{index}")).token(&json!({}));
        assert_eq!(told(&verifier, &token).await, "unknown key");
    }
    assert_eq!(told(&verifier, &stranger.token(&json!({}))).await, "bad signature");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_key_that_is_known_is_never_a_reason_to_fetch() {
    let issuer = Issuer::es256().with_kid("known");
    let server = KeyServer::start(&[&issuer]).await;
    let verifier = verifier(&jwks(&server, Duration::from_millis(1))).await;
    until(&verifier, &issuer.token(&json!({})), WELCOME).await;
    let before = server.requests();
    let forged = Issuer::es256().with_kid("known").token(&json!({}));
    for _ in 0..5 {
        assert_eq!(told(&verifier, &forged).await, "bad signature");
        assert_eq!(told(&verifier, &issuer.token(&json!({"exp": 1}))).await, "token expired");
    }
    assert_eq!(server.requests(), before);
}

#[tokio::test]
async fn keys_stay_while_the_issuer_is_down_and_change_when_it_returns() {
    let (old, new) = (Issuer::eddsa().with_kid("old"), Issuer::eddsa().with_kid("new"));
    let server = KeyServer::start(&[&old]).await;
    let mut config = jwks(&server, Duration::from_millis(10));
    config.jwks.as_mut().unwrap().refresh_interval = Duration::from_millis(20);
    let verifier = verifier(&config).await;
    until(&verifier, &old.token(&json!({})), WELCOME).await;

    let too_large = json!({"keys": [new.jwk()], "padding": "x".repeat(256 * 1024)}).to_string();
    let broken = [
        (StatusCode::INTERNAL_SERVER_ERROR, "down".to_owned()),
        (StatusCode::FOUND, "elsewhere".to_owned()),
        (StatusCode::OK, "<html>".to_owned()),
        (StatusCode::OK, r#"{"keys":[]}"#.to_owned()),
        (StatusCode::OK, too_large),
    ];
    for (status, body) in broken {
        server.answer(status, body);
        let before = server.requests();
        tokio::time::timeout(Duration::from_secs(10), async {
            while server.requests() < before + 3 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
        .expect("the key set is fetched again and again");
        assert_eq!(told(&verifier, &old.token(&json!({}))).await, WELCOME, "{status}");
        assert_eq!(told(&verifier, &new.token(&json!({}))).await, "unknown key", "{status}");
    }

    server.publish(&[&new]);
    until(&verifier, &new.token(&json!({})), WELCOME).await;
    assert_eq!(told(&verifier, &old.token(&json!({}))).await, "unknown key");
}

#[tokio::test]
async fn before_the_first_key_set_a_token_is_refused_for_now() {
    let issuer = Issuer::es256().with_kid("k");
    let server = KeyServer::start(&[&issuer]).await;
    server.answer(StatusCode::SERVICE_UNAVAILABLE, "");
    let verifier = verifier(&jwks(&server, Duration::from_millis(10))).await;
    let refusal = verifier.verify(&issuer.token(&json!({}))).await.unwrap_err();
    assert_eq!(refusal.message(), "the issuer's keys are not available, try again later");
    assert!(refusal.is_temporary());
    server.publish(&[&issuer]);
    until(&verifier, &issuer.token(&json!({})), WELCOME).await;
}

#[tokio::test]
async fn keys_that_must_not_or_can_not_be_used_are_left_out_of_a_set() {
    let good = Issuer::es256().with_kid("good");
    let secret = Issuer::hs256(SECRET).with_kid("oct");
    let rsa = Issuer::rs256();
    let mut encryption = Issuer::es256().with_kid("enc").jwk();
    encryption["use"] = json!("enc");
    let mut other_algorithm = rsa.jwk();
    other_algorithm["alg"] = json!("PS256");
    let mut wrapping = rsa.jwk();
    wrapping["key_ops"] = json!(["wrapKey"]);
    let mut short = rsa.jwk();
    short["n"] = json!(URL_SAFE_NO_PAD.encode([0xc5; 128]));
    let mut off_curve = good.jwk();
    off_curve["y"] = off_curve["x"].clone();
    off_curve["kid"] = json!("off");
    let keys = [
        good.jwk(),
        secret.jwk(),
        encryption,
        other_algorithm,
        wrapping,
        short,
        off_curve,
        json!(7),
        json!({"kty": "EC"}),
    ];
    let rules = super::keys::TokenRules::new(&config());
    let set = super::jwk_set::parse(json!({ "keys": keys }).to_string().as_bytes(), &rules).unwrap();
    assert_eq!(set.algorithms(), [(Some("good"), jsonwebtoken::Algorithm::ES256)]);

    let server = KeyServer::start(&[&good, &secret]).await;
    let verifier = verifier(&jwks(&server, Duration::from_mins(1))).await;
    assert_eq!(told(&verifier, &good.token(&json!({}))).await, WELCOME);
    assert_eq!(told(&verifier, &secret.token(&json!({}))).await, "algorithm not allowed");
}

#[tokio::test]
async fn a_larger_rsa_key_is_as_good() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let issuer = Issuer::rsa(KeySize::Rsa3072);
    fs::write(&path, issuer.public_pem()).unwrap();
    let verifier = verifier(&AuthConfig { public_key_files: vec![path], ..config() }).await;
    assert_eq!(told(&verifier, &issuer.token(&json!({}))).await, WELCOME);
}

#[tokio::test]
async fn nothing_of_a_key_is_in_the_debug_output_of_a_verifier() {
    let verifier = verifier(&with_secret()).await;
    let printed = format!("{verifier:?}");
    assert!(!printed.contains(SECRET) && !printed.contains("48, 49, 50"), "{printed}");
}

/// Any JSON that is not deeply nested.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,4}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_text_and_no_signed_claims_are_more_than_refused(
        text in "[A-Za-z0-9_.-]{0,64}|.{0,64}",
        header in any_json(),
        name in prop::sample::select(vec!["sub", "tenant", "exp", "nbf", "aud", "iss", "jti", "channels", "publish", "subscribe"]),
        value in any_json(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let verifier = verifier(&with_secret()).await;
            assert!(verifier.verify(&text).await.is_err());
            assert!(verifier.verify(&raw(&header, &claims(&json!({})), "AAAA")).await.is_err());
            // Some of these are good tokens; none may do harm.
            if let Ok(principal) = verifier.verify(&Issuer::hs256(SECRET).token(&json!({ name: value }))).await {
                let (rules, other) = (Rules::new([], 65_536), Topic::user("somebody-else").unwrap());
                assert!(!Access::new(&principal, &rules, &other).subscribe().is_allowed());
            }
        });
    }
}
