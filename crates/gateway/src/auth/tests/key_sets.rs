//! Keys that are fetched from the issuer: when, how often, and which of them count.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::json;

use super::super::testing::{Issuer, KeyServer};
use super::*;
use crate::config::JwksConfig;

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
    tokio::time::timeout(PATIENCE, async {
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
        tokio::time::timeout(PATIENCE, async {
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
