//! Who a client is: the ways a token comes, renewal, expiry, and what claims allow. Which tokens are good is told in
//! [`crate::tokens`].

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::client::frame;
use crate::support::{Client, EMPTY, Handshake, Node, SECRET, claims, shaped, sign, token, until};

/// What a refused client is told, but for the reason.
const UNAUTHENTICATED: u16 = 4401;

#[tokio::test]
async fn a_token_comes_by_header_subprotocol_query_or_first_frame_and_the_first_of_these_counts() {
    let node = Node::start(&[]).await;
    let [ann, bob, cy, dee] = ["ann", "bob", "cy", "dee"].map(|user| token("acme", user));
    let (bob, cy) = (format!("fanfare.token.{bob}"), format!("/ws?x=1&token={cy}&y=2"));
    let cases = [
        ("ann", Handshake::to(&node).target(&cy).header("Sec-WebSocket-Protocol", &bob).bearer(&ann)),
        ("bob", Handshake::to(&node).target(&cy).header("Sec-WebSocket-Protocol", &bob)),
        ("bob", Handshake::to(&node).header("Authorization", "Basic eA==").header("Sec-WebSocket-Protocol", &bob)),
        ("cy", Handshake::to(&node).target(&cy)),
        ("ann", Handshake::to(&node).msgpack().bearer(&ann)),
        (
            "ann",
            Handshake::to(&node).without("Sec-WebSocket-Protocol").header("authorization", &format!("bEARER {ann}")),
        ),
    ];
    for (user, handshake) in cases {
        assert_eq!(handshake.open().await.expect("welcome").await["user"], user);
    }
    for handshake in [Handshake::to(&node), Handshake::to(&node).msgpack(), Handshake::to(&node).target("/ws?token=")] {
        let mut client = handshake.open().await;
        client.send(&json!({ "op": "auth", "token": dee })).await;
        assert_eq!(client.expect("welcome").await["user"], "dee");
    }
    // A bad token that comes first is not made good by a second one.
    let mut client = Handshake::to(&node).target(&cy).bearer("bad").open().await;
    assert_eq!(client.expect_disconnect(UNAUTHENTICATED).await["reason"], "malformed token");
}

#[tokio::test]
async fn welcome_tells_all_that_a_client_has_to_know() {
    let node = Node::start(&[("FANFARE_NODE_ID", "node-1"), ("FANFARE_PING_MS", "30000")]).await;
    let mut claims = claims("acme", "42");
    claims["subscribe"] = json!(["channel:vip", "tenant"]);
    let mut client = Handshake::to(&node).bearer(&sign(&claims)).open().await;
    let mut welcome = client.expect("welcome").await;
    let connection = welcome["connection"].take();
    assert!(connection.as_str().is_some_and(|name| !name.is_empty()), "{connection}");
    let server_time = welcome["server_time"].take().as_u64().unwrap();
    assert!(server_time.abs_diff(unix_ms()) < 5_000, "{server_time}");
    let state = |topic: &str| json!({ "topic": topic, "position": EMPTY });
    let expected = json!({
        "op": "welcome", "version": 1, "features": ["durable", "history", "presence", "publish", "requests"], "connection": null, "node": "node-1", "tenant": "acme",
        "user": "42", "expires_at": claims["exp"].as_u64().unwrap() * 1_000, "server_time": null, "ping_ms": 30_000,
        "limits": {
            "message_bytes": 65_536, "subscriptions": 10_000, "frames_per_minute": 600, "publishes_per_minute": 600, "outbox_bytes": 1_048_576,
        },
        "topics": [state("tenant"), state("user:42"), state("channel:vip")],
    });
    assert_eq!(shaped(welcome), expected);
    let mut other = Handshake::to(&node).bearer(&token("acme", "42")).open().await;
    assert_ne!(other.expect("welcome").await["connection"], connection);
}

#[tokio::test]
async fn a_resumed_topic_is_told_in_welcome_that_it_could_not_be_recovered() {
    let node = Node::start(&[]).await;
    let mut client = Handshake::to(&node).open().await;
    let since = json!({ "tenant": "7-1", "channel:orders": "7-2" });
    client.send(&json!({ "op": "auth", "token": token("acme", "42"), "since": since })).await;
    let expected = json!([
        { "topic": "tenant", "position": EMPTY, "recovered": false, "reason": "epoch", "events": [] },
        { "topic": "user:42", "position": EMPTY },
    ]);
    assert_eq!(shaped(client.expect("welcome").await)["topics"], expected);
}

#[tokio::test]
async fn who_does_not_authenticate_in_time_is_closed_however_busy() {
    let node = Node::start(&[("FANFARE_AUTH_TIMEOUT_MS", "2000")]).await;
    let started = Instant::now();
    let mut silent = Handshake::to(&node).open().await;
    let mut busy = Handshake::to(&node).open().await;
    let (mut pings, mut ticks) = (0, tokio::time::interval(Duration::from_millis(10)));
    let told = loop {
        ticks.tick().await;
        busy.send(&json!({ "op": "ping" })).await;
        let message = busy.message().await;
        if message["op"] == "disconnect" {
            break message;
        }
        assert_eq!(message["op"], "pong");
        pings += 1;
    };
    // The node counts whole milliseconds.
    assert!(started.elapsed() >= Duration::from_millis(1_999) && pings > 0, "{:?}, {pings}", started.elapsed());
    let expected = json!({
        "op": "disconnect", "code": UNAUTHENTICATED, "reason": "not authenticated in time (auth_timeout_ms)",
        "reconnect": false, "after_ms": 0,
    });
    assert_eq!(told, expected);
    assert_eq!(silent.message().await, expected);
    silent.expect_close().await;
}

#[tokio::test]
async fn before_auth_only_auth_and_ping_do_anything() {
    let node = Node::start(&[]).await;
    let mut client = Handshake::to(&node).open().await;
    for frame in [
        json!({ "op": "subscribe", "id": 5, "topic": "channel:a" }),
        json!({ "op": "unsubscribe", "id": 5, "topic": "channel:a" }),
        json!({ "op": "publish", "id": 5, "topic": "channel:a", "event": { "type": "t" } }),
        json!({ "op": "request", "id": 5, "method": "m" }),
        json!({ "op": "nonsense", "id": 5 }),
    ] {
        client.send(&frame).await;
        let refused = json!({ "op": "error", "id": 5, "code": "unauthenticated", "message": "send auth first" });
        assert_eq!(client.message().await, refused, "{frame}");
    }
    client.send(&json!({ "op": "auth" })).await;
    let refused = json!({ "op": "error", "code": "bad_frame", "message": "`token` is missing" });
    assert_eq!(client.message().await, refused);
    let since = json!({ "tenant": "yesterday" });
    client.send(&json!({ "op": "auth", "token": token("acme", "42"), "since": since })).await;
    let refused = json!({ "op": "error", "topic": "tenant", "code": "bad_frame", "message": "since is no position" });
    assert_eq!(client.message().await, refused);
    client.expect_nothing().await;
    // What is sent behind the token, in one go, is handled after it.
    let auth = json!({ "op": "auth", "token": token("acme", "42") }).to_string();
    let ping = json!({ "op": "ping", "padding": "x".repeat(9_000) }).to_string();
    let frames = [auth, ping].map(|text| frame(0x81, text.as_bytes())).concat();
    client.send_raw(&frames).await;
    client.expect("welcome").await;
    client.expect("pong").await;

    let mut client = Handshake::to(&node).open().await;
    client.send_text("not JSON").await;
    let told = client.expect_disconnect(4400).await;
    assert_eq!(told["reason"], "the message is not one JSON object or MessagePack map with an `op`");
}

#[tokio::test]
async fn before_auth_a_message_may_have_8_kib() {
    let node = Node::start(&[]).await;
    let mut client = Handshake::to(&node).open().await;
    let ping = |bytes: usize| format!("{:<bytes$}", json!({ "op": "ping" }).to_string());
    client.send_text(&ping(8_192)).await;
    client.expect("pong").await;
    client.send_text(&ping(8_193)).await;
    assert_eq!(client.expect_disconnect(1009).await["reason"], "message over 8192 bytes");
}

#[tokio::test]
async fn few_may_be_pending_at_one_address() {
    let node = Node::start(&[("FANFARE_UNAUTHENTICATED_PER_ADDRESS_MAX", "2")]).await;
    let mut first = Handshake::to(&node).open().await;
    let _second = Handshake::to(&node).open().await;
    let reason = "unauthenticated_per_address_max = 2 reached";
    assert_eq!(Handshake::to(&node).open().await.expect_disconnect(1013).await["reason"], reason);
    let refused = Handshake::to(&node).without("Sec-WebSocket-Protocol").try_open().await.err().unwrap();
    assert_eq!((refused.status, refused.json()), (503, json!({ "code": "unavailable", "message": reason })));
    // Whoever brings a token right away is not pending, and who brings one later is not any more.
    Client::connect(&node, &token("acme", "42")).await;
    first.send(&json!({ "op": "auth", "token": token("acme", "42") })).await;
    first.expect("welcome").await;
    Handshake::to(&node).open().await.expect_nothing().await;
}

#[tokio::test]
async fn a_token_is_renewed_in_place_by_its_own_user_only() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, &token("acme", "42")).await;
    client.subscribe("channel:a").await;
    client.subscribe("channel:b").await;
    for (token, code, message) in [
        (token("acme", "43"), "forbidden", "the new token is another user's; the old one stays"),
        (token("globex", "42"), "forbidden", "the new token is another user's; the old one stays"),
        ("garbage".to_owned(), "unauthenticated", "malformed token; the old token stays"),
    ] {
        client.send(&json!({ "op": "auth", "token": token })).await;
        assert_eq!(client.message().await, json!({ "op": "error", "code": code, "message": message }));
    }
    // The old token still counts.
    client.subscribe("channel:c").await;

    let mut narrower = claims("acme", "42");
    narrower["channels"] = json!(["a", "d"]);
    narrower["publish"] = json!([]);
    narrower["exp"] = json!(jsonwebtoken::get_current_timestamp() + 7_200);
    client.send(&json!({ "op": "auth", "token": sign(&narrower) })).await;
    let expires_at = narrower["exp"].as_u64().unwrap() * 1_000;
    assert_eq!(client.message().await, json!({ "op": "renewed", "expires_at": expires_at }));
    let mut ended = [client.message().await, client.message().await];
    ended.sort_by_key(|told| told["topic"].to_string());
    assert_eq!(
        ended,
        ["channel:b", "channel:c"].map(|topic| json!({ "op": "unsubscribed", "topic": topic, "code": "forbidden" }))
    );
    for topic in ["channel:b", "channel:a", "tenant", "user:42"] {
        assert_eq!(node.publish("acme", topic, "{\"type\":\"after\"}").await.status, 200);
    }
    for topic in ["channel:a", "tenant", "user:42"] {
        client.expect_event(topic).await;
    }
    client.send(&json!({ "op": "subscribe", "id": 2, "topic": "channel:b" })).await;
    assert_eq!(client.expect("error").await["code"], "forbidden");
    client.send(&json!({ "op": "publish", "id": 3, "topic": "channel:a", "event": { "type": "t" } })).await;
    assert_eq!(client.expect("error").await["code"], "forbidden");
    client.subscribe("channel:d").await;

    // What a wider token allows again can be subscribed again.
    client.send(&json!({ "op": "auth", "token": token("acme", "42") })).await;
    client.expect("renewed").await;
    client.subscribe("channel:b").await;
    assert_eq!(node.publish("acme", "channel:b", "{\"type\":\"again\"}").await.status, 200);
    assert_eq!(client.expect_event("channel:b").await["type"], "again");
}

#[tokio::test]
async fn a_connection_outlives_its_token_by_the_grace_and_a_renewed_one_goes_on() {
    let node = Node::start(&[("FANFARE_TOKEN_EXPIRY_GRACE_S", "1")]).await;
    let mut short = claims("acme", "42");
    // All of them must be connected, and one renewed, before that.
    let expiry = jsonwebtoken::get_current_timestamp() + 5;
    short["exp"] = json!(expiry);
    let short = sign(&short);
    let mut renewed = Client::connect(&node, &short).await;
    let mut refused = Client::connect_msgpack(&node, &short).await;
    let mut expiring = Client::connect(&node, &short).await;
    renewed.send(&json!({ "op": "auth", "token": token("acme", "42") })).await;
    renewed.expect("renewed").await;
    refused.send(&json!({ "op": "auth", "token": token("acme", "43") })).await;
    refused.expect("error").await;
    for client in [&mut expiring, &mut refused] {
        let told = client.message().await;
        assert!(unix_ms() >= (expiry + 1) * 1_000, "closed before the grace was over");
        let expected = json!({
            "op": "disconnect", "code": 4409, "reason": "token expired", "reconnect": true, "after_ms": 0
        });
        assert_eq!(told, expected);
        assert_eq!(client.expect_close().await, (Some(4409), "token expired".to_owned()));
    }
    renewed.expect_nothing().await;
}

#[tokio::test]
async fn claims_say_what_may_be_subscribed_and_published() {
    let node = Node::start(&[]).await;
    let mut claims = claims("acme", "42");
    claims["channels"] = json!(["news.*", "team:**"]);
    claims["publish"] = json!(["channel:cursors:*", "user:*"]);
    claims["subscribe"] = json!(["channel:vip"]);
    let mut client = Client::connect(&node, &sign(&claims)).await;
    for topic in ["channel:news.sport", "channel:team:7/a.b", "channel:vip", "tenant", "user:42"] {
        assert_eq!(client.subscribe(topic).await["topic"], topic);
    }
    for topic in ["channel:news.sport.local", "channel:news", "channel:team", "channel:cursors:1", "user:43"] {
        client.send(&json!({ "op": "subscribe", "id": 1, "topic": topic })).await;
        let message = "this token may not subscribe to this topic";
        let refused = json!({ "op": "error", "id": 1, "topic": topic, "code": "forbidden", "message": message });
        assert_eq!(client.message().await, refused);
    }
    let publish = |topic: &str| json!({ "op": "publish", "id": 2, "topic": topic, "event": { "type": "t" } });
    for topic in ["channel:cursors:1", "user:43"] {
        client.send(&publish(topic)).await;
        assert_eq!(client.message().await, json!({ "op": "published", "id": 2 }));
    }
    for topic in ["channel:cursors:1:2", "channel:news.sport", "tenant"] {
        client.send(&publish(topic)).await;
        let message = "this token may not publish to this topic";
        let refused = json!({ "op": "error", "id": 2, "topic": topic, "code": "forbidden", "message": message });
        assert_eq!(client.message().await, refused);
    }
    assert_eq!(node.publish("acme", "channel:vip", "{\"type\":\"hello\"}").await.status, 200);
    client.expect_event("channel:vip").await;
    // Whoever has no such claims has only what is everybody's.
    let least = json!({ "tenant": "acme", "sub": "43", "exp": claims["exp"] });
    let mut least = Client::connect(&node, &sign(&least)).await;
    for (op, topic) in [("subscribe", "channel:a"), ("publish", "channel:a"), ("publish", "user:43")] {
        least.send(&json!({ "op": op, "id": 3, "topic": topic, "event": { "type": "t" } })).await;
        assert_eq!(least.expect("error").await["code"], "forbidden");
    }
}

#[tokio::test]
async fn claims_may_have_other_names_and_the_own_topic_may_be_left_to_the_client() {
    let node = Node::start(&[
        ("FANFARE_JWT_CLAIM_TENANT", "/app/org"),
        ("FANFARE_JWT_CLAIM_USER", "uid"),
        ("FANFARE_JWT_CLAIM_CHANNELS", "rooms"),
        ("FANFARE_OWN_USER_TOPIC", "false"),
    ])
    .await;
    let mut claims = claims("ignored", "ignored");
    claims["app"] = json!({ "org": "acme" });
    claims["uid"] = json!("42");
    claims["channels"] = json!([]);
    claims["rooms"] = json!("a");
    let mut client = Handshake::to(&node).bearer(&sign(&claims)).open().await;
    let welcome = client.expect("welcome").await;
    assert_eq!((&welcome["tenant"], &welcome["user"]), (&json!("acme"), &json!("42")));
    assert_eq!(shaped(welcome)["topics"], json!([{ "topic": "tenant", "position": EMPTY }]));
    client.subscribe("channel:a").await;
    let published = async || assert_eq!(node.publish("acme", "user:42", "{\"type\":\"t\"}").await.status, 200);
    client.subscribe("user:42").await;
    published().await;
    client.expect_event("user:42").await;
    // What it has subscribed itself it can leave.
    client.send(&json!({ "op": "unsubscribe", "id": 2, "topic": "user:42" })).await;
    assert_eq!(client.message().await, json!({ "op": "unsubscribed", "id": 2, "topic": "user:42" }));
    published().await;
    assert_eq!(node.publish("acme", "tenant", "{\"type\":\"t\"}").await.status, 200);
    client.expect_event("tenant").await;
}

#[tokio::test]
async fn a_token_is_never_logged() {
    let node = Node::start(&[("FANFARE_LOG_LEVEL", "debug")]).await;
    let tokens = ["ann", "bob", "cy", "dee", "eve"].map(|user| token("acme", user));
    let [ann, bob, cy, dee, eve] = &tokens;
    let mut expired = claims("acme", "late");
    expired["exp"] = json!(jsonwebtoken::get_current_timestamp() - 60);
    let expired = sign(&expired);
    let mut clients = vec![
        Handshake::to(&node).bearer(ann).open().await,
        Handshake::to(&node).header("Sec-WebSocket-Protocol", &format!("fanfare.token.{bob}")).open().await,
        Handshake::to(&node).target(&format!("/ws?token={cy}")).open().await,
        Handshake::to(&node).open().await,
    ];
    clients[3].send(&json!({ "op": "auth", "token": dee })).await;
    for client in &mut clients {
        client.expect("welcome").await;
    }
    clients[0].send(&json!({ "op": "auth", "token": eve })).await;
    clients[0].expect("error").await;
    clients[1].send(&json!({ "op": "auth", "token": bob, "id": "not a number", "since": 7 })).await;
    clients[1].expect("error").await;
    clients[2].send_text(&format!("{{\"op\":\"auth\",\"token\":\"{cy}\"")).await;
    clients[2].expect_disconnect(4400).await;
    Handshake::to(&node).target(&format!("/ws?token={expired}")).open().await.expect_disconnect(4401).await;
    let refused = Handshake::to(&node).without("Sec-WebSocket-Protocol").target(&format!("/ws?token={expired}"));
    assert_eq!(refused.try_open().await.err().unwrap().status, 401);
    for client in &mut clients {
        client.send_close(1000).await;
    }
    until("the ends of all connections are logged", async || node.log().matches("connection ended").count() >= 4).await;
    let (log, printed) = (node.log(), node.printed());
    for token in tokens.iter().chain([&expired]) {
        for part in token.split('.').skip(1) {
            assert!(!log.contains(part) && !printed.contains(part), "{part} is in the log:\n{log}");
        }
    }
    assert!(!log.contains(SECRET));
}

fn unix_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
