//! `fanfare serve --dev` as a newcomer meets it: what it prints works when pasted, the page gets its tokens, and no other
//! site gets them.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::json;
use support::{Client, Handshake, Node, Reply, SERVE_DEV, request, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A node that makes up its secret and its key, ready, and what it printed.
async fn start() -> (Node, String) {
    let node = Node::spawn(SERVE_DEV, &[("FANFARE_JWT_HS256_SECRET", ""), ("FANFARE_API_KEYS", "")]);
    until("it tells how to begin", async || node.printed().contains("Tokens ")).await;
    let printed = node.printed();
    (node, printed)
}

/// A token as the page asks for it.
async fn token(node: &Node, query: &str) -> String {
    let reply = request(node.clients, "GET", &format!("/dev/token?{query}"), &[], b"").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_printed_command_reaches_the_page() {
    let (node, printed) = start().await;
    let page = format!("http://{}/", node.clients);
    assert!(printed.contains(&format!("Open     {page}\n")), "{printed}");
    assert!(!printed.contains("INFO") && node.log().contains("serving clients"), "its log lines go to standard error");
    let mut client = Client::connect(&node, &token(&node, "user=ana").await).await;
    client.subscribe("channel:orders").await;

    let command = printed.split_once("Publish  ").unwrap().1;
    let url = command.strip_prefix("curl -X POST ").unwrap().split(' ').next().unwrap();
    let target = url.strip_prefix(&format!("http://{}", node.admin)).unwrap();
    let quoted: Vec<_> = command.split('\'').skip(1).step_by(2).take(3).collect();
    let [authorization, content_type, body] = quoted[..] else { panic!("{command}") };
    let headers = [authorization, content_type].map(|header| header.split_once(": ").unwrap());
    let reply = request(node.admin, "POST", target, &headers, body.as_bytes()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(client.expect_event("channel:orders").await, json!({ "type": "order.updated", "data": { "id": 7 } }));
}

#[tokio::test]
async fn the_page_can_publish_to_every_kind_of_topic_and_subscribe_to_what_it_asked_for() {
    let (node, _) = start().await;
    let page = request(node.clients, "GET", "/", &[], b"").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"), "{page:?}");
    let info = request(node.clients, "GET", "/dev/info", &[], b"").await.json();
    assert_eq!(info["tenant"], "acme");

    let mut ana = Client::connect(&node, &token(&node, "user=ana&channels=team.*,news").await).await;
    for topic in ["channel:team.a", "channel:news"] {
        ana.subscribe(topic).await;
    }
    ana.send(&json!({ "op": "subscribe", "id": 2, "topic": "channel:other" })).await;
    assert_eq!(ana.expect("error").await["code"], "forbidden");

    let mut ben = Client::connect(&node, &token(&node, "user=ben").await).await;
    for topic in ["channel:news", "user:ana", "tenant"] {
        ben.send(&json!({ "op": "publish", "id": 3, "topic": topic, "event": { "type": "hello" } })).await;
        ben.skip_to("published").await;
        ana.expect_event(topic).await;
    }
}

#[tokio::test]
async fn a_page_of_this_machine_may_read_its_token_and_no_other_page_may() {
    let (node, _) = start().await;
    let ask = async |path: &str, origin: &str| request(node.clients, "GET", path, &[("Origin", origin)], b"").await;
    for origin in ["http://localhost:5173", "http://127.0.0.1:3000", "http://[::1]:3000", "http://localhost"] {
        // Why it got none, it may read, too.
        for (path, status) in [("/dev/token?user=ana", 200), ("/dev/token?tenant=no+tenant", 400)] {
            let reply = ask(path, origin).await;
            assert_eq!((reply.status, reply.header("access-control-allow-origin")), (status, Some(origin)));
            assert_eq!(reply.header("vary"), Some("origin"));
        }
        assert_eq!(ask("/dev/info", origin).await.header("access-control-allow-origin"), None, "it has the API key");
    }
    for origin in ["http://evil.example", "http://localhost.evil.example", "http://10.0.0.1:3000", "null", ""] {
        let reply = ask("/dev/token?user=ana", origin).await;
        assert_eq!(reply.header("access-control-allow-origin"), None, "{origin}");
        assert_eq!(reply.header("vary"), Some("origin"));
    }
    assert_eq!(request(node.clients, "GET", "/dev/token", &[], b"").await.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn another_sites_name_for_this_machine_opens_nothing() {
    let (node, _) = start().await;
    for path in ["/", "/dev/token", "/dev/info", "/ws"] {
        let mut stream = TcpStream::connect(node.clients).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: evil.example:8080\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        let reply = Reply::parse(&reply);
        assert_eq!((reply.status, reply.code().as_str()), (403, "forbidden"), "{path}");
    }
}

#[tokio::test]
async fn a_node_for_others_has_no_page_and_makes_no_tokens() {
    let node = Node::start(&[]).await;
    for path in ["/", "/dev/token", "/dev/info"] {
        assert_eq!(request(node.clients, "GET", path, &[], b"").await.status, 404, "{path}");
    }
    let refused = Handshake::to(&node).without("Sec-WebSocket-Protocol").bearer("x").try_open().await;
    assert_eq!(refused.err().unwrap().status, 401);
    assert!(!node.printed().contains("Tokens "), "{}", node.printed());
}
