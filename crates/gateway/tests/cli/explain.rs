//! Stories about `fanfare explain`.

use std::fs;

use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::fanfare::{Said, fanfare, fanfare_with_input};

const SECRET: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";

/// The secret, and rules.
const CONFIGURATION: &str = r#"
jwt_hs256_secret = "hunter2-hunter2-hunter2-hunter2-hunter2"
topics = [
    { pattern = "channel:audit.**", subscribe = "nobody" },
    { pattern = "channel:news.*", subscribe = "tenant", presence = "off" },
    { pattern = "channel:orders:*", durable = "always", maxlen = 50, ttl_ms = 60000, event_bytes_max = 512 },
]
"#;

fn configuration() -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), CONFIGURATION).unwrap();
    file
}

/// A token of user 42 of acme, changed by `change`.
fn token(secret: &str, change: &Value) -> String {
    let mut claims = json!({
        "tenant": "acme", "sub": "42", "exp": get_current_timestamp() + 600, "channels": ["team:*", "orders:*", "**:7"],
        "publish": ["user:*"], "subscribe": ["channel:vip", "channel:audit.log"],
    });
    claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

fn explain(token: &str, topic: &str, more: &[&str]) -> Said {
    let file = configuration();
    let config = ["--config", file.path().to_str().unwrap()];
    let said = fanfare(&[&["explain", "--token", token, "--topic", topic], &config[..], more].concat(), &[]);
    for told in [&said.out, &said.err] {
        assert!(!told.contains("hunter2") && !told.contains(token.rsplit('.').next().unwrap()), "{told}");
    }
    said
}

/// The explanation as JSON, and the exit code.
fn explained(token: &str, topic: &str, more: &[&str]) -> (i32, Value) {
    let said = explain(token, topic, &[&["--json"], more].concat());
    assert_eq!(said.err, "");
    (said.code, serde_json::from_str(&said.out).unwrap())
}

/// What became of the entries of a list, one letter each: Decides, No match, not Tried.
fn results(entries: &Value) -> String {
    let letter = |entry: &Value| match entry["result"].as_str().unwrap() {
        "decides" => 'D',
        "no_match" => 'N',
        "not_tried" => 'T',
        other => panic!("{other}"),
    };
    entries.as_array().unwrap().iter().map(letter).collect()
}

#[test]
fn it_is_told_rule_by_rule_and_claim_by_claim() {
    let said = explain(&token(SECRET, &json!({ "jti": "t1" })), "channel:orders:7", &[]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let (first, rest) = said.out.split_once("for another ").unwrap();
    assert_eq!(first, "token\n  accepted: user 42 of tenant acme, ");
    let (seconds, rest) = rest.split_once(' ').unwrap();
    assert!((1..=600).contains(&seconds.parse::<u64>().unwrap()), "{seconds}");
    let expected = r#"s
  its id is "t1"; whether it was revoked isn't looked up

rules for channel:orders:7
  1. channel:audit.**  doesn't match
  2. channel:news.*    doesn't match
  3. channel:orders:*  matches
  rule 3 holds: durable = always, maxlen = 50, ttl_ms = 60000, presence = asked, subscribe = claims, event_bytes_max = 512

claim channels: channels to subscribe to
  team:*    doesn't match
  orders:*  matches
  **:7      not looked at

claim subscribe: topics that the node subscribes
  channel:vip        not looked at
  channel:audit.log  not looked at

claim publish: topics to publish to
  user:*  doesn't match

so this user
  subscribe  allowed: claim channels has "orders:*"
  publish    refused: no pattern of claim publish matches "channel:orders:7"
             issue a token with "channel:orders:7", or a pattern that matches it, in claim publish
  history    allowed: claim channels has "orders:*"
  presence   allowed: claim channels has "orders:*"
"#;
    assert_eq!(rest, expected);
}

/// A topic, what is allowed of subscribe, publish, history, presence, whether the node subscribes it, and what became of
/// the rules and of the claims channels, subscribe and publish.
type Case = (&'static str, [bool; 4], bool, [&'static str; 4]);

#[test]
fn every_kind_of_topic_has_its_reason() {
    let token = token(SECRET, &json!({}));
    let cases: [(Case, &str); 9] = [
        (
            ("tenant", [true, false, true, true], true, ["NNN", "TTT", "TT", "N"]),
            "everybody is on the topic of their tenant",
        ),
        (("user:42", [true, true, true, true], true, ["NNN", "TTT", "TT", "D"]), "it is the user's own topic"),
        (("user:43", [false, true, false, false], false, ["NNN", "TTT", "TT", "D"]), "it is another user's topic"),
        (
            ("channel:audit.log", [false, false, false, false], false, ["DTT", "TTT", "TT", "N"]),
            "rule 1 has subscribe = \"nobody\"",
        ),
        (
            ("channel:news.de", [true, false, true, false], false, ["NDT", "TTT", "TT", "N"]),
            "rule 2 has subscribe = \"tenant\"",
        ),
        (
            ("channel:orders:7", [true, false, true, true], false, ["NND", "NDT", "TT", "N"]),
            "claim channels has \"orders:*\"",
        ),
        (("channel:a:7", [true, false, true, true], false, ["NNN", "NND", "TT", "N"]), "claim channels has \"**:7\""),
        (
            ("channel:vip", [true, false, true, true], true, ["NNN", "NNN", "DT", "N"]),
            "claim subscribe has \"channel:vip\"",
        ),
        (
            ("channel:board", [false, false, false, false], false, ["NNN", "NNN", "NN", "N"]),
            "no pattern of claim channels matches \"board\", and claim subscribe doesn't have \"channel:board\"",
        ),
    ];
    for ((topic, allowed, automatic, tried), reason) in cases {
        let (code, told) = explained(&token, topic, &[]);
        assert_eq!((code, &told["allowed"]), (i32::from(!allowed[0]), &json!(allowed[0])), "{topic}");
        let verdicts = ["subscribe", "publish", "history", "presence"].map(|action| &told["verdicts"][action]);
        assert_eq!(verdicts.map(|verdict| verdict["allowed"].as_bool().unwrap()), allowed, "{topic}");
        assert_eq!((&verdicts[0]["reason"], &told["automatic"]), (&json!(reason), &json!(automatic)), "{topic}");
        let claims = &told["claims"];
        let found = [&told["rules"], &claims[0]["entries"], &claims[1]["entries"], &claims[2]["entries"]];
        assert_eq!(found.map(results), tried, "{topic}");
        let token = json!({ "valid": true, "tenant": "acme", "user": "42", "expires_at": told["token"]["expires_at"] });
        assert_eq!(told["token"], token);
    }
}

#[test]
fn the_exit_code_is_about_the_action_that_was_asked_for() {
    let token = token(SECRET, &json!({}));
    for (topic, action, code) in [
        ("channel:orders:7", "subscribe", 0),
        ("channel:orders:7", "publish", 1),
        ("user:43", "publish", 0),
        ("user:43", "history", 1),
        ("channel:news.de", "presence", 1),
        ("channel:news.de", "history", 0),
    ] {
        let (found, told) = explained(&token, topic, &["--action", action]);
        assert_eq!((found, &told["action"], &told["allowed"]), (code, &json!(action), &json!(code == 0)), "{topic}");
        assert_eq!(explain(&token, topic, &["--action", action]).code, code);
    }
    let (_, told) = explained(&token, "channel:news.de", &[]);
    let presence = json!({ "allowed": false, "reason": "rule 2 has presence = \"off\"", "fix": "change rule 2" });
    assert_eq!(told["verdicts"]["presence"], presence);
}

#[test]
fn a_token_that_no_node_would_take_is_told_with_the_check_that_failed() {
    let good = token(SECRET, &json!({}));
    let cut = good.rsplit_once('.').unwrap().0;
    let foreign = token("another-secret-another-secret-another", &json!({}));
    let of = |change: Value| token(SECRET, &change);
    for (token, failed, error) in [
        (foreign, "signature", "bad signature"),
        (of(json!({ "exp": 1_000 })), "time", "token expired"),
        (of(json!({ "nbf": get_current_timestamp() + 600 })), "time", "token not yet valid"),
        (of(json!({ "aud": "elsewhere" })), "audience", "token is for an audience, and none is configured here"),
        (of(json!({ "tenant": null })), "claims", "missing claim \"tenant\""),
        (of(json!({ "channels": [7] })), "claims", "invalid claim \"channels\": must be an array of strings"),
        (cut.to_owned(), "form", "malformed token"),
        ("eyJhbGciOiJub25lIn0.e30.bm9uZQ".to_owned(), "key", "algorithm not allowed"),
    ] {
        let (code, told) = explained(&token, "tenant", &[]);
        let refusal = &told["token"];
        assert_eq!((code, &refusal["valid"]), (1, &json!(false)));
        assert_eq!((&refusal["failed"], &refusal["error"]), (&json!(failed), &json!(error)));
        assert!(refusal["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{refusal}");
        assert!(told["claims"].is_null() && told["automatic"] == json!(false), "{told}");
        let refused = json!({ "allowed": false, "reason": "the token is refused" });
        assert!(told["verdicts"].as_object().unwrap().values().all(|verdict| *verdict == refused), "{told}");
        let said = explain(&token, "tenant", &[]);
        assert!(said.code == 1 && said.out.contains(&format!("\n  refused ({failed}): {error}\n")), "{}", said.out);
    }
}

#[test]
fn the_token_may_come_from_a_file_or_standard_input() {
    let (token, config, file) = (token(SECRET, &json!({})), configuration(), NamedTempFile::new().unwrap());
    fs::write(file.path(), format!("{token}\n")).unwrap();
    let config = config.path().to_str().unwrap();
    for (path, input) in [(file.path().to_str().unwrap(), ""), ("-", token.as_str())] {
        let args = ["explain", "--token-file", path, "--topic", "channel:a:7", "--config", config];
        let said = fanfare_with_input(&args, &[], input);
        assert_eq!((said.code, said.err.as_str()), (0, ""));
    }
}

#[test]
fn where_nothing_can_be_said_the_code_is_2() {
    let token = token(SECRET, &json!({}));
    let told = |said: &Said, message: &str| {
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{}", said.err);
        assert!(said.err.contains(message), "{message:?} is not in {}", said.err);
    };
    told(&explain(&token, "orders:7", &[]), "fanfare: \"orders:7\" is no topic: a topic is ");
    told(&explain(&token, "channel:*", &[]), "is no topic: the character '*' is not allowed in a topic");
    told(&explain(&token, "tenant", &["--action", "dance"]), "invalid value 'dance'");
    told(&explain(&token, "tenant", &["--token-file", "x"]), "cannot be used with");
    let secret = [("FANFARE_JWT_HS256_SECRET", SECRET)];
    told(&fanfare(&["explain", "--token", " ", "--topic", "tenant"], &secret), "fanfare: the token is empty");
    told(&fanfare(&["explain", "--topic", "tenant"], &secret), "--token <TOKEN>");
    told(&fanfare(&["explain", "--token", &token], &secret), "--topic <TOPIC>");
    let missing = ["explain", "--token-file", "/nowhere/token", "--topic", "tenant"];
    told(&fanfare(&missing, &secret), "fanfare: can't read the token from /nowhere/token: No such file");
    let args = ["explain", "--token", &token, "--topic", "tenant"];
    told(&fanfare(&args, &[]), "no way to check tokens; ");
    let unknown = [("FANFARE_JWT_JWKS_URL", "http://127.0.0.1:1/jwks.json")];
    let of_an_issuer = "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl";
    let args = ["explain", "--token", of_an_issuer, "--topic", "tenant"];
    told(
        &fanfare(&args, &unknown),
        "fanfare: the token can't be checked: the issuer's keys can't be fetched (jwt_jwks_url)",
    );
}
