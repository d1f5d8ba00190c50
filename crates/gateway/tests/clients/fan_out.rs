//! Many events to many clients: all of them, in order, at once; and what becomes of a client that doesn't read.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::support::client::frame;
use crate::support::{Client, Frame, Handshake, Node, token, until};

/// For who publishes as fast as it can.
const NO_RATE_LIMIT: [(&str, &str); 4] = [
    ("FANFARE_FRAMES_PER_MINUTE", "60000000"),
    ("FANFARE_FRAMES_BURST", "60000000"),
    ("FANFARE_PUBLISHES_PER_MINUTE", "60000000"),
    ("FANFARE_PUBLISHES_BURST", "60000000"),
];

/// Enough for a client to be blocked: more than the kernel buffers for a connection.
const KERNEL_BYTES: usize = 16 << 20;

async fn node(settings: &[(&str, &str)]) -> Node {
    Node::start(&[&NO_RATE_LIMIT, settings].concat()).await
}

fn publish(topic: &str, event: &Value) -> Vec<u8> {
    frame(0x81, json!({ "op": "publish", "topic": topic, "event": event }).to_string().as_bytes())
}

/// A client whose kernel takes little for it, on `channel:<name>`. It stops reading once it has its next event.
async fn slow_client(node: &Node, channel: &str) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let stream = socket.connect(node.clients).await.unwrap();
    let handshake = Handshake::to(node).bearer(&token("acme", channel));
    let mut client = handshake.over(Box::new(stream)).await.ok().unwrap();
    client.expect("welcome").await;
    client.subscribe(&format!("channel:{channel}")).await;
    client.stop_reading();
    client
}

/// Bytes that wait for all clients together.
async fn waiting_bytes(node: &Node) -> usize {
    node.get("/metrics")
        .await
        .body
        .lines()
        .find_map(|line| line.strip_prefix("fanfare_outbox_waiting_bytes ")?.parse().ok())
        .unwrap()
}

#[tokio::test]
async fn a_burst_arrives_complete_and_in_order_at_every_client() {
    const CLIENTS: usize = 16;
    const EVENTS: u64 = 1_500;
    let node = node(&[]).await;
    let topics = ["channel:a", "channel:b", "tenant"];
    let mut clients = Vec::new();
    for index in 0..CLIENTS {
        let token = token("acme", &format!("user-{index}"));
        let mut client = if index % 2 == 0 {
            Client::connect(&node, &token).await
        } else {
            Client::connect_msgpack(&node, &token).await
        };
        client.subscribe("channel:a").await;
        client.subscribe("channel:b").await;
        clients.push(client);
    }
    let mut publisher = Client::connect(&node, &token("globex", "ann")).await;
    let stranger = publish("channel:a", &json!({ "type": "stranger" }));
    let mut own = Client::connect(&node, &token("acme", "publisher")).await;
    let burst: Vec<u8> = (0..EVENTS)
        .flat_map(|n| publish(topics[usize::try_from(n % 3).unwrap()], &json!({ "type": "burst", "data": n })))
        .collect();
    publisher.send_raw(&stranger).await;
    own.send_raw(&burst).await;
    for client in &mut clients {
        let mut next = HashMap::from([("channel:a", 0), ("channel:b", 1), ("tenant", 2)]);
        for _ in 0..EVENTS {
            let message = client.expect("event").await;
            let expected = next.get_mut(message["topic"].as_str().unwrap()).unwrap();
            assert_eq!(message["event"], json!({ "type": "burst", "data": *expected }));
            *expected += 3;
        }
        client.expect_nothing().await;
    }
    for _ in 0..EVENTS {
        own.skip_to("published").await;
    }
}

#[tokio::test]
async fn no_event_follows_unsubscribed_and_none_precedes_subscribed() {
    let node = node(&[]).await;
    let mut publisher = Client::connect(&node, &token("acme", "ann")).await;
    let mut client = Client::connect(&node, &token("acme", "bob")).await;
    let burst: Vec<u8> = (0..200).flat_map(|n| publish("channel:a", &json!({ "type": "burst", "data": n }))).collect();
    for round in 0..10 {
        publisher.send_raw(&burst).await;
        let command = |op: &str| json!({ "op": op, "id": round, "topic": "channel:a" });
        client.send(&command("subscribe")).await;
        client.send(&command("unsubscribe")).await;
        client.expect("subscribed").await;
        loop {
            let message = client.message().await;
            if message["op"] == "unsubscribed" {
                break;
            }
            assert_eq!(message["op"], "event", "{message}");
        }
        for _ in 0..200 {
            publisher.skip_to("published").await;
        }
        client.expect_nothing().await;
    }
}

#[tokio::test]
async fn welcome_comes_first_however_many_events_are_on_their_way() {
    let node = node(&[]).await;
    let mut publisher = Client::connect(&node, &token("acme", "ann")).await;
    let burst: Vec<u8> = (0..2_000).flat_map(|n| publish("tenant", &json!({ "type": "burst", "data": n }))).collect();
    publisher.send_raw(&burst).await;
    for _ in 0..10 {
        // Asserts that it is the first message.
        let mut client = Client::connect(&node, &token("acme", "bob")).await;
        let mut last = None;
        client.send(&json!({ "op": "ping" })).await;
        loop {
            let message = client.message().await;
            if message["op"] == "pong" {
                break;
            }
            let data = message["event"]["data"].as_u64().unwrap();
            assert!(last.replace(data).is_none_or(|last| last + 1 == data), "{data} came after {last:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_not_listened_to_until_it_counts_as_gone() {
    const BOUND: usize = 131_072;
    let node = node(&[
        ("FANFARE_OUTBOX_BYTES_MAX", "131072"),
        ("FANFARE_CLOSE_TIMEOUT_MS", "100"),
        ("FANFARE_PING_MS", "1500"),
        ("FANFARE_FRAMES_PER_MINUTE", "1000000"),
        ("FANFARE_FRAMES_BURST", "1000000"),
    ])
    .await;
    let mut slow = slow_client(&node, "a").await;
    let topics: Vec<Value> = (0..200).map(|_| json!({ "topic": "no topic" })).collect();
    let question = json!({ "op": "subscribe", "id": 1, "topics": topics });
    let asking = async {
        loop {
            slow.send(&question).await;
        }
    };
    let watching = until("the client counts as gone", async || {
        assert!(waiting_bytes(&node).await <= BOUND);
        node.metric("fanfare_connections_closed_total{code=\"4408\"}").await == 1.0
    });
    tokio::select! {
        () = watching => {}
        () = asking => {}
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_within_its_bound_and_delays_nobody() {
    const BOUND: usize = 131_072;
    let node = node(&[("FANFARE_OUTBOX_BYTES_MAX", "131072"), ("FANFARE_CLOSE_TIMEOUT_MS", "120000")]).await;
    let mut slow = slow_client(&node, "a").await;
    let mut fast = Client::connect(&node, &token("acme", "fast")).await;
    fast.subscribe("channel:a").await;
    let mut publisher = Client::connect(&node, &token("acme", "publisher")).await;
    let overflowed = "fanfare_limit_reached_total{limit=\"outbox_bytes_max\"}";
    let (padding, mut events) = ("x".repeat(32_000), 0_u64);
    while node.metric(overflowed).await < 1.0 {
        assert!(usize::try_from(events).unwrap() * padding.len() < KERNEL_BYTES, "the client is not closed");
        publisher.send_raw(&publish("channel:a", &json!({ "type": "t", "data": events, "padding": padding }))).await;
        assert_eq!(fast.expect_event("channel:a").await["data"], events);
        assert!(waiting_bytes(&node).await <= BOUND);
        events += 1;
    }
    // What it had before it was cut off was complete and in order; then it is told.
    slow.read_on();
    let mut received = 0;
    let told = loop {
        let message = slow.message().await;
        if message["op"] != "event" {
            break message;
        }
        assert_eq!(message["event"]["data"], received);
        received += 1;
    };
    assert!(received < events);
    let after_ms = told["after_ms"].as_u64().unwrap();
    let expected = json!({
        "op": "disconnect", "code": 4413, "reason": "outbox full", "reconnect": true, "after_ms": after_ms
    });
    assert_eq!(told, expected);
    assert!(after_ms < 2_000);
    assert_eq!(slow.expect_close().await, (Some(4413), "outbox full".to_owned()));
    fast.expect_nothing().await;
}

#[tokio::test]
async fn a_slow_client_that_never_reads_its_farewell_is_cut_off() {
    let node = node(&[("FANFARE_OUTBOX_BYTES_MAX", "131072"), ("FANFARE_CLOSE_TIMEOUT_MS", "100")]).await;
    let slow = slow_client(&node, "a").await;
    let mut publisher = Client::connect(&node, &token("acme", "publisher")).await;
    let event = publish("channel:a", &json!({ "type": "t", "padding": "x".repeat(32_000) }));
    until("the client is cut off", async || {
        publisher.send_raw(&event).await;
        publisher.expect("published").await;
        node.metric("fanfare_connections_closed_total{code=\"4413\"}").await == 1.0
    })
    .await;
    until("nothing waits for it", async || waiting_bytes(&node).await == 0).await;
    until("only the publisher's own are left", async || node.metric("fanfare_subscriptions").await == 2.0).await;
    drop(slow);
}

#[tokio::test]
async fn a_slow_client_gets_the_newest_event_of_each_key_and_is_not_closed() {
    const BOUND: usize = 262_144;
    let keys = ["alice", "bob", "cy"];
    let node = node(&[("FANFARE_OUTBOX_BYTES_MAX", "262144")]).await;
    let mut slow = slow_client(&node, "cursors").await;
    let mut publisher = Client::connect(&node, &token("acme", "publisher")).await;
    let padding = "x".repeat(16_000);
    let mut events = 0_u64;
    let mut unkeyed = 0_u64;
    // Until the socket is blocked, and then many times the bound. Now and then comes an event that must not be lost.
    let (mut is_blocked, mut left) = (false, 300);
    while left > 0 {
        let key = keys[usize::try_from(events % 3).unwrap()];
        let event = json!({ "type": "moved", "key": key, "data": events, "padding": padding });
        publisher.send_raw(&publish("channel:cursors", &event)).await;
        publisher.expect("published").await;
        events += 1;
        if events.is_multiple_of(50) {
            publisher.send_raw(&publish("channel:cursors", &json!({ "type": "said", "data": unkeyed }))).await;
            publisher.expect("published").await;
            unkeyed += 1;
        }
        let waiting = waiting_bytes(&node).await;
        assert!(waiting <= BOUND, "{waiting}");
        is_blocked |= waiting > BOUND / 2;
        left -= u64::from(is_blocked);
        assert!(usize::try_from(events).unwrap() * padding.len() < 2 * KERNEL_BYTES, "the client is never blocked");
    }
    slow.read_on();
    let mut newest = HashMap::new();
    let (mut moved, mut said) = (0, 0);
    let is_newest =
        |newest: &HashMap<String, u64>| newest.len() == keys.len() && newest.values().all(|&data| data + 3 >= events);
    while !is_newest(&newest) || said < unkeyed {
        let event = slow.expect_event("channel:cursors").await;
        let data = event["data"].as_u64().unwrap();
        match event["key"].as_str() {
            None => {
                assert_eq!(data, said);
                said += 1;
            }
            Some(key) => {
                assert!(newest.insert(key.to_owned(), data).is_none_or(|before| before < data), "{key} went back");
                moved += 1;
            }
        }
    }
    assert!(moved < events, "nothing was conflated");
    slow.expect_nothing().await;
    assert_eq!(node.metric("fanfare_limit_reached_total{limit=\"outbox_bytes_max\"}").await, 0.0);
}

#[tokio::test]
async fn when_all_outboxes_together_are_full_the_largest_is_closed_first() {
    let node = node(&[
        ("FANFARE_OUTBOX_BYTES_MAX", "262144"),
        ("FANFARE_OUTBOX_NODE_BYTES_MAX", "327680"),
        ("FANFARE_CLOSE_TIMEOUT_MS", "120000"),
    ])
    .await;
    let mut small = slow_client(&node, "small").await;
    let mut large = slow_client(&node, "large").await;
    let mut publisher = Client::connect(&node, &token("acme", "publisher")).await;
    let shed = "fanfare_limit_reached_total{limit=\"outbox_node_bytes_max\"}";
    let event = |topic: &str, n: u64| publish(topic, &json!({ "type": "t", "data": n, "padding": "x".repeat(8_000) }));
    let mut to_small = 0_u64;
    while waiting_bytes(&node).await < 100_000 {
        publisher.send_raw(&event("channel:small", to_small)).await;
        publisher.expect("published").await;
        to_small += 1;
        assert!(to_small < 4_000, "the client is never blocked");
    }
    let mut to_large = 0_u64;
    while node.metric(shed).await < 1.0 {
        publisher.send_raw(&event("channel:large", to_large)).await;
        publisher.expect("published").await;
        to_large += 1;
        assert!(to_large < 4_000, "nobody is closed");
    }
    large.read_on();
    let reason = "node's outboxes full (outbox_node_bytes_max)";
    let told = large.skip_to("disconnect").await;
    assert_eq!((&told["code"], &told["reason"], &told["reconnect"]), (&json!(4413), &json!(reason), &json!(true)));
    assert_eq!(large.expect_close().await, (Some(4413), reason.to_owned()));
    small.read_on();
    for n in 0..to_small {
        assert_eq!(small.expect_event("channel:small").await["data"], n);
    }
    small.expect_nothing().await;
    assert_eq!(node.metric(shed).await, 1.0);
}

#[tokio::test]
async fn a_client_that_goes_leaves_nothing_behind() {
    let node = node(&[]).await;
    let mut witness = Client::connect(&node, &token("acme", "witness")).await;
    let mut clients = Vec::new();
    for index in 0..20 {
        let mut client = Client::connect(&node, &token("acme", &format!("user-{index}"))).await;
        client.subscribe("channel:a").await;
        clients.push(client);
    }
    until("all are subscribed", async || node.metric("fanfare_subscriptions").await == 62.0).await;
    // Half of them say goodbye, half are just gone.
    for mut client in clients.split_off(10) {
        client.send_close(1000).await;
        assert_eq!(client.next().await, Frame::Close(Some(1000), String::new()));
    }
    drop(clients);
    until("all have gone", async || node.metric("fanfare_connections{tenant=\"acme\"}").await == 1.0).await;
    until("their subscriptions too", async || node.metric("fanfare_subscriptions").await == 2.0).await;
    let closed = async |code: u16| node.metric(&format!("fanfare_connections_closed_total{{code=\"{code}\"}}")).await;
    until("all ends are counted", async || closed(1000).await == 10.0 && closed(1006).await == 10.0).await;
    assert_eq!(node.publish("acme", "channel:a", "{\"type\":\"nobody\"}").await.status, 200);
    witness.expect_nothing().await;
}
