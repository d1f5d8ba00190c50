//! Backends publish over HTTP: what they send reaches clients as they sent it, and what can't be published is refused
//! with a status, a code and a reason.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::net::SocketAddr;

use serde_json::json;
use support::{API_KEY, Client, Node, RedisProcess, Reply, free_port, in_time, position, request, token, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const EVENTS: &str = "/v1/tenants/acme/topics/channel:news/events";
const EVENT: &[u8] = br#"{"type":"news"}"#;

/// Posts to [`EVENTS`] or another target with the tests' API key.
async fn post(node: &Node, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    post_with_key(node.admin, target, API_KEY, headers, body).await
}

async fn post_with_key(address: SocketAddr, target: &str, key: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let bearer = format!("Bearer {key}");
    request(address, "POST", target, &[headers, &[("Authorization", &bearer)]].concat(), body).await
}

/// Status, code and message of a problem document.
fn problem(reply: &Reply) -> (u16, String, String) {
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    let document = reply.json();
    assert_eq!((&document["type"], &document["status"]), (&json!("about:blank"), &json!(reply.status)), "{document}");
    assert!(document["title"].as_str().is_some_and(|title| !title.is_empty()), "{document}");
    assert_eq!(document["detail"], document["message"]);
    (reply.status, reply.code(), document["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_event_reaches_subscribers_byte_for_byte() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    client.subscribe("channel:news").await;
    let envelope = r#"{"z":1,"type":"news","data":{"big":9223372036854775808,"money":1.10,"a":"\u00e9é","a":2}}"#;
    let reply = post(&node, EVENTS, &[("Content-Type", "application/json; charset=utf-8")], envelope.as_bytes()).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"published":true}"#));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let frame = client.text().await;
    assert!(frame.ends_with(&format!(r#""event":{envelope}}}"#)), "{frame}");

    // Without a content type it is JSON, too, and with the one of `curl -d`; white space around it is no part of it.
    for headers in [&[][..], &[("Content-Type", "application/x-www-form-urlencoded")]] {
        let reply = post(&node, EVENTS, headers, b" \r\n{\"type\":\"spaced\"}\n").await;
        assert_eq!(reply.status, 200);
        assert!(client.text().await.ends_with(r#""event":{"type":"spaced"}}"#));
    }
    let counted = node.metric(r#"fanfare_published_events_total{via="http"}"#).await;
    assert!((counted - 3.0).abs() < f64::EPSILON, "{counted}");
}

#[tokio::test]
async fn an_event_may_be_message_pack_and_clients_read_it_in_their_own_encoding() {
    let node = Node::start(&[]).await;
    let mut clients =
        [Client::connect(&node, &token("acme", "1")).await, Client::connect_msgpack(&node, &token("acme", "2")).await];
    for client in &mut clients {
        client.subscribe("channel:news").await;
    }
    let event = json!({ "type": "news", "data": { "id": 7, "title": "ü" } });
    let body = rmp_serde::to_vec(&event).unwrap();
    for media_type in ["application/msgpack", "application/vnd.msgpack", "Application/X-MsgPack; v=1"] {
        assert_eq!(post(&node, EVENTS, &[("Content-Type", media_type)], &body).await.status, 200);
        for client in &mut clients {
            assert_eq!(client.expect_event("channel:news").await, event);
        }
    }
}

#[tokio::test]
async fn every_kind_of_topic_can_be_published_to_however_it_is_escaped() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, &token("acme", "ana")).await;
    for topic in ["channel:a/b", "channel:größe", "channel:50%", "channel:a+b"] {
        client.subscribe(topic).await;
    }
    let cases = [
        ("tenant", "tenant"),
        ("user:ana", "user:ana"),
        ("user%3Aana", "user:ana"),
        ("channel:a%2Fb", "channel:a/b"),
        ("channel:gr%C3%B6%C3%9Fe", "channel:größe"),
        ("channel:größe", "channel:größe"),
        ("channel:50%25", "channel:50%"),
        ("channel:a+b", "channel:a+b"),
    ];
    for (written, topic) in cases {
        let reply = node.publish("acme", written, r#"{"type":"t"}"#).await;
        assert_eq!(reply.status, 200, "{written}: {reply:?}");
        client.expect_event(topic).await;
    }
}

#[tokio::test]
async fn another_tenant_gets_nothing() {
    let node = Node::start(&[]).await;
    let mut other = Client::connect(&node, &token("globex", "1")).await;
    let mut same = Client::connect(&node, &token("acme", "1")).await;
    for client in [&mut other, &mut same] {
        client.subscribe("channel:news").await;
    }
    for topic in ["channel:news", "tenant", "user:1"] {
        assert_eq!(node.publish("acme", topic, r#"{"type":"secret"}"#).await.status, 200);
        same.expect_event(topic).await;
    }
    assert_eq!(node.publish("globex", "channel:news", r#"{"type":"own"}"#).await.status, 200);
    assert_eq!(other.expect_event("channel:news").await["type"], "own");
}

#[tokio::test]
async fn without_a_known_key_nothing_is_said_about_the_request() {
    let node = Node::start(&[]).await;
    let basic = format!("Basic {API_KEY}");
    let wrong = [None, Some("Bearer wrong"), Some("Bearer"), Some("Bearer "), Some(basic.as_str())];
    for authorization in wrong {
        let headers: Vec<_> = authorization.map(|value| ("Authorization", value)).into_iter().collect();
        for target in [EVENTS, "/v1/tenants/node/topics/nonsense/events"] {
            let reply = request(node.admin, "POST", target, &headers, b"nonsense").await;
            let (status, code, _) = problem(&reply);
            assert_eq!((status, code.as_str()), (401, "unauthenticated"), "{authorization:?}");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
    }
    // The scheme's case doesn't matter (RFC 9110 §11.1).
    let reply = request(node.admin, "POST", EVENTS, &[("Authorization", &format!("bearer {API_KEY}"))], EVENT).await;
    assert_eq!(reply.status, 200);
    assert!(!node.log().contains(API_KEY));
}

#[tokio::test]
async fn a_key_does_what_its_scope_says_and_is_rotated_without_a_restart() {
    let keys = |publisher: &str| {
        format!(
            "[[key]]\nname = 'orders'\nkey = '{publisher}'\ntenants = ['acme', 'test-*']\nverbs = ['publish']\n\
             [[key]]\nname = 'reader'\nkey = 'reads'\ntenants = ['*']\nverbs = ['read']\n"
        )
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.toml");
    std::fs::write(&file, keys("first")).unwrap();
    let settings = [("FANFARE_API_KEYS_FILE", file.to_str().unwrap()), ("FANFARE_RELOAD_INTERVAL_S", "1")];
    let node = Node::start(&settings).await;
    let publish = async |key: &str, tenant: &str| {
        let target = format!("/v1/tenants/{tenant}/topics/tenant/events");
        post_with_key(node.admin, &target, key, &[], EVENT).await
    };
    for (key, tenant, status) in
        [("first", "acme", 200), ("first", "test-7", 200), ("first", "globex", 403), ("reads", "acme", 403)]
    {
        assert_eq!(publish(key, tenant).await.status, status, "{key} {tenant}");
    }
    // Which tenants there may be is nothing that a key without the verb learns.
    for tenant in ["acme", "no tenant", "node"] {
        let expected = (403, "forbidden".to_owned(), "this API key may not publish in this tenant".to_owned());
        assert_eq!(problem(&publish("reads", &tenant.replace(' ', "%20")).await), expected);
    }

    std::fs::write(&file, keys("second")).unwrap();
    until("the new key counts", async || publish("second", "acme").await.status == 200).await;
    assert_eq!(publish("first", "acme").await.status, 401);
    assert_eq!(publish(API_KEY, "acme").await.status, 200);
}

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
    for tenant in ["node", "nodes", "control", "revoked", "a.b", "a%3Ab", "a%2Fb", &"x".repeat(65)] {
        let reply = node.publish(tenant, "tenant", r#"{"type":"t"}"#).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "invalid_topic"), "{tenant}");
    }
    let paths = ["/v1/tenants/acme/topics/channel:a/b/events", "/v1/tenants//events", "/v1", "/v2/tenants", "/"];
    for path in paths {
        assert_eq!(problem(&post(&node, path, &[], EVENT).await).0, 404, "{path}");
    }
    let got = node.get(EVENTS).await;
    assert_eq!((got.status, got.header("allow"), got.code().as_str()), (405, Some("POST"), "method_not_allowed"));
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
        let detail = "send the event as application/json or application/msgpack";
        assert_eq!(problem(&reply), (415, "bad_frame".to_owned(), detail.to_owned()), "{media_type}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_read() {
    let node = Node::start(&[("FANFARE_EVENT_BYTES_MAX", "1024")]).await;
    let of_bytes = |count: usize| format!(r#"{{"type":"t","data":"{}"}}"#, "x".repeat(count - 22));
    assert_eq!(of_bytes(1_024).len(), 1_024);
    assert_eq!(post(&node, EVENTS, &[], of_bytes(1_024).as_bytes()).await.status, 200);
    let reply = post(&node, EVENTS, &[], of_bytes(1_025).as_bytes()).await;
    let detail = "the body is longer than 1024 bytes (event_bytes_max)";
    assert_eq!(problem(&reply), (413, "too_large".to_owned(), detail.to_owned()));
    assert_eq!(reply.json()["reason"], "too_large");

    // No length is declared, and the chunks go on and on.
    let mut stream = TcpStream::connect(node.admin).await.unwrap();
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {API_KEY}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..3 {
        stream.write_all(format!("200\r\n{}\r\n", "x".repeat(512)).as_bytes()).await.unwrap();
    }
    let mut reply = Vec::new();
    in_time("the answer", stream.read_to_end(&mut reply)).await.unwrap();
    assert_eq!(problem(&Reply::parse(&reply)).0, 413);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let node = Node::start(&[("FANFARE_HEADER_TIMEOUT_MS", "2000")]).await;
    let mut stream = TcpStream::connect(node.admin).await.unwrap();
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {API_KEY}\r\n\
         Content-Length: 15\r\n\r\n{{\"type\""
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    in_time("the answer", stream.read_to_end(&mut reply)).await.unwrap();
    let (status, code, _) = problem(&Reply::parse(&reply));
    assert_eq!((status, code.as_str()), (408, "timeout"));
}

#[tokio::test]
async fn a_durable_event_is_kept_and_its_position_told() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    let begin = position(&client.subscribe("channel:news").await);
    for seq in 1..=2 {
        let reply = post(&node, &format!("{EVENTS}?durable=true"), &[], EVENT).await;
        let position = format!("{}-{seq}", begin.epoch);
        assert_eq!((reply.status, reply.json()), (200, json!({ "published": true, "position": position })));
        assert_eq!(client.expect("event").await["position"], position);
    }
    let reply = post(&node, &format!("{EVENTS}?durable=yes"), &[], EVENT).await;
    assert_eq!(problem(&reply), (400, "bad_frame".to_owned(), "durable must be true or false".to_owned()));
    let reply = post(&node, &format!("{EVENTS}?trace=1&durable=false&x"), &[], br#"{"type":"only this"}"#).await;
    assert_eq!((reply.status, reply.json()), (200, json!({ "published": true })));
    let told = client.expect("event").await;
    assert_eq!((&told["event"]["type"], &told["position"]), (&json!("only this"), &json!(null)));
}

#[tokio::test]
async fn a_request_that_is_repeated_with_its_idempotency_key_publishes_once() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    client.subscribe("channel:news").await;
    let longest = "k".repeat(128);
    let durable = format!("{EVENTS}?durable=true");
    let mut positions = Vec::new();
    for key in ["order-7", "order-7", "order 8", &longest, "order-7"] {
        let reply = post(&node, &durable, &[("Idempotency-Key", key)], EVENT).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        positions.push(reply.json()["position"].take());
    }
    assert!(positions[0] == positions[1] && positions[0] == positions[4], "{positions:?}");
    for expected in [&positions[0], &positions[2], &positions[3]] {
        assert_eq!(client.expect("event").await["position"], *expected);
    }
    client.expect_nothing().await;

    let detail = "Idempotency-Key must be 1 to 128 visible characters, and the event durable (durable=true)";
    let refused = (400, "bad_frame".to_owned(), detail.to_owned());
    for (target, key) in [(EVENTS, "order-7"), (&durable, ""), (&durable, &"k".repeat(129)), (&durable, "größe")] {
        assert_eq!(problem(&post(&node, target, &[("Idempotency-Key", key)], EVENT).await), refused, "{key}");
    }
    client.expect_nothing().await;
}

#[tokio::test]
async fn what_redis_does_not_take_is_not_called_published() {
    let mut redis = RedisProcess::start();
    let settings = [("FANFARE_REDIS_RESPONSE_TIMEOUT_MS", "2000"), ("FANFARE_REDIS_PING_INTERVAL_MS", "60000")];
    let node = Node::start_on(&redis.url(), &settings).await;
    assert_eq!(post(&node, EVENTS, &[], EVENT).await.status, 200);

    redis.command(&["ACL", "SETUSER", "default", "resetchannels"]);
    let (status, code, detail) = problem(&post(&node, EVENTS, &[], EVENT).await);
    assert_eq!((status, code.as_str()), (502, "internal"), "{detail}");
    assert!(detail.starts_with("the backplane refused it: NOPERM"), "{detail}");
    redis.command(&["ACL", "SETUSER", "default", "allchannels"]);

    redis.freeze();
    let reply = post(&node, EVENTS, &[], EVENT).await;
    let (status, code, detail) = problem(&reply);
    assert_eq!((status, code.as_str()), (504, "timeout"));
    assert_eq!(detail, "the backplane did not answer in time");
    redis.thaw();

    redis.kill();
    until("the outage is noticed", async || post(&node, EVENTS, &[], EVENT).await.status == 503).await;
    let reply = post(&node, EVENTS, &[], EVENT).await;
    assert_eq!(problem(&reply), (503, "unavailable".to_owned(), "the backplane is away".to_owned()));
    assert_eq!(reply.header("retry-after"), Some("1"));

    redis.start_again();
    until("it is published again", async || post(&node, EVENTS, &[], EVENT).await.status == 200).await;
}

#[tokio::test]
async fn the_api_may_have_a_port_of_its_own() {
    let api = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let node = Node::start(&[("FANFARE_API_LISTEN", &api.to_string())]).await;
    assert_eq!(post_with_key(api, EVENTS, API_KEY, &[], EVENT).await.status, 200);
    assert_eq!(post(&node, EVENTS, &[], EVENT).await.status, 404);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(request(api, "GET", path, &[], b"").await.status, 404, "{path}");
    }
    assert_eq!(request(node.clients, "POST", EVENTS, &[], EVENT).await.status, 404);
}
