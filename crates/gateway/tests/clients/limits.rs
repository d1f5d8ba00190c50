//! Every limit says which one it was: to browsers by `disconnect` and a close code, to others by a status.

use std::collections::HashSet;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Client, EMPTY, Handshake, Node, shaped, token, until};

/// A connection from another address of the loopback network.
async fn connect_from(address: [u8; 4], node: &Node) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((address, 0))).unwrap();
    socket.connect(node.clients).await.unwrap()
}

/// The handshake is refused for want of a place, in both ways. Returns `after_ms`.
async fn refused(handshake: Handshake, reason: &str) -> u64 {
    let status = handshake.clone().without("Sec-WebSocket-Protocol").try_open().await.err().unwrap();
    assert_eq!((status.status, status.json()), (503, json!({ "code": "unavailable", "message": reason })));
    let mut client = handshake.open().await;
    let mut told = client.message().await;
    let after_ms = told["after_ms"].take().as_u64().unwrap();
    let expected = json!({ "op": "disconnect", "code": 1013, "reason": reason, "reconnect": true, "after_ms": null });
    assert_eq!(told, expected);
    assert_eq!(client.expect_close().await, (Some(1013), reason.to_owned()));
    after_ms
}

/// Once a connection has gone, there is a place for this one.
async fn let_in(handshake: impl Fn() -> Handshake) {
    until("there is a place", async || handshake().open().await.message().await["op"] == "welcome").await;
}

#[tokio::test]
async fn a_node_has_so_many_places_and_those_refused_come_back_spread() {
    let node = Node::start(&[("FANFARE_CONNECTIONS_MAX", "2")]).await;
    let handshake = |user: &str| Handshake::to(&node).bearer(&token("acme", user));
    let mut first = Client::connect(&node, &token("acme", "ann")).await;
    let _second = Handshake::to(&node).open().await;
    let mut waits = HashSet::new();
    for _ in 0..8 {
        waits.insert(refused(handshake("cy"), "connections_max = 2 reached").await);
    }
    assert!(waits.iter().all(|after_ms| (5_000..10_000).contains(after_ms)) && waits.len() > 4, "{waits:?}");
    first.expect_nothing().await;
    first.send_close(1000).await;
    let_in(|| handshake("cy")).await;
}

#[tokio::test]
async fn a_tenant_has_so_many_places() {
    let node = Node::start(&[("FANFARE_CONNECTIONS_PER_TENANT_MAX", "2")]).await;
    let handshake = |tenant: &str, user: &str| Handshake::to(&node).bearer(&token(tenant, user));
    let mut first = Client::connect(&node, &token("acme", "ann")).await;
    let _second = Client::connect(&node, &token("acme", "bob")).await;
    refused(handshake("acme", "cy"), "connections_per_tenant_max = 2 reached").await;
    handshake("globex", "cy").open().await.expect("welcome").await;
    // Who tells later who it is can be refused later too.
    let mut late = Handshake::to(&node).open().await;
    late.send(&json!({ "op": "auth", "token": token("acme", "cy") })).await;
    assert_eq!(late.expect_disconnect(1013).await["reason"], "connections_per_tenant_max = 2 reached");
    first.send_close(1000).await;
    let_in(|| handshake("acme", "cy")).await;
}

#[tokio::test]
async fn a_user_has_so_many_places() {
    let node = Node::start(&[("FANFARE_CONNECTIONS_PER_USER_MAX", "1")]).await;
    let handshake = |tenant: &str, user: &str| Handshake::to(&node).bearer(&token(tenant, user));
    let mut first = Client::connect(&node, &token("acme", "ann")).await;
    refused(handshake("acme", "ann"), "connections_per_user_max = 1 reached").await;
    for (tenant, user) in [("acme", "bob"), ("globex", "ann")] {
        handshake(tenant, user).open().await.expect("welcome").await;
    }
    let mut late = Handshake::to(&node).msgpack().open().await;
    late.send(&json!({ "op": "auth", "token": token("acme", "ann") })).await;
    assert_eq!(late.expect_disconnect(1013).await["reason"], "connections_per_user_max = 1 reached");
    // A renewal takes no second place.
    first.send(&json!({ "op": "auth", "token": token("acme", "ann") })).await;
    first.expect("renewed").await;
    first.send_close(1000).await;
    let_in(|| handshake("acme", "ann")).await;
}

#[tokio::test]
async fn an_address_has_so_many_places() {
    let node = Node::start(&[("FANFARE_CONNECTIONS_PER_ADDRESS_MAX", "1")]).await;
    let handshake = || Handshake::to(&node).bearer(&token("acme", "ann"));
    let mut first = handshake().open().await;
    first.expect("welcome").await;
    refused(handshake(), "connections_per_address_max = 1 reached").await;
    let elsewhere = Box::new(connect_from([127, 0, 0, 2], &node).await);
    handshake().over(elsewhere).await.ok().unwrap().expect("welcome").await;
    first.send_close(1000).await;
    let_in(handshake).await;
}

#[tokio::test]
async fn a_connection_has_so_many_subscriptions() {
    let node = Node::start(&[("FANFARE_SUBSCRIPTIONS_PER_CONNECTION_MAX", "4")]).await;
    let mut client = Client::connect(&node, &token("acme", "ann")).await;
    let topics = ["a", "b", "c", "a"].map(|name| json!({ "topic": format!("channel:{name}") }));
    client.send(&json!({ "op": "subscribe", "id": 1, "topics": topics })).await;
    let told =
        [client.message().await, client.message().await, client.message().await, client.message().await].map(shaped);
    let subscribed = |topic: &str| json!({ "op": "subscribed", "id": 1, "topic": topic, "position": EMPTY });
    let refused = json!({
        "op": "error", "id": 1, "topic": "channel:c", "code": "too_many_subscriptions",
        "message": "subscriptions_per_connection_max = 4 reached",
    });
    assert_eq!(told, [subscribed("channel:a"), subscribed("channel:b"), refused, subscribed("channel:a")]);
    client.send(&json!({ "op": "unsubscribe", "id": 2, "topic": "channel:a" })).await;
    client.expect("unsubscribed").await;
    client.subscribe("channel:c").await;
}

#[tokio::test]
async fn who_sends_too_much_is_refused_and_who_goes_on_is_closed() {
    let node = Node::start(&[("FANFARE_FRAMES_PER_MINUTE", "1"), ("FANFARE_FRAMES_BURST", "3")]).await;
    let mut client = Client::connect(&node, &token("acme", "ann")).await;
    // Many topics in one frame are one frame.
    let topics: Vec<Value> = (0..50).map(|n| json!({ "topic": format!("channel:{n}") })).collect();
    client.send(&json!({ "op": "subscribe", "id": 1, "topics": topics })).await;
    for _ in 0..50 {
        client.expect("subscribed").await;
    }
    for _ in 0..2 {
        client.send(&json!({ "op": "ping" })).await;
        client.expect("pong").await;
    }
    let message = "frames_per_minute = 1 reached";
    for (frame, refused) in [
        (
            json!({ "op": "subscribe", "id": 9, "topic": "channel:x" }),
            json!({ "op": "error", "id": 9, "code": "rate_limited", "message": message }),
        ),
        (json!({ "op": "ping" }), json!({ "op": "error", "code": "rate_limited", "message": message })),
        (
            json!({ "op": "publish", "id": 10, "topic": "tenant", "event": { "type": "t" } }),
            json!({ "op": "error", "id": 10, "code": "rate_limited", "message": message }),
        ),
    ] {
        client.send(&frame).await;
        assert_eq!(client.message().await, refused);
    }
    client.send(&json!({ "op": "ping" })).await;
    let mut told = client.message().await;
    let after_ms = told["after_ms"].take().as_u64().unwrap();
    assert!((5_000..10_000).contains(&after_ms), "{after_ms}");
    let reason = "frames_per_minute reached, and still sending";
    let expected = json!({ "op": "disconnect", "code": 4429, "reason": reason, "reconnect": true, "after_ms": null });
    assert_eq!(told, expected);
    assert_eq!(client.expect_close().await, (Some(4429), reason.to_owned()));
}

#[tokio::test]
async fn control_frames_count_as_frames() {
    let node = Node::start(&[("FANFARE_FRAMES_PER_MINUTE", "1"), ("FANFARE_FRAMES_BURST", "3")]).await;
    for first in [0x89, 0x8a] {
        let mut client = Client::connect(&node, &token("acme", "ann")).await;
        for _ in 0..7 {
            client.send_frame(first, b"").await;
        }
        loop {
            match client.next().await {
                crate::support::Frame::Pong(_) => {}
                crate::support::Frame::Text(told) => {
                    assert!(told.contains("\"code\":4429"), "{told}");
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(client.expect_close().await.0, Some(4429));
    }
}

#[tokio::test]
async fn a_message_and_an_event_have_so_many_bytes() {
    let node = Node::start(&[("FANFARE_MESSAGE_BYTES_MAX", "2048"), ("FANFARE_EVENT_BYTES_MAX", "1024")]).await;
    let mut client = Client::connect(&node, &token("acme", "ann")).await;
    let publish = |event_bytes: usize| {
        let (start, end) = ("{\"type\":\"t\",\"data\":\"", "\"}");
        let event = format!("{start}{}{end}", "x".repeat(event_bytes - start.len() - end.len()));
        format!("{{\"op\":\"publish\",\"id\":1,\"topic\":\"channel:a\",\"event\":{event}}}")
    };
    client.send_text(&publish(1_024)).await;
    client.expect("published").await;
    client.send_text(&publish(1_025)).await;
    let refused = json!({
        "op": "error", "id": 1, "topic": "channel:a", "code": "too_large",
        "message": "the event has 1025 bytes; at most 1024 are allowed",
    });
    assert_eq!(client.message().await, refused);
    client.send_text(&publish(2_048)).await;
    assert_eq!(client.expect_disconnect(1009).await["reason"], "message over 2048 bytes");
}

#[tokio::test]
async fn only_pages_of_the_allowed_origins_connect() {
    let allowed = "https://app.example.com,https://*.example.org,http://localhost:3000";
    let node = Node::start(&[("FANFARE_ALLOWED_ORIGINS", allowed)]).await;
    let handshake = |origin: &str| Handshake::to(&node).bearer(&token("acme", "ann")).header("Origin", origin);
    for origin in
        ["https://app.example.com", "https://app.example.com:443", "https://a.b.example.org", "http://localhost:3000"]
    {
        handshake(origin).open().await.expect("welcome").await;
    }
    // No page at all.
    Client::connect(&node, &token("acme", "ann")).await;
    let reason = "this origin is not allowed (allowed_origins)";
    for origin in [
        "https://example.com",
        "http://app.example.com",
        "https://app.example.com.evil.test",
        "https://example.org",
        "null",
        "",
    ] {
        let mut client = handshake(origin).open().await;
        let expected = json!({ "op": "disconnect", "code": 4403, "reason": reason, "reconnect": false, "after_ms": 0 });
        assert_eq!(client.message().await, expected, "{origin:?}");
        assert_eq!(client.expect_close().await, (Some(4403), reason.to_owned()));
        let refused = handshake(origin).without("Sec-WebSocket-Protocol").try_open().await.err().unwrap();
        assert_eq!((refused.status, refused.json()), (403, json!({ "code": "forbidden", "message": reason })));
    }
}
