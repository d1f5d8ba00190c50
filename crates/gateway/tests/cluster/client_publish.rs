//! A client publishes by way of Redis: its event is one like any other, on every node.

use serde_json::{Value, json};

use crate::support::{Client, Node, RedisProcess, position, token};
use crate::{two_nodes, welcomed};

const TOPIC: &str = "channel:board:7";

/// A subscriber of [`TOPIC`] and its connection's name.
async fn on_the_board(node: &Node, token: &str) -> (Client, String) {
    let (mut client, welcome) = welcomed(node, token).await;
    client.subscribe(TOPIC).await;
    (client, welcome["connection"].as_str().unwrap().to_owned())
}

fn publish(except: Option<&str>, durable: bool) -> Value {
    let event = json!({ "type": "card.moved", "data": { "card": 3 }, "except": except });
    json!({ "op": "publish", "id": 1, "topic": TOPIC, "event": event, "durable": durable })
}

#[tokio::test]
async fn what_a_client_publishes_reaches_every_node_but_not_the_connection_it_leaves_out() {
    let redis = RedisProcess::start();
    let [node, other_node] = two_nodes(&redis, &[]).await;
    let (mut client, name) = on_the_board(&node, &token("acme", "ana")).await;
    let (mut tab, tabs_name) = on_the_board(&node, &token("acme", "ana")).await;
    let (mut other, others_name) = on_the_board(&other_node, &token("acme", "bob")).await;
    let (mut stranger, _) = on_the_board(&node, &token("globex", "ana")).await;
    for durable in [false, true] {
        client.send(&publish(Some(&name), durable)).await;
        // It is told that it is published, and nothing else.
        let answer = client.message().await;
        assert_eq!((&answer["op"], answer["position"].is_null()), (&json!("published"), !durable));
        for subscriber in [&mut tab, &mut other] {
            let event = subscriber.expect("event").await;
            assert_eq!(event["event"], publish(Some(&name), durable)["event"]);
            assert_eq!(event["position"], answer["position"]);
        }
        // What is left out names nobody but its sender.
        for except in [tabs_name.as_str(), &others_name, "", "9f1c27d0a4b3e586-2a"] {
            client.send(&publish(Some(except), durable)).await;
            let message = "except may only name the connection itself";
            let refused = json!({ "op": "error", "id": 1, "topic": TOPIC, "code": "forbidden", "message": message });
            assert_eq!(client.message().await, refused, "{except}");
        }
    }
    // Left out is left out of what comes live: what was kept is there for all.
    client.send(&json!({ "op": "history", "id": 2, "topic": TOPIC, "limit": 5 })).await;
    assert_eq!(client.expect("history").await["events"].as_array().unwrap().len(), 1);
    client.send(&publish(None, true)).await;
    let told = [client.message().await, client.message().await];
    assert_eq!(position(&told[0]), position(&told[1]), "the event and the answer");
    for subscriber in [&mut tab, &mut other] {
        subscriber.expect_event(TOPIC).await;
        subscriber.expect_nothing().await;
    }
    stranger.expect_nothing().await;
    // A backend sees what stands in Redis: the envelope as the client wrote it.
    let stored = redis.command(&["XRANGE", "fanfare:acme:channel:board:7", "-", "+"]);
    assert_eq!(stored.matches("card.moved").count(), 2, "{stored}");
}
