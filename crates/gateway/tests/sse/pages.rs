//! Pages of other origins: allowed ones may use the fallback, with a token and without cookies; others may not.

use serde_json::json;

use crate::event_stream::Get;
use crate::support::{Node, Reply, request, token};

const PAGE: &str = "https://app.example.com";
const STRANGER: &str = "https://evil.test";

async fn preflight(node: &Node, path: &str, method: &str, origin: &str) -> Reply {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", "authorization,last-event-id"),
    ];
    request(node.clients, "OPTIONS", path, &headers, b"").await
}

fn assert_closed(reply: &Reply) {
    for (name, value) in &reply.headers {
        assert!(!name.starts_with("access-control-"), "{name}: {value}");
    }
}

#[tokio::test]
async fn an_allowed_page_is_let_in_by_its_name() {
    for settings in [&[("FANFARE_ALLOWED_ORIGINS", PAGE)][..], &[]] {
        let node = Node::start(settings).await;
        for (path, method) in [("/sse?topics=channel:a", "GET"), ("/client/v1/publish", "POST")] {
            let allowed = preflight(&node, path, method, PAGE).await;
            assert_eq!((allowed.status, allowed.body.as_str()), (204, ""));
            for (name, value) in [
                ("access-control-allow-origin", PAGE),
                ("access-control-allow-methods", method),
                ("access-control-allow-headers", "authorization, content-type, last-event-id, traceparent, tracestate"),
                ("vary", "origin"),
            ] {
                assert_eq!(allowed.header(name), Some(value), "{name}");
            }
            assert_eq!(allowed.header("access-control-allow-credentials"), None);
        }
        let bearer = format!("Bearer {}", token("acme", "1"));
        let stream = Get::sse(&node, "").header("Origin", PAGE).bearer(&token("acme", "1")).open().await;
        assert_eq!(stream.head.header("access-control-allow-origin"), Some(PAGE));
        assert_eq!(stream.head.header("vary"), Some("origin"));
        let body = br#"{"topic":"channel:a","event":{"type":"t"}}"#;
        let headers = [("Origin", PAGE), ("Authorization", bearer.as_str())];
        let published = request(node.clients, "POST", "/client/v1/publish", &headers, body).await;
        assert_eq!((published.status, published.header("access-control-allow-origin")), (200, Some(PAGE)));
        // A page must be able to read why it was refused.
        let refused = Get::sse(&node, "").header("Origin", PAGE).try_open().await.err().unwrap();
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some(PAGE)));
        let refused = request(node.clients, "POST", "/client/v1/publish", &[("Origin", PAGE)], body).await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some(PAGE)));
    }
}

#[tokio::test]
async fn a_strange_page_is_refused_and_can_not_read_why() {
    let node = Node::start(&[("FANFARE_ALLOWED_ORIGINS", PAGE)]).await;
    let expected = json!({ "code": "forbidden", "message": "this origin is not allowed (allowed_origins)" });
    let bearer = format!("Bearer {}", token("acme", "1"));
    for origin in [STRANGER, "null", "", "https://app.example.com.evil.test"] {
        for (path, method) in [("/sse", "GET"), ("/client/v1/publish", "POST")] {
            let headers = [("Origin", origin), ("Authorization", &bearer)];
            let replies = [
                preflight(&node, path, method, origin).await,
                request(node.clients, method, path, &headers, b"").await,
            ];
            for reply in replies {
                assert_eq!((reply.status, reply.json()), (403, expected.clone()), "{origin:?} {path}");
                assert_closed(&reply);
            }
        }
    }
}

#[tokio::test]
async fn who_is_no_page_needs_no_permission() {
    let node = Node::start(&[("FANFARE_ALLOWED_ORIGINS", PAGE)]).await;
    let stream = Get::sse(&node, "").bearer(&token("acme", "1")).open().await;
    assert_closed(&stream.head);
    // An OPTIONS that no browser sends is a method like any other.
    let other = request(node.clients, "OPTIONS", "/sse", &[], b"").await;
    assert_eq!((other.status, other.header("allow")), (405, Some("GET, OPTIONS")));
}
