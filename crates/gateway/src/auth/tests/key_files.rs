//! Secrets and public keys of the configuration, in files that may change.

use std::fs;

use aws_lc_rs::rsa::KeySize;
use serde_json::json;

use super::super::testing::{Issuer, claims, pem};
use super::*;

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

#[tokio::test]
async fn a_larger_rsa_key_is_as_good() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let issuer = Issuer::rsa(KeySize::Rsa3072);
    fs::write(&path, issuer.public_pem()).unwrap();
    let verifier = verifier(&AuthConfig { public_key_files: vec![path], ..config() }).await;
    assert_eq!(told(&verifier, &issuer.token(&json!({}))).await, WELCOME);
}
