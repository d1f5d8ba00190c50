//! What can't be done, and how that is told: the exact status and code of each.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{API_KEY, Node, Reply, in_time};
use crate::{EVENT, EVENTS, assert_problem, bearer, document, post, problem, send};

#[tokio::test]
async fn what_is_no_topic_is_refused() {
    let node = Node::start(&[]).await;
    let long = format!("channel:{}", "x".repeat(201));
    let topics = [
        "news",
        "channel",
        "channel:",
        "user:",
        "Channel:news",
        "tenant:",
        "channel:a%20b",
        "channel:a%00b",
        "channel:a%7Fb",
        "channel:%7Ba%7D",
        "channel:*",
        "channel:a%3Fb",
        "channel:%5Ba%5D",
        "channel:%C2%85",
        "channel:%FF",
        "%20",
        &long,
    ];
    for topic in topics {
        let reply = node.publish("acme", topic, r#"{"type":"t"}"#).await;
        let (status, code, detail) = problem(&reply);
        assert_eq!((status, code.as_str()), (400, "invalid_topic"), "{topic}: {detail}");
    }
    for tenant in ["", "node", "nodes", "control", "revoked", "a.b", "a%3Ab", "a%2Fb", &"x".repeat(65)] {
        let reply = node.publish(tenant, "tenant", r#"{"type":"t"}"#).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "invalid_topic"), "{tenant}");
    }
}

#[tokio::test]
async fn each_path_takes_its_method_and_other_paths_are_not_there() {
    let node = Node::start(&[]).await;
    let key = bearer(API_KEY);
    let routes = [
        (EVENTS, "POST"),
        ("/v1/tenants/acme/events", "POST"),
        ("/v1/tenants/acme/topics/channel:news/history", "GET, HEAD"),
        ("/v1/tenants/acme/topics/channel:news/presence", "GET, HEAD"),
        ("/v1/tenants/acme/users/42/disconnect", "POST"),
        ("/v1/tokens/revoke", "POST"),
        ("/v1/stats", "GET, HEAD"),
        ("/v1/openapi.json", "GET, HEAD"),
    ];
    for (path, allowed) in routes {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "NONSENSE"] {
            // The method is looked at before the key.
            for headers in [&[][..], &[("Authorization", key.as_str())]] {
                let reply = send(node.admin, method, path, headers, b"").await;
                if allowed.contains(method) {
                    assert_ne!(reply.status, 405, "{method} {path}");
                } else {
                    assert_eq!((reply.status, reply.header("allow")), (405, Some(allowed)), "{method} {path}");
                    assert!(method == "HEAD" || reply.code() == "method_not_allowed", "{reply:?}");
                }
            }
        }
    }
    let paths = [
        "/",
        "/v1",
        "/v1/",
        "/v2/stats",
        "/v1/stats/",
        "/v1/tenants/acme",
        "/v1/tenants/acme/topics/channel:a/b/events",
        "/v1/tenants/acme/topics/channel:a/events/",
        "/v1/tenants/acme/users/a/b/disconnect",
        "/v1/tokens",
    ];
    for path in paths {
        assert_problem(&post(&node, path, &[], EVENT).await, 404, "not_found");
        assert_eq!(send(node.admin, "GET", path, &[], b"").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn what_is_no_event_is_refused_with_the_reason() {
    let node = Node::start(&[]).await;
    let deep = format!(r#"{{"type":"t","data":{}{}}}"#, "[".repeat(70), "]".repeat(70));
    let cases: [(&[u8], &str); 14] = [
        (b"", "empty"),
        (b"  ", "empty"),
        (b"[]", "not_an_envelope"),
        (b"7", "not_an_envelope"),
        (b"@1-1 {\"type\":\"forged\"}", "not_an_envelope"),
        (b"{\"type\":\"t\"", "invalid_json"),
        (b"{\"type\":\"t\"} {}", "invalid_json"),
        (b"{\"type\":\"\xff\"}", "invalid_utf8"),
        (b"{\"data\":1}", "missing_type"),
        (b"{\"type\":\"\"}", "invalid_type"),
        (b"{\"type\":7}", "wrong_type"),
        (b"{\"type\":\"t\",\"at\":\"now\"}", "wrong_type"),
        (b"{\"type\":\"t\",\"type\":\"u\"}", "duplicate_field"),
        (deep.as_bytes(), "too_deep"),
    ];
    for (body, reason) in cases {
        let reply = post(&node, EVENTS, &[], body).await;
        let (status, code, detail) = problem(&reply);
        assert_eq!((status, code.as_str()), (400, "bad_frame"), "{}", String::from_utf8_lossy(body));
        assert_eq!(reply.json()["reason"], reason, "{detail}");
    }
    // What one encoding allows, the other doesn't have to.
    let reply = post(&node, EVENTS, &[("Content-Type", "application/msgpack")], EVENT).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "bad_frame"));
    for media_type in ["text/plain", "application/xml", ""] {
        let reply = post(&node, EVENTS, &[("Content-Type", media_type)], EVENT).await;
        let detail = "send the body as application/json or application/msgpack";
        assert_eq!(problem(&reply), (415, "bad_frame".to_owned(), detail.to_owned()), "{media_type}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_read() {
    let node = Node::start(&[("FANFARE_EVENT_BYTES_MAX", "1024")]).await;
    let of_bytes = |count: usize| format!(r#"{{"type":"t","data":"{}"}}"#, "x".repeat(count - 22));
    assert_eq!(of_bytes(1_024).len(), 1_024);
    assert_eq!(post(&node, EVENTS, &[], of_bytes(1_024).as_bytes()).await.status, 200);
    // An event that is too long is read, so that it can be told from the others of a batch.
    let reply = post(&node, EVENTS, &[], of_bytes(1_025).as_bytes()).await;
    let detail = "the event has 1025 bytes; at most 1024 are allowed";
    assert_eq!(problem(&reply), (413, "too_large".to_owned(), detail.to_owned()));
    assert_eq!(reply.json()["reason"], "too_large");

    let node = Node::start(&[("FANFARE_API_BODY_BYTES_MAX", "2000")]).await;
    let targets = [EVENTS, "/v1/tenants/acme/events", "/v1/tokens/revoke"];
    for target in targets {
        assert_ne!(post(&node, target, &[], of_bytes(2_000).as_bytes()).await.status, 413, "{target}");
        let reply = post(&node, target, &[], of_bytes(2_001).as_bytes()).await;
        let detail = "the body is longer than 2000 bytes (api_body_bytes_max)";
        assert_eq!(problem(&reply), (413, "too_large".to_owned(), detail.to_owned()), "{target}");
        // What declares its length is refused before it comes; what doesn't, as soon as it is too much.
        assert_problem(&unfinished(&node, target, "Content-Length: 2001", b"").await, 413, "too_large");
        let chunk = format!("400\r\n{}\r\n", "x".repeat(1_024)).repeat(2);
        let reply = unfinished(&node, target, "Transfer-Encoding: chunked", chunk.as_bytes()).await;
        assert_problem(&reply, 413, "too_large");
    }
}

/// The answer to a request whose body isn't all sent.
async fn unfinished(node: &Node, target: &str, length: &str, body: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(node.admin).await.unwrap();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {API_KEY}\r\n{length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut reply = Vec::new();
    in_time("the answer", stream.read_to_end(&mut reply)).await.unwrap();
    let reply = Reply::parse(&reply);
    document::check("POST", target, &reply);
    reply
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let node = Node::start(&[("FANFARE_HEADER_TIMEOUT_MS", "2000")]).await;
    for target in [EVENTS, "/v1/tenants/acme/events", "/v1/tokens/revoke"] {
        let reply = unfinished(&node, target, "Content-Length: 15", b"{\"type\"").await;
        assert_problem(&reply, 408, "timeout");
    }
}
