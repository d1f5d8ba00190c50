//! What a node doesn't take for a request, and what it says then.

use serde_json::{Value, json};

use crate::support::{Client, Handshake, token as plain_token};
use crate::{Stage, ask, done, error, token};

#[tokio::test]
async fn every_field_is_checked_and_the_connection_lives_on() {
    let mut stage = Stage::set(&[]).await;
    let missing = |field: &str| format!("`{field}` is missing");
    let no_string = |field: &str| format!("`{field}` must be a string");
    let id = "`id` must be an integer of 64 bits".to_owned();
    let timeout = "`timeout_ms` must be an integer from 1 on".to_owned();
    let cases: &[(Value, Option<i64>, String)] = &[
        (json!({ "method": "m" }), None, missing("id")),
        (json!({ "id": null, "method": "m" }), None, missing("id")),
        (json!({ "id": "1", "method": "m" }), None, id.clone()),
        (json!({ "id": 1.5, "method": "m" }), None, id),
        (json!({ "id": 1 }), Some(1), missing("method")),
        (json!({ "id": 1, "method": null }), Some(1), missing("method")),
        (json!({ "id": 1, "method": 7 }), Some(1), no_string("method")),
        (json!({ "id": 1, "method": ["m"] }), Some(1), no_string("method")),
        (json!({ "id": 1, "method": "" }), Some(1), "the method is empty".to_owned()),
        (
            json!({ "id": 1, "method": "m".repeat(201) }),
            Some(1),
            "the method has 201 bytes; at most 200 are allowed".to_owned(),
        ),
        (json!({ "id": 1, "method": "a b" }), Some(1), "the character ' ' is not allowed in a method".to_owned()),
        (json!({ "id": 1, "method": "a*" }), Some(1), "the character '*' is not allowed in a method".to_owned()),
        (json!({ "id": 1, "method": "m", "timeout_ms": 0 }), Some(1), timeout.clone()),
        (json!({ "id": 1, "method": "m", "timeout_ms": -1 }), Some(1), timeout.clone()),
        (json!({ "id": 1, "method": "m", "timeout_ms": 1.5 }), Some(1), timeout.clone()),
        (json!({ "id": 1, "method": "m", "timeout_ms": "100" }), Some(1), timeout.clone()),
        (json!({ "id": 1, "method": "m", "timeout_ms": true }), Some(1), timeout),
        (json!({ "id": 1, "method": "m", "traceparent": 7 }), Some(1), no_string("traceparent")),
        (
            json!({ "id": 1, "method": "m", "data": deep(65) }),
            Some(1),
            "`data` is nested deeper than 64 levels".to_owned(),
        ),
    ];
    let mut msgpack = Client::connect_msgpack(&stage.node, &token("acme", "42", &["**"])).await;
    for client in [&mut stage.client, &mut msgpack] {
        for (fields, id, message) in cases {
            let mut frame = fields.clone();
            frame["op"] = json!("request");
            client.send(&frame).await;
            let mut expected = json!({ "op": "error", "code": "bad_frame", "message": message });
            if let Some(id) = id {
                expected["id"] = json!(id);
            }
            assert_eq!(client.message().await, expected, "{frame}");
        }
    }
    // A key that JSON can't have.
    msgpack.send_frame(0x82, b"\x84\xa2op\xa7request\xa2id\x01\xa6method\xa1m\xa4data\x81\x90\x01").await;
    let message = "`data` is no value that JSON has: a key must be a string, an integer, a boolean or nil";
    assert_eq!(msgpack.message().await, error(1, "bad_frame", message));
    stage.client.send_text(r#"{"op":"request","id":1,"method":"m","method":"n"}"#).await;
    assert_eq!(stage.client.message().await, error(1, "bad_frame", "`method` stands twice"));

    stage.backend.expect_none().await;
    stage.client.send(&json!({ "op": "request", "id": 1, "method": "m".repeat(200), "data": deep(64), "x": 1 })).await;
    let entry = stage.backend.take().await;
    stage.backend.reply(&entry, "\"done\"").await;
    assert_eq!(stage.client.message().await, done(1));
}

fn deep(levels: usize) -> Value {
    (0..levels).fold(json!(1), |value, _| json!([value]))
}

#[tokio::test]
async fn what_a_token_does_not_allow_looks_the_same_whether_it_exists_or_not() {
    let mut stage = Stage::set(&[]).await;
    let refused = error(1, "forbidden", "this token may not make this request");
    let mut limited = Client::connect(&stage.node, &token("acme", "42", &["dashboard.*", "ping"])).await;
    let mut nothing = Client::connect(&stage.node, &plain_token("acme", "42")).await;
    for method in ["dashboard", "dashboard.a.b", "pings", "Ping", "admin.reset"] {
        for client in [&mut limited, &mut nothing] {
            ask(client, 1, method).await;
            assert_eq!(client.message().await, refused, "{method}");
        }
    }
    ask(&mut nothing, 1, "ping").await;
    assert_eq!(nothing.message().await, refused);
    stage.backend.expect_none().await;
    ask(&mut limited, 1, "dashboard.a").await;
    let entry = stage.backend.take().await;
    stage.backend.reply(&entry, "\"done\"").await;
    assert_eq!(limited.message().await, done(1));

    // A renewed token counts from then on.
    limited.send(&json!({ "op": "auth", "token": token("acme", "42", &["admin.*"]) })).await;
    limited.expect("renewed").await;
    ask(&mut limited, 1, "dashboard.a").await;
    assert_eq!(limited.message().await, refused);
    // And before there is one, nothing does.
    let mut silent = Handshake::to(&stage.node).open().await;
    ask(&mut silent, 1, "ping").await;
    assert_eq!(silent.message().await, error(1, "unauthenticated", "send auth first"));
}

#[tokio::test]
async fn the_claim_may_have_another_name() {
    let mut stage = Stage::set(&[("FANFARE_JWT_CLAIM_METHODS", "/app/rpc")]).await;
    let mut claims = crate::support::claims("acme", "42");
    claims["methods"] = json!(["**"]);
    claims["app"] = json!({ "rpc": ["ping"] });
    let mut client = Client::connect(&stage.node, &crate::support::sign(&claims)).await;
    ask(&mut client, 1, "pong").await;
    assert_eq!(client.message().await["code"], "forbidden");
    ask(&mut client, 1, "ping").await;
    let entry = stage.backend.take().await;
    stage.backend.reply(&entry, "\"done\"").await;
    assert_eq!(client.message().await, done(1));
}
