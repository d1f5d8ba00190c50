//! How a stream ends: by the node with a `disconnect`, by the client without a word.

use serde_json::json;

use crate::event_stream::{Get, Item};
use crate::support::{Node, RedisProcess, claims, request, sign, token, until};
use crate::{ORDERS, Seen, follower, numbered};

#[tokio::test]
async fn a_stream_lives_as_long_as_its_token_and_goes_on_with_a_new_one() {
    let node = Node::start(&[("FANFARE_TOKEN_EXPIRY_GRACE_S", "0")]).await;
    let mut claims = claims("acme", "1");
    // It must be connected and subscribed before that.
    claims["exp"] = json!(jsonwebtoken::get_current_timestamp() + 4);
    let mut stream = Get::sse(&node, "topics=channel:orders").bearer(&sign(&claims)).open().await;
    stream.expect("welcome").await;
    stream.expect("subscribed").await;
    let mut told = stream.expect_disconnect(4409).await;
    let after_ms = told["after_ms"].take();
    let expected =
        json!({ "op": "disconnect", "code": 4409, "reason": "token expired", "reconnect": true, "after_ms": null });
    assert_eq!((told, after_ms), (expected, json!(0)));
    node.keep("acme", ORDERS, &numbered(1)).await;
    let get = Get::sse(&node, "topics=channel:orders").bearer(&token("acme", "1")).since(&stream.last_id);
    let mut stream = get.open().await;
    assert_eq!(Seen::until(&mut stream, 1, 0).await.orders, [1]);
    let closed = r#"fanfare_connections_closed_total{code="4409"}"#;
    until("the end is counted", async || node.metric(closed).await == 1.0).await;
}

#[tokio::test]
async fn a_node_that_drains_sends_its_streams_away_with_all_that_is_theirs() {
    let redis = RedisProcess::start();
    let mut node = Node::start_on(&redis.url(), &[("FANFARE_DRAIN_S", "20")]).await;
    let other = Node::start_on(&redis.url(), &[]).await;
    let mut streams = vec![];
    for _ in 0..20 {
        streams.push(follower(&node).await);
    }
    node.keep("acme", ORDERS, &numbered(1)).await;
    // Redis has it first, and what is no client's yet when the node ends is not told.
    until("it is on its way to all", async || node.metric("fanfare_deliveries_total").await == 20.0).await;
    node.signal("-TERM");
    for mut stream in streams {
        assert_eq!(stream.expect("event").await["event"]["data"], 1);
        let told = stream.expect_disconnect(1012).await;
        assert_eq!(told["reconnect"], true);
        assert!(told["after_ms"].as_u64().unwrap() < 1_000, "{told}");
        let get = Get::sse(&other, "topics=channel:orders").bearer(&token("acme", "1")).since(&stream.last_id);
        let mut stream = get.open().await;
        stream.expect("welcome").await;
        assert_eq!(stream.expect("subscribed").await["recovered"], true);
    }
    assert_eq!(node.ended().await.code(), Some(0));
    assert!(node.log().contains("all clients have gone"), "{}", node.log());
}

#[tokio::test]
async fn a_client_that_goes_gives_its_place_back_at_once() {
    // Not by a ping: none is sent in time.
    let node = Node::start(&[("FANFARE_CONNECTIONS_MAX", "1"), ("FANFARE_PING_MS", "3600000")]).await;
    for _ in 0..3 {
        let stream = follower(&node).await;
        let full = Get::sse(&node, "").bearer(&token("acme", "2")).try_open().await.err().unwrap();
        assert_eq!((full.status, full.code()), (503, "unavailable".to_owned()));
        drop(stream);
        until("there is a place", async || Get::sse(&node, "").bearer(&token("acme", "2")).try_open().await.is_ok())
            .await;
        until("there is a place", async || node.metric("fanfare_event_streams").await == 0.0).await;
    }
}

/// Publishes until the metric says that a client was closed with this code.
async fn flood_until_closed(node: &Node, code: u16) {
    let series = format!("fanfare_connections_closed_total{{code=\"{code}\"}}");
    let event = json!({ "type": "t", "data": "x".repeat(60_000) }).to_string();
    until("the client is closed", async || {
        for _ in 0..20 {
            node.publish("acme", ORDERS, &event).await;
        }
        node.metric(&series).await == 1.0
    })
    .await;
}

#[tokio::test]
async fn a_slow_client_is_cut_off_and_comes_back_from_its_last_id() {
    let redis = RedisProcess::start();
    let settings = [("FANFARE_OUTBOX_BYTES_MAX", "131072"), ("FANFARE_CLOSE_TIMEOUT_MS", "100")];
    let node = Node::start_on(&redis.url(), &settings).await;
    let mut slow = follower(&node).await;
    let mut other = Get::sse(&node, "").bearer(&token("acme", "2")).open().await;
    other.expect("welcome").await;
    let id = slow.last_id.clone();
    slow.stop_reading();
    flood_until_closed(&node, 4413).await;
    assert_eq!(node.metric("fanfare_event_streams").await, 1.0, "its place is free");
    other.expect_nothing(&node).await;
    node.keep("acme", ORDERS, &numbered(1)).await;
    let mut stream = Get::sse(&node, "topics=channel:orders").bearer(&token("acme", "1")).since(&id).open().await;
    assert_eq!(Seen::until(&mut stream, 1, 0).await.orders, [1]);
    // It was cut off, which is no proper end, unless the last it could still take told it.
    slow.read_on();
    let mut is_told = false;
    loop {
        match slow.next().await {
            Item::Message(data, _) => is_told = data.contains(r#""op":"disconnect","code":4413"#),
            Item::Comment(_) => {}
            Item::End(is_whole) => break assert_eq!(is_whole, is_told),
        }
    }
}

#[tokio::test]
async fn a_slow_client_that_wakes_up_in_time_is_told() {
    let settings = [("FANFARE_OUTBOX_BYTES_MAX", "131072"), ("FANFARE_CLOSE_TIMEOUT_MS", "20000")];
    let node = Node::start(&settings).await;
    let mut slow = follower(&node).await;
    slow.stop_reading();
    let event = json!({ "type": "t", "data": "x".repeat(60_000) }).to_string();
    until("its outbox overflows", async || {
        for _ in 0..20 {
            node.publish("acme", ORDERS, &event).await;
        }
        node.metric(r#"fanfare_limit_reached_total{limit="outbox_bytes_max"}"#).await == 1.0
    })
    .await;
    slow.read_on();
    let told = slow.expect_disconnect(4413).await;
    assert_eq!(told["reconnect"], true);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_as_dead_as_one_that_answers_no_ping() {
    let settings = [
        ("FANFARE_OUTBOX_BYTES_MAX", "1073741824"),
        ("FANFARE_OUTBOX_NODE_BYTES_MAX", "1073741824"),
        ("FANFARE_CLOSE_TIMEOUT_MS", "100"),
        ("FANFARE_PING_MS", "100"),
    ];
    let node = Node::start(&settings).await;
    let slow = follower(&node).await;
    slow.stop_reading();
    flood_until_closed(&node, 4408).await;
    until("its place is free", async || node.metric("fanfare_event_streams").await == 0.0).await;
}

#[tokio::test]
async fn a_node_that_drains_answers_the_commands_that_it_has() {
    let redis = RedisProcess::start();
    let settings = [("FANFARE_DRAIN_S", "20"), ("FANFARE_REDIS_RESPONSE_TIMEOUT_MS", "20000")];
    let mut node = Node::start_on(&redis.url(), &settings).await;
    redis.freeze();
    let (clients, bearer) = (node.clients, format!("Bearer {}", token("acme", "1")));
    let publishing = tokio::spawn(async move {
        let body = br#"{"topic":"channel:orders","event":{"type":"t"},"durable":true}"#;
        request(clients, "POST", "/client/v1/publish", &[("Authorization", &bearer)], body).await
    });
    until("the command has come", async || node.metric("fanfare_connections_unauthenticated").await == 1.0).await;
    node.signal("-TERM");
    node.logged("sending clients away").await;
    redis.thaw();
    let reply = publishing.await.unwrap();
    assert_eq!((reply.status, &reply.json()["op"]), (200, &json!("published")), "{reply:?}");
    assert_eq!(node.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_node_that_drains_waits_for_what_is_on_its_way_to_a_slow_client() {
    let settings = [
        ("FANFARE_OUTBOX_BYTES_MAX", "67108864"),
        ("FANFARE_OUTBOX_NODE_BYTES_MAX", "67108864"),
        ("FANFARE_CLOSE_TIMEOUT_MS", "20000"),
        ("FANFARE_DRAIN_S", "20"),
    ];
    let mut node = Node::start(&settings).await;
    let mut slow = follower(&node).await;
    slow.stop_reading();
    let mut sent = 0;
    until("a lot waits", async || {
        for _ in 0..10 {
            node.publish(
                "acme",
                ORDERS,
                &json!({ "type": "n", "data": sent, "filler": "x".repeat(60_000) }).to_string(),
            )
            .await;
            sent += 1;
        }
        node.metric("fanfare_outbox_waiting_bytes").await > 1_000_000.0
    })
    .await;
    node.signal("-TERM");
    node.logged("sending clients away").await;
    slow.read_on();
    for number in 0..sent {
        assert_eq!(slow.expect("event").await["event"]["data"], number);
    }
    slow.expect_disconnect(1012).await;
    assert_eq!(node.ended().await.code(), Some(0));
}
