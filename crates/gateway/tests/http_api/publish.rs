//! One event: how it travels, what is told of it, and what becomes of it when Redis doesn't take it.

use std::net::SocketAddr;

use serde_json::json;

use crate::support::{API_KEY, Client, Node, RedisProcess, free_port, position, request, token, until};
use crate::{EVENT, EVENTS, post, post_with_key, problem, send};

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
        assert_eq!(send(api, "GET", path, &[], b"").await.status, 404, "{path}");
    }
    assert_eq!(request(node.clients, "POST", EVENTS, &[], EVENT).await.status, 404);
}
