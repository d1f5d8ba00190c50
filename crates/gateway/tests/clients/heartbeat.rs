//! Who is silent is asked, and who doesn't answer is dead. Times are settings; nothing here waits longer than they say.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Frame, Node, in_time, token};

const PING: Duration = Duration::from_millis(1_500);

async fn node() -> Node {
    Node::start(&[("FANFARE_PING_MS", "1500")]).await
}

/// The next message, the node's pings included.
async fn next(client: &mut Client) -> Value {
    match client.next().await {
        Frame::Text(text) => serde_json::from_str(&text).unwrap(),
        Frame::Binary(bytes) => rmp_serde::from_slice(&bytes).unwrap(),
        other => panic!("a message should have come, not {other:?}"),
    }
}

#[tokio::test]
async fn a_silent_client_is_pinged_lives_while_it_answers_and_dies_of_two_missed_pings() {
    let node = node().await;
    let (token, started) = (token("acme", "ann"), Instant::now());
    let (json, msgpack) = tokio::join!(Client::connect(&node, &token), Client::connect_msgpack(&node, &token));
    tokio::join!(lives_and_dies(json, started), lives_and_dies(msgpack, started));
}

async fn lives_and_dies(mut client: Client, started: Instant) {
    assert_eq!(next(&mut client).await, json!({ "op": "ping" }));
    // The first one comes up to a quarter early, so that clients that came together are not pinged together.
    assert!(started.elapsed() >= PING * 3 / 4, "{:?}", started.elapsed());
    // Any sign of life is an answer: the pong of the contract, one of the WebSocket protocol.
    let mut answered = Instant::now();
    for answer in [0x81, 0x8a, 0x81] {
        answered = Instant::now();
        match answer {
            0x81 => client.send(&json!({ "op": "pong" })).await,
            control => client.send_frame(control, b"").await,
        }
        assert_eq!(next(&mut client).await, json!({ "op": "ping" }));
    }
    assert_eq!(next(&mut client).await, json!({ "op": "ping" }));
    let told = next(&mut client).await;
    let reason = "two pings unanswered";
    let expected = json!({ "op": "disconnect", "code": 4408, "reason": reason, "reconnect": true, "after_ms": 0 });
    assert_eq!(told, expected);
    assert!(answered.elapsed() >= PING * 2, "{:?}", answered.elapsed());
    assert_eq!(client.expect_close().await, (Some(4408), reason.to_owned()));
}

#[tokio::test]
async fn who_only_listens_is_pinged_though_events_flow() {
    let node = node().await;
    let mut listener = Client::connect(&node, &token("acme", "ann")).await;
    let mut publisher = Client::connect(&node, &token("acme", "bob")).await;
    let mut events = tokio::time::interval(Duration::from_millis(50));
    let (mut pings, mut received) = (0, 0);
    let told = in_time("the listener is closed", async {
        loop {
            tokio::select! {
                _ = events.tick() => {
                    let event = json!({ "type": "flowing" });
                    publisher.send(&json!({ "op": "publish", "topic": "user:ann", "event": event })).await;
                }
                frame = listener.next() => {
                    let Frame::Text(text) = frame else { panic!("{frame:?}") };
                    let message: Value = serde_json::from_str(&text).unwrap();
                    match message["op"].as_str().unwrap() {
                        "event" => received += 1,
                        "ping" => pings += 1,
                        _ => return message,
                    }
                }
            }
        }
    })
    .await;
    assert_eq!((&told["op"], &told["code"]), (&json!("disconnect"), &json!(4408)));
    assert_eq!(pings, 2);
    assert!(received > 10, "{received}");
}

#[tokio::test]
async fn who_only_talks_is_pinged_and_never_dead() {
    let node = node().await;
    let mut client = Client::connect(&node, &token("acme", "ann")).await;
    let mut talk = tokio::time::interval(Duration::from_millis(50));
    let mut pings = 0;
    in_time("pings come", async {
        // Two may be missed, so it would be dead before the fourth.
        while pings < 4 {
            tokio::select! {
                _ = talk.tick() => client.send(&json!({ "op": "pong" })).await,
                frame = client.next() => {
                    assert_eq!(frame, Frame::Text("{\"op\":\"ping\"}".to_owned()));
                    pings += 1;
                }
            }
        }
    })
    .await;
    client.expect_nothing().await;
}
