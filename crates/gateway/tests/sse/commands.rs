//! Commands over HTTP do what frames do, and answer the same.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Client, Node, RedisProcess, Reply, claims, in_time, position, request, sign, token};
use crate::{ORDERS, follower, numbered, numbers};

async fn post(node: &Node, token: &str, command: &str, body: &[u8], headers: &[(&str, &str)]) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [&[("Authorization", bearer.as_str())], headers].concat();
    request(node.clients, "POST", &format!("/client/v1/{command}"), &headers, body).await
}

async fn command(node: &Node, command: &str, fields: Value) -> Reply {
    post(node, &token("acme", "1"), command, fields.to_string().as_bytes(), &[]).await
}

#[tokio::test]
async fn what_is_published_by_a_command_reaches_everybody() {
    let redis = RedisProcess::start();
    let (node, other) = (Node::start_on(&redis.url(), &[]).await, Node::start_on(&redis.url(), &[]).await);
    let mut stream = follower(&node).await;
    let mut client = Client::connect(&other, &token("acme", "2")).await;
    client.subscribe(ORDERS).await;
    let event = json!({ "type": "t", "data": { "n": 1.5 }, "id": "e1" });

    let published = command(&node, "publish", json!({ "topic": ORDERS, "event": event })).await;
    assert_eq!((published.status, published.json()), (200, json!({ "op": "published" })));
    assert_eq!(published.header("content-type"), Some("application/json"));
    assert_eq!(published.header("cache-control"), Some("no-store"));
    let expected = json!({ "op": "event", "topic": ORDERS, "event": event });
    assert_eq!((stream.message().await, client.message().await), (expected.clone(), expected));

    // What the path and the connection say is not said again; should it be, it doesn't count.
    let fields =
        json!({ "op": "history", "id": "x", "topic": ORDERS, "event": event, "durable": true, "tenant": "globex" });
    let published = command(&node, "publish", fields).await.json();
    let at = position(&published);
    assert_eq!(published, json!({ "op": "published", "position": at }));
    assert_eq!((position(&stream.message().await), position(&client.message().await)), (at, at));
    assert_eq!(node.metric(r#"fanfare_published_events_total{via="client"}"#).await, 2.0);
}

#[tokio::test]
async fn a_command_may_be_messagepack_and_is_answered_in_json() {
    let node = Node::start(&[]).await;
    let mut stream = follower(&node).await;
    let packed = rmp_serde::to_vec(&json!({ "topic": ORDERS, "event": { "type": "t", "data": [1, "é"] } })).unwrap();
    for media_type in ["application/msgpack", "application/vnd.msgpack", "Application/X-MsgPack; v=1"] {
        let published = post(&node, &token("acme", "1"), "publish", &packed, &[("Content-Type", media_type)]).await;
        assert_eq!((published.status, published.json()), (200, json!({ "op": "published" })), "{published:?}");
        assert_eq!(stream.message().await["event"], json!({ "type": "t", "data": [1, "é"] }));
    }
    let reply = post(&node, &token("acme", "1"), "publish", &packed, &[]).await;
    assert_eq!((reply.status, reply.code()), (400, "bad_frame".to_owned()));
}

#[tokio::test]
async fn history_is_read_page_by_page() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    for n in 1..=5 {
        node.keep("acme", ORDERS, &numbered(n)).await;
    }
    let first = command(&node, "history", json!({ "topic": ORDERS, "limit": 2 })).await;
    assert_eq!(first.status, 200, "{first:?}");
    let first = first.json();
    assert_eq!((&first["op"], &first["topic"], &first["more"]), (&json!("history"), &json!(ORDERS), &json!(true)));
    assert_eq!((numbers(&first), first.as_object().unwrap().len()), (vec![4, 5], 4));
    let before = &first["events"][0]["position"];
    let second = command(&node, "history", json!({ "topic": ORDERS, "limit": 99, "before": before })).await.json();
    assert_eq!((numbers(&second), &second["more"]), (vec![1, 2, 3], &json!(false)));
    let packed = rmp_serde::to_vec(&json!({ "topic": ORDERS, "limit": 1 })).unwrap();
    let headers = [("Content-Type", "application/msgpack")];
    let third = post(&node, &token("acme", "1"), "history", &packed, &headers).await;
    assert_eq!(numbers(&third.json()), [5]);
}

#[tokio::test]
async fn a_command_is_judged_like_a_frame() {
    let node = Node::start(&[("FANFARE_MESSAGE_BYTES_MAX", "4096"), ("FANFARE_EVENT_BYTES_MAX", "1024")]).await;
    let event = json!({ "type": "t" });
    let large = json!({ "type": "t", "data": "x".repeat(1_100) });
    for (name, fields, status, code, message) in [
        ("publish", json!({}), 400, "bad_frame", "`topic` is missing"),
        ("publish", json!([]), 400, "bad_frame", "the body is not one JSON object or MessagePack map"),
        ("publish", json!({ "topic": 7, "event": event }), 400, "bad_frame", "`topic` must be a string"),
        ("publish", json!({ "topic": ORDERS }), 400, "bad_frame", "`event` is missing"),
        ("publish", json!({ "topic": ORDERS, "event": "t" }), 400, "bad_frame", "the event is neither"),
        ("publish", json!({ "topic": ORDERS, "event": {} }), 400, "bad_frame", "the event has no `type`"),
        ("publish", json!({ "topic": ORDERS, "event": event, "durable": 1 }), 400, "bad_frame", "`durable` must be"),
        ("publish", json!({ "topic": "orders", "event": event }), 400, "invalid_topic", "a topic is `tenant`"),
        ("publish", json!({ "topic": "channel:a b", "event": event }), 400, "invalid_topic", "the character ' '"),
        ("publish", json!({ "topic": ORDERS, "event": large }), 413, "too_large", "the event has 1122 bytes"),
        ("history", json!({ "topic": ORDERS }), 400, "bad_frame", "`limit` is missing"),
        ("history", json!({ "topic": ORDERS, "limit": 0 }), 400, "bad_frame", "`limit` must be"),
        ("history", json!({ "topic": ORDERS, "limit": 1, "before": "x" }), 400, "bad_frame", "before is no position"),
        ("history", json!({ "topic": "x", "limit": 1 }), 400, "invalid_topic", "a topic is `tenant`"),
        ("history", json!({ "topic": "user:2", "limit": 1 }), 403, "forbidden", "this token may not subscribe"),
    ] {
        let reply = command(&node, name, fields.clone()).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{name} {fields}: {reply:?}");
        let body = reply.json();
        assert!(body["message"].as_str().unwrap().starts_with(message), "{name} {fields}: {body}");
        assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
    }
    let mut claims = claims("acme", "1");
    claims["publish"] = json!(["channel:mine:*"]);
    claims["channels"] = json!(["mine:*"]);
    for (name, fields) in
        [("publish", json!({ "topic": ORDERS, "event": event })), ("history", json!({ "topic": ORDERS, "limit": 1 }))]
    {
        let reply = post(&node, &sign(&claims), name, fields.to_string().as_bytes(), &[]).await;
        assert_eq!((reply.status, reply.code()), (403, "forbidden".to_owned()), "{name}");
    }
}

#[tokio::test]
async fn a_command_without_a_good_token_is_nobodys() {
    let node = Node::start(&[]).await;
    let body = json!({ "topic": ORDERS, "event": { "type": "t" } }).to_string();
    for headers in [&[][..], &[("Authorization", "Bearer x.y.z")], &[("Authorization", "Basic eDp5")]] {
        let reply = request(node.clients, "POST", "/client/v1/publish", headers, body.as_bytes()).await;
        assert_eq!((reply.status, reply.code()), (401, "unauthenticated".to_owned()));
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    let target = format!("/client/v1/publish?token={}", token("acme", "1"));
    assert_eq!(request(node.clients, "POST", &target, &[], body.as_bytes()).await.status, 200);
    assert!(!node.log().contains(&token("acme", "1")), "a token was logged");
}

#[tokio::test]
async fn a_command_stays_within_its_tenant() {
    let node = Node::start(&[]).await;
    let mut stream = follower(&node).await;
    let body = json!({ "topic": ORDERS, "event": { "type": "theirs" }, "tenant": "acme", "durable": true });
    let reply = post(&node, &token("globex", "1"), "publish", body.to_string().as_bytes(), &[]).await;
    assert_eq!(reply.status, 200);
    stream.expect_nothing(&node).await;
    let history = command(&node, "history", json!({ "topic": ORDERS, "limit": 9 })).await.json();
    assert_eq!(history["events"], json!([]));
}

#[tokio::test]
async fn a_command_has_no_connection_to_leave_out() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    client.subscribe(ORDERS).await;
    client.send(&json!({ "op": "auth", "token": token("acme", "1") })).await;
    client.expect("renewed").await;
    for except in ["nonsense", ""] {
        let fields = json!({ "topic": ORDERS, "event": { "type": "t", "except": except } });
        let reply = command(&node, "publish", fields).await;
        let expected = json!({ "code": "forbidden", "message": "except may only name the connection itself" });
        assert_eq!((reply.status, reply.json()), (403, expected));
    }
    client.expect_nothing().await;
}

#[tokio::test]
async fn a_body_has_so_many_bytes_so_much_time_and_one_of_two_types() {
    let node = Node::start(&[("FANFARE_MESSAGE_BYTES_MAX", "1024")]).await;
    let long = json!({ "topic": ORDERS, "event": { "type": "t", "data": "x".repeat(2_000) } });
    let reply = command(&node, "publish", long.clone()).await;
    let expected = json!({ "code": "too_large", "message": "the body is longer than 1024 bytes (message_bytes_max)" });
    assert_eq!((reply.status, reply.json()), (413, expected.clone()));
    // One that doesn't say beforehand how long it is.
    let head = format!(
        "POST /client/v1/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        token("acme", "1")
    );
    let text = long.to_string();
    let reply = raw(&node, format!("{head}{:x}\r\n{text}\r\n0\r\n\r\n", text.len()).as_bytes()).await;
    assert_eq!((reply.status, reply.json()), (413, expected));
    // Only here: in so short a time not every request of a busy machine arrives.
    let hasty = Node::start(&[("FANFARE_HEADER_TIMEOUT_MS", "2000")]).await;
    let reply = raw(&hasty, format!("{head}5\r\n{{\"to").as_bytes()).await;
    let expected = json!({ "code": "timeout", "message": "the body did not arrive in time" });
    assert_eq!((reply.status, reply.json()), (408, expected));

    let body = json!({ "topic": ORDERS, "event": { "type": "t" } }).to_string();
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/xml", "", "json"] {
        let headers = [("Content-Type", media_type)];
        let reply = post(&node, &token("acme", "1"), "publish", body.as_bytes(), &headers).await;
        assert_eq!((reply.status, reply.code()), (415, "bad_frame".to_owned()), "{media_type:?}");
    }
    let headers = [("Content-Type", "application/json; charset=utf-8")];
    assert_eq!(post(&node, &token("acme", "1"), "publish", body.as_bytes(), &headers).await.status, 200);
}

/// Sends these bytes and reads the answer, however long the node takes.
async fn raw(node: &Node, bytes: &[u8]) -> Reply {
    in_time("the answer", async {
        let mut stream = TcpStream::connect(node.clients).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply).await;
        Reply::parse(&reply)
    })
    .await
}

#[tokio::test]
async fn without_its_backplane_a_node_says_so() {
    let mut redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    redis.kill();
    for (name, fields) in [
        ("publish", json!({ "topic": ORDERS, "event": { "type": "t" } })),
        ("publish", json!({ "topic": ORDERS, "event": { "type": "t" }, "durable": true })),
        ("history", json!({ "topic": ORDERS, "limit": 1 })),
    ] {
        let reply = in_time("the outage is noticed", async {
            loop {
                let reply = command(&node, name, fields.clone()).await;
                // What was on its way when it went may be lost without a word.
                if reply.status != 504 && reply.status != 200 {
                    return reply;
                }
            }
        })
        .await;
        assert_eq!((reply.status, reply.code()), (503, "unavailable".to_owned()), "{name}");
        assert!(reply.header("retry-after").is_some());
    }
}
