//! A topic's rule says whether there is presence, and for whom.

use serde_json::json;

use crate::support::{Client, RedisProcess, request, token};
use crate::{ask, node_on, set, until_there, users};

const RULES: &str = r#"[{"pattern":"channel:lobby","presence":"all"},{"pattern":"channel:ballot","presence":"off"},
    {"pattern":"tenant","presence":"all"}]"#;

#[tokio::test]
async fn where_the_rule_says_all_every_subscriber_is_there_and_is_told() {
    let redis = RedisProcess::start();
    let node = node_on(&redis.url(), &[("FANFARE_TOPICS", RULES)]).await;
    let mut ann = Client::connect(&node, &token("acme", "ann")).await;
    ann.subscribe("channel:lobby").await;
    until_there(&mut ann, "channel:lobby", &["ann"]).await;
    let mut bob = Client::connect(&node, &token("acme", "bob")).await;
    assert_eq!(ann.message().await, json!({ "op": "joined", "topic": "tenant", "user": "bob" }));
    bob.subscribe("channel:lobby").await;
    assert_eq!(ann.message().await, json!({ "op": "joined", "topic": "channel:lobby", "user": "bob" }));
    assert_eq!(users(&ask(&mut bob, "tenant").await), set(&["ann", "bob"]));
}

#[tokio::test]
async fn where_the_rule_says_off_nobody_is_there_and_a_wish_is_refused() {
    let redis = RedisProcess::start();
    let node = node_on(&redis.url(), &[("FANFARE_TOPICS", RULES)]).await;
    let mut ann = Client::connect(&node, &token("acme", "ann")).await;
    ann.send(&json!({ "op": "subscribe", "id": 1, "topic": "channel:ballot", "presence": true })).await;
    let refused = json!({
        "op": "error", "id": 1, "topic": "channel:ballot", "code": "forbidden", "message": "this topic has no presence",
    });
    assert_eq!(ann.message().await, refused);
    ann.subscribe("channel:ballot").await;
    let answer = ask(&mut ann, "channel:ballot").await;
    assert_eq!((&answer["op"], &answer["code"]), (&json!("error"), &json!("forbidden")), "{answer}");
}

#[tokio::test]
async fn a_client_without_a_websocket_reads_the_list_by_the_same_rules() {
    let redis = RedisProcess::start();
    let node = node_on(&redis.url(), &[("FANFARE_TOPICS", RULES)]).await;
    let mut ann = Client::connect(&node, &token("acme", "ann")).await;
    ann.subscribe("channel:lobby").await;
    until_there(&mut ann, "channel:lobby", &["ann"]).await;
    let authorization = format!("Bearer {}", token("acme", "bob"));
    let post = async |fields: serde_json::Value| {
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        request(node.clients, "POST", "/client/v1/presence", &headers, fields.to_string().as_bytes()).await
    };
    let page = post(json!({ "topic": "channel:lobby", "limit": 10 })).await;
    assert_eq!(page.status, 200, "{page:?}");
    let expected = json!({ "op": "presence", "topic": "channel:lobby", "count": 1, "users": [{ "user": "ann" }] });
    assert_eq!(page.json(), expected);
    for (fields, status, code) in [
        (json!({}), 400, "bad_frame"),
        (json!({ "topic": "channel:lobby", "limit": 0 }), 400, "bad_frame"),
        (json!({ "topic": "channel:lobby", "cursor": "nonsense" }), 400, "bad_frame"),
        (json!({ "topic": "lobby" }), 400, "invalid_topic"),
        (json!({ "topic": "channel:ballot" }), 403, "forbidden"),
        (json!({ "topic": "user:ann" }), 403, "forbidden"),
    ] {
        let reply = post(fields.clone()).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{fields}");
    }
}
