//! One token at a time: its claims, its signature, its form.

use fanfare_protocol::Topic;
use proptest::prelude::*;
use serde_json::json;

use super::super::testing::{Issuer, claims, now_s};
use super::*;
use crate::access::Access;
use crate::config::Rules;

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
