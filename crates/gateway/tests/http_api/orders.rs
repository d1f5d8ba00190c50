//! What a backend orders happens on every node: users are disconnected, tokens are revoked.

use serde_json::{Value, json};

use crate::support::redis_cluster::{ClusterProcess, first_owner, slot_of};
use crate::support::{Client, Handshake, Node, RedisProcess, Reply, token, until};
use crate::{assert_problem, get, key_file, post, post_with_key, problem, token_with_id, two_nodes};

const REVOKE: &str = "/v1/tokens/revoke";
const REVOKED: &str = "the token is revoked";

fn user_path(tenant: &str, user: &str) -> String {
    format!("/v1/tenants/{tenant}/users/{user}/disconnect")
}

async fn revoke(node: &Node, revocation: &Value) -> Reply {
    post(node, REVOKE, &[], revocation.to_string().as_bytes()).await
}

fn assert_accepted(reply: &Reply) {
    assert_eq!((reply.status, reply.json()), (202, json!({"accepted": true})));
}

async fn stays(client: &mut Client) {
    client.send(&json!({"op": "ping"})).await;
    client.expect("pong").await;
}

async fn is_sent_away(client: &mut Client, reason: &str) {
    let told = client.expect_disconnect(4403).await;
    assert_eq!((&told["reason"], &told["reconnect"]), (&reason.into(), &false.into()), "{told}");
}

/// How long Redis remembers that a token is revoked, in seconds.
fn remembered_s(redis: &RedisProcess, id: &str) -> i64 {
    redis.command(&["TTL", &format!("fanfare:revoked:{id}")]).parse().unwrap()
}

#[tokio::test]
async fn a_user_is_disconnected_on_every_node_and_nobody_else_is() {
    let redis = RedisProcess::start();
    let nodes = two_nodes(&redis, &[]).await;
    for (user, escaped) in [("42", "%34%32"), ("größe/7", "gr%C3%B6%C3%9Fe%2F7")] {
        let (mut theirs, mut others) = (Vec::new(), Vec::new());
        for node in &nodes {
            theirs.push(Client::connect(node, &token("acme", user)).await);
            others.push(Client::connect(node, &token("globex", user)).await);
            others.push(Client::connect(node, &token("acme", "7")).await);
        }
        assert_accepted(&post(&nodes[0], &user_path("acme", escaped), &[], b"").await);
        for client in &mut theirs {
            is_sent_away(client, "disconnected by the backend").await;
        }
        for client in &mut others {
            stays(client).await;
        }
        // They may come back.
        stays(&mut Client::connect(&nodes[1], &token("acme", user)).await).await;
    }
    // Who isn't there is no secret: nothing is said about it.
    assert_accepted(&post(&nodes[0], &user_path("acme", "nobody"), &[], b"whatever").await);
}

#[tokio::test]
async fn what_is_no_user_can_not_be_disconnected() {
    let node = Node::start(&[]).await;
    let long = "x".repeat(201);
    for user in ["", "a%20b", "*", "a%00", "%FF", "%7Ba%7D", &long] {
        assert_problem(&post(&node, &user_path("acme", user), &[], b"").await, 400, "invalid_topic");
    }
    for tenant in ["", "node", "a%20b"] {
        assert_problem(&post(&node, &user_path(tenant, "42"), &[], b"").await, 400, "invalid_topic");
    }
}

#[tokio::test]
async fn a_revoked_token_ends_on_every_node_and_opens_none() {
    let redis = RedisProcess::start();
    let nodes = two_nodes(&redis, &[]).await;
    let revoked = token_with_id("acme", "42", "t-1");
    let elsewhere = token_with_id("globex", "42", "t-1");
    let mut theirs = Vec::new();
    let mut others = Vec::new();
    for node in &nodes {
        theirs.push(Client::connect(node, &revoked).await);
        theirs.push(Client::connect(node, &elsewhere).await);
        others.push(Client::connect(node, &token_with_id("acme", "42", "t-2")).await);
        others.push(Client::connect(node, &token("acme", "42")).await);
    }
    assert_accepted(&revoke(&nodes[0], &json!({"jti": "t-1"})).await);
    for client in &mut theirs {
        is_sent_away(client, REVOKED).await;
    }
    for client in &mut others {
        stays(client).await;
    }
    for node in &nodes {
        for token in [&revoked, &elsewhere] {
            is_sent_away(&mut Handshake::to(node).bearer(token).open().await, REVOKED).await;
        }
    }
    // To revoke it again does no harm.
    assert_accepted(&revoke(&nodes[1], &json!({"jti": "t-1", "tenant": null, "expires_at": null})).await);
}

#[tokio::test]
async fn a_tenant_is_named_and_only_its_token_is_revoked() {
    let (_directory, file) = key_file(&[
        ("of-acme", "'acme'", "'revoke'"),
        ("of-all", "'*'", "'revoke'"),
        ("of-some", "'*-test'", "'revoke'"),
        ("reads", "'*'", "'read'"),
    ]);
    let node = Node::start(&[("FANFARE_API_KEYS_FILE", &file)]).await;
    let mut theirs = Client::connect(&node, &token_with_id("acme", "42", "t-1")).await;
    let mut others = Client::connect(&node, &token_with_id("globex", "42", "t-1")).await;
    let revoke = async |key: &str, revocation: Value| {
        post_with_key(node.admin, REVOKE, key, &[], revocation.to_string().as_bytes()).await
    };
    for key in ["of-acme", "of-some"] {
        let detail = "this API key may not revoke tokens of every tenant: name the `tenant`";
        assert_eq!(problem(&revoke(key, json!({"jti": "t-1"})).await), (403, "forbidden".into(), detail.into()));
        assert_problem(&revoke(key, json!({"jti": "t-1", "tenant": "globex"})).await, 403, "forbidden");
    }
    assert_problem(&revoke("reads", json!({"jti": "t-1", "tenant": "acme"})).await, 403, "forbidden");
    stays(&mut theirs).await;
    assert_accepted(&revoke("of-acme", json!({"jti": "t-1", "tenant": "acme"})).await);
    is_sent_away(&mut theirs, REVOKED).await;
    stays(&mut others).await;
    stays(&mut Client::connect(&node, &token_with_id("globex", "42", "t-1")).await).await;
    // A key of every tenant need not name one.
    assert_accepted(&revoke("of-all", json!({"jti": "t-1"})).await);
    is_sent_away(&mut others, REVOKED).await;
}

#[tokio::test]
async fn a_revoked_token_is_remembered_until_it_has_expired() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    let now_ms = jsonwebtoken::get_current_timestamp() * 1_000;
    let day_s = 86_400;
    let cases = [
        ("unsaid", json!(null), 7 * day_s),
        ("soon", json!(now_ms + 600_000), 600 + 3_600),
        ("over", json!(now_ms - 600_000), 3_600),
        ("never", json!(u64::MAX), 365 * day_s),
    ];
    for (id, expires_at, expected_s) in cases {
        assert_accepted(&revoke(&node, &json!({"jti": id, "expires_at": expires_at})).await);
        // Redis began to count before it was asked.
        let left_s = remembered_s(&redis, id);
        assert!((expected_s - 120..=expected_s).contains(&left_s), "{id}: {left_s}");
    }
    // In seconds it would be forgotten in an hour.
    let reply = revoke(&node, &json!({"jti": "seconds", "expires_at": now_ms / 1_000 + 86_400})).await;
    let (status, code, message) = problem(&reply);
    assert_eq!((status, code.as_str()), (400, "bad_frame"));
    assert!(message.contains("milliseconds"), "{message}");
    assert_eq!(remembered_s(&redis, "seconds"), -2);
}

#[tokio::test]
async fn what_is_no_revocation_is_refused() {
    let node = Node::start(&[]).await;
    let long = "x".repeat(257);
    let bad = [
        json!({}),
        json!({"jti": 7}),
        json!({"jti": null}),
        json!({"jti": ""}),
        json!({"jti": long}),
        json!({"jti": ["t"]}),
        json!({"jti": "t", "tenant": 7}),
        json!({"jti": "t", "expires_at": "2026-01-01"}),
        json!({"jti": "t", "expires_at": -1}),
        json!({"jti": "t", "expires_at": 1.5}),
        json!({"jti": "t", "expires": 1}),
        json!(["t"]),
        json!("t"),
        json!(null),
    ];
    for revocation in bad {
        assert_problem(&revoke(&node, &revocation).await, 400, "bad_frame");
    }
    for body in ["", "{", r#"{"jti":"t"} {}"#, r#"{"jti":"t","jti":"u"}"#] {
        assert_problem(&post(&node, REVOKE, &[], body.as_bytes()).await, 400, "bad_frame");
    }
    for tenant in ["", "node", "a b", &"x".repeat(65)] {
        assert_problem(&revoke(&node, &json!({"jti": "t", "tenant": tenant})).await, 400, "invalid_topic");
    }
    for media_type in ["application/msgpack", "text/plain", ""] {
        let reply = post(&node, REVOKE, &[("Content-Type", media_type)], br#"{"jti":"t"}"#).await;
        let detail = "send the body as application/json";
        assert_eq!(problem(&reply), (415, "bad_frame".to_owned(), detail.to_owned()), "{media_type}");
    }
    let longest = "ü".repeat(128);
    assert_accepted(&revoke(&node, &json!({"jti": longest})).await);
}

#[tokio::test]
async fn what_redis_does_not_take_is_not_called_accepted() {
    let mut redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    redis.command(&["ACL", "SETUSER", "default", "-set"]);
    let reply = revoke(&node, &json!({"jti": "t-1"})).await;
    assert_problem(&reply, 502, "internal");
    redis.command(&["ACL", "SETUSER", "default", "+set", "-publish"]);
    assert_problem(&post(&node, &user_path("acme", "42"), &[], b"").await, 502, "internal");
    redis.kill();
    until("the outage is noticed", async || revoke(&node, &json!({"jti": "t-1"})).await.status == 503).await;
    assert_problem(&revoke(&node, &json!({"jti": "t-1"})).await, 503, "unavailable");
    assert_problem(&post(&node, &user_path("acme", "42"), &[], b"").await, 503, "unavailable");
}

#[tokio::test]
async fn on_a_redis_cluster_orders_reach_every_node_as_well() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let start = async |name: &str| Node::start_on(&cluster.url(), &[("FANFARE_NODE_ID", name)]).await;
    let nodes = [start("one").await, start("two").await];
    let control = first_owner(slot_of("fanfare:control"));
    until("both nodes listen", async || cluster.subscribers(control, "fanfare:control") == 2).await;
    let (mut disconnected, mut revoked) = (Vec::new(), Vec::new());
    for node in &nodes {
        disconnected.push(Client::connect(node, &token("acme", "42")).await);
        revoked.push(Client::connect(node, &token_with_id("acme", "7", "t-1")).await);
    }
    let counted = async || get(&nodes[0], "/v1/stats?tenant=acme&user=42").await.json();
    until("all are counted", async || {
        let told = counted().await;
        told["cluster"]["by_tenant"] == json!({"acme": 4}) && told["user"]["by_node"] == json!({"one": 1, "two": 1})
    })
    .await;
    assert_accepted(&post(&nodes[0], &user_path("acme", "42"), &[], b"").await);
    for client in &mut disconnected {
        is_sent_away(client, "disconnected by the backend").await;
    }
    assert_accepted(&revoke(&nodes[1], &json!({"jti": "t-1"})).await);
    for client in &mut revoked {
        is_sent_away(client, REVOKED).await;
    }
    let token = token_with_id("acme", "7", "t-1");
    for node in &nodes {
        is_sent_away(&mut Handshake::to(node).bearer(&token).open().await, REVOKED).await;
    }
}
