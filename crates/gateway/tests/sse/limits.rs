//! Streams are connections, bounded as all of them, and commands are bounded too.

use serde_json::json;

use crate::event_stream::Get;
use crate::follower;
use crate::support::{Client, Node, Reply, request, token, until};

/// Streams of two users, the second of which is refused for this reason.
async fn refused(node: &Node, user: &str, reason: &str) {
    let reply = Get::sse(node, "").bearer(&token("acme", user)).try_open().await.err().unwrap();
    assert_eq!((reply.status, reply.json()), (503, json!({ "code": "unavailable", "message": reason })));
    assert!(reply.header("retry-after").is_some());
}

#[tokio::test]
async fn streams_and_websockets_share_the_places() {
    for (setting, reason) in [
        ("FANFARE_CONNECTIONS_MAX", "connections_max = 2 reached"),
        ("FANFARE_CONNECTIONS_PER_TENANT_MAX", "connections_per_tenant_max = 2 reached"),
        ("FANFARE_CONNECTIONS_PER_USER_MAX", "connections_per_user_max = 2 reached"),
        ("FANFARE_CONNECTIONS_PER_ADDRESS_MAX", "connections_per_address_max = 2 reached"),
    ] {
        let node = Node::start(&[(setting, "2")]).await;
        let stream = follower(&node).await;
        let _client = Client::connect(&node, &token("acme", "1")).await;
        refused(&node, "1", reason).await;
        assert_eq!(node.metric("fanfare_upgrades_refused_total").await, 1.0);
        drop(stream);
        until("there is a place", async || Get::sse(&node, "").bearer(&token("acme", "1")).try_open().await.is_ok())
            .await;
    }
}

/// As many connections as may be in their handshake, and a few more.
const STREAMS: usize = 530;

#[tokio::test]
async fn a_stream_does_not_stay_among_those_who_have_yet_to_say_what_they_want() {
    let node = Node::start(&[]).await;
    let mut streams = vec![];
    for _ in 0..STREAMS {
        streams.push(follower(&node).await);
    }
    node.publish("acme", "channel:orders", r#"{"type":"t"}"#).await;
    for mut stream in streams {
        stream.expect("event").await;
    }
}

async fn publish(node: &Node, tenant: &str, user: &str) -> Reply {
    let bearer = format!("Bearer {}", token(tenant, user));
    let body = br#"{"topic":"channel:a","event":{"type":"t"}}"#;
    request(node.clients, "POST", "/client/v1/publish", &[("Authorization", &bearer)], body).await
}

#[tokio::test]
async fn a_user_has_so_many_commands_and_is_told_when_to_come_back() {
    let node = Node::start(&[("FANFARE_FRAMES_PER_MINUTE", "1"), ("FANFARE_FRAMES_BURST", "3")]).await;
    for _ in 0..3 {
        assert_eq!(publish(&node, "acme", "ann").await.status, 200);
    }
    let refused = publish(&node, "acme", "ann").await;
    let expected = json!({ "code": "rate_limited", "message": "frames_per_minute = 1 reached" });
    assert_eq!((refused.status, refused.json()), (429, expected));
    let retry_after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry_after), "{retry_after}");
    // Others have their own.
    for (tenant, user) in [("acme", "bob"), ("globex", "ann")] {
        assert_eq!(publish(&node, tenant, user).await.status, 200, "{tenant} {user}");
    }
    assert_eq!(node.metric("fanfare_rate_limited_frames_total").await, 1.0);
    assert_eq!(node.metric(r#"fanfare_client_commands_total{status="200"}"#).await, 5.0);
    assert_eq!(node.metric(r#"fanfare_client_commands_total{status="429"}"#).await, 1.0);
}

#[tokio::test]
async fn a_command_is_a_connection_while_it_lasts() {
    let node = Node::start(&[("FANFARE_CONNECTIONS_MAX", "1")]).await;
    for _ in 0..3 {
        assert_eq!(publish(&node, "acme", "ann").await.status, 200);
        until("its place is free", async || node.metric("fanfare_connections_unauthenticated").await == 0.0).await;
    }
    let _client = Client::connect(&node, &token("acme", "1")).await;
    let refused = publish(&node, "acme", "ann").await;
    let expected = json!({ "code": "unavailable", "message": "connections_max = 1 reached" });
    assert_eq!((refused.status, refused.json()), (503, expected));
}

#[tokio::test]
async fn a_user_publishes_no_more_by_commands_than_a_connection_may() {
    let node = Node::start(&[("FANFARE_PUBLISHES_PER_MINUTE", "1"), ("FANFARE_PUBLISHES_BURST", "2")]).await;
    let send = async |body: &[u8]| {
        let bearer = format!("Bearer {}", token("acme", "ann"));
        request(node.clients, "POST", "/client/v1/publish", &[("Authorization", &bearer)], body).await
    };
    for _ in 0..3 {
        // What is refused for another reason doesn't count.
        assert_eq!(send(br#"{"topic":"channel:a","event":{}}"#).await.status, 400);
    }
    for _ in 0..2 {
        assert_eq!(publish(&node, "acme", "ann").await.status, 200);
    }
    let refused = publish(&node, "acme", "ann").await;
    let expected = json!({ "code": "rate_limited", "message": "publishes_per_minute = 1 reached" });
    assert_eq!((refused.status, refused.json()), (429, expected));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(publish(&node, "acme", "bob").await.status, 200);
    assert_eq!(node.metric(r#"fanfare_limit_reached_total{limit="publishes_per_minute"}"#).await, 1.0);
}
