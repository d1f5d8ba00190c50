//! What can't be answered is refused with the status and the code that the documentation promises.

use serde_json::json;

use crate::event_stream::Get;
use crate::support::{Node, Reply, claims, request, sign, token};

fn told(reply: &Reply) -> (u16, String, String) {
    let body = reply.json();
    assert_eq!(body.as_object().unwrap().len(), 2, "code and message, nothing else: {body}");
    (reply.status, reply.code(), body["message"].as_str().unwrap().to_owned())
}

fn expected(status: u16, code: &str, message: &str) -> (u16, String, String) {
    (status, code.to_owned(), message.to_owned())
}

#[tokio::test]
async fn a_stream_needs_a_good_token() {
    let node = Node::start(&[]).await;
    let good = token("acme", "1");
    let mut old = claims("acme", "1");
    old["exp"] = json!(jsonwebtoken::get_current_timestamp() - 60);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{signed}.{other}{}", &signature[1..]);
    let no_token = "send a token: Authorization: Bearer, or the parameter token";
    for (get, message) in [
        (Get::sse(&node, ""), no_token),
        (Get::sse(&node, "token="), no_token),
        (Get::sse(&node, "").header("Authorization", "Basic YTpi"), no_token),
        (Get::sse(&node, "").bearer(&forged), "bad signature"),
        (Get::sse(&node, &format!("token={forged}")), "bad signature"),
        (Get::sse(&node, "").bearer("garbage"), "malformed token"),
        (Get::sse(&node, "").bearer(&sign(&old)), "token expired"),
        // The header counts.
        (Get::sse(&node, &format!("token={good}")).bearer("garbage"), "malformed token"),
    ] {
        let reply = get.clone().try_open().await.err().unwrap();
        let (status, code, said) = told(&reply);
        assert_eq!((status, code.as_str()), (401, "unauthenticated"), "{get:?}");
        assert!(said.starts_with(message), "{said}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    let mut stream = Get::sse(&node, &format!("topics=channel:a&token={good}")).open().await;
    stream.expect("welcome").await;
    drop(stream);
    for secret in [&good, &forged] {
        assert!(!node.log().contains(secret), "a token was logged");
    }
}

#[tokio::test]
async fn what_a_stream_is_asked_for_must_be_readable() {
    let node = Node::start(&[]).await;
    let topics = |count| (0..count).map(|n| format!("channel:{n}")).collect::<Vec<_>>().join(",");
    let id = "Last-Event-ID is not the id of a message of an earlier stream";
    let get = |query: &str| Get::sse(&node, query).bearer(&token("acme", "1"));
    for (get, refused) in [
        (
            get(&format!("topics={}", topics(33))),
            expected(400, "too_many_subscriptions", "a stream has 32 topics at most: open another one"),
        ),
        (get("topics=channel:%ff"), expected(400, "invalid_topic", "the topics are not UTF-8 when percent-decoded")),
        (get("").since("1767225600000000-4"), expected(400, "bad_frame", id)),
        (get("").since("AQ=="), expected(400, "bad_frame", id)),
        (get("last_event_id=x"), expected(400, "bad_frame", id)),
        (get("last_event_id=%ff"), expected(400, "bad_frame", id)),
    ] {
        let reply = get.clone().try_open().await.err();
        assert_eq!(reply.as_ref().map(told), Some(refused), "{get:?}");
    }
    let mut stream = get(&format!("topics={}", topics(32))).open().await;
    stream.expect("welcome").await;
    for _ in 0..32 {
        stream.expect("subscribed").await;
    }
    // However long its topics are, an id is short.
    assert!(stream.last_id.len() < 1_200, "{}", stream.last_id.len());
    let long = get(&format!("topics=channel:{}", "x".repeat(100_000))).try_open().await.err().unwrap();
    assert!(matches!(long.status, 414 | 431), "{long:?}");
}

#[tokio::test]
async fn only_the_right_method_is_answered() {
    let node = Node::start(&[]).await;
    let bearer = format!("Bearer {}", token("acme", "1"));
    for (path, method, allowed, message) in [
        ("/sse", "POST", "GET, OPTIONS", "use GET"),
        ("/sse", "DELETE", "GET, OPTIONS", "use GET"),
        ("/client/v1/publish", "GET", "POST, OPTIONS", "use POST"),
        ("/client/v1/history", "PUT", "POST, OPTIONS", "use POST"),
    ] {
        let reply = request(node.clients, method, path, &[("Authorization", &bearer)], b"").await;
        assert_eq!(told(&reply), expected(405, "method_not_allowed", message), "{method} {path}");
        assert_eq!(reply.header("allow"), Some(allowed));
    }
    let head = request(node.clients, "HEAD", "/sse", &[("Authorization", &bearer)], b"").await;
    assert_eq!((head.status, head.body.as_str()), (405, ""));
    for path in
        ["/sse/", "/client/v1/", "/client/v1/publish/", "/client/v1/subscribe", "/client/v1/auth", "/client/v2/publish"]
    {
        let reply = request(node.clients, "POST", path, &[("Authorization", &bearer)], b"{}").await;
        assert_eq!((reply.status, reply.code()), (404, "not_found".to_owned()), "{path}");
    }
}
