//! Nodes on a Redis Cluster: clients don't notice that their topics come from several primaries, and when one of those dies
//! only its topics have a gap.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::outages::AT_ONCE;
use crate::support::redis_cluster::{ClusterProcess, first_owner, slot_of};
use crate::support::{Client, Node, token, until};
use crate::{EVENT, event, frame, subscriber, until_status};

const TENANT: &str = "acme";

fn channel(topic: &str) -> String {
    format!("fanfare:{TENANT}:{topic}")
}

/// The primary that a topic comes from at the start.
fn home(topic: &str) -> usize {
    first_owner(slot_of(&channel(topic)))
}

/// A channel that comes from this primary.
fn channel_of(primary: usize) -> String {
    let mut topics = (0..).map(|number| format!("channel:orders.{number}"));
    topics.find(|topic| home(topic) == primary).unwrap()
}

/// Publishes as a backend does that has nothing but Redis; returns the position.
fn publish_durable(cluster: &ClusterProcess, primary: usize, topic: &str, envelope: &str) -> String {
    let words = ["FCALL", "fanfare_publish", "1", &channel(topic), envelope];
    cluster.nodes[primary].command(&words)
}

/// The next message is this durable event.
async fn expect_durable(client: &mut Client, topic: &str, position: &str, envelope: &str) {
    let event: Value = serde_json::from_str(envelope).unwrap();
    let expected = json!({ "op": "event", "topic": topic, "position": position, "event": event });
    assert_eq!(client.message().await, expected);
}

#[tokio::test]
async fn clients_have_topics_of_all_primaries_and_only_those_of_a_dead_one_have_a_gap() {
    let mut cluster = ClusterProcess::start();
    let settings = [AT_ONCE, ("FANFARE_REDIS_RETRY_MAX_MS", "200")];
    let nodes = [Node::start_on(&cluster.url(), &settings).await, Node::start_on(&cluster.url(), &settings).await];
    let topics = [0, 1, 2].map(channel_of);
    let mut clients = Vec::new();
    for (node, user) in nodes.iter().zip(["1", "2"]) {
        let mut client = subscriber(node, &token(TENANT, user), &topics[0]).await;
        for topic in &topics[1..] {
            client.subscribe(topic).await;
        }
        clients.push(client);
    }
    for (primary, topic) in topics.iter().enumerate() {
        assert_eq!(nodes[0].publish(TENANT, topic, EVENT).await.status, 200);
        let position = publish_durable(&cluster, primary, topic, EVENT);
        for client in &mut clients {
            assert_eq!(client.text().await, frame(topic, EVENT));
            expect_durable(client, topic, &position, EVENT).await;
        }
    }

    cluster.nodes[0].kill();
    // The others' go on.
    for topic in &topics[1..] {
        until("the node publishes", async || nodes[1].publish(TENANT, topic, EVENT).await.status == 200).await;
        for client in &mut clients {
            assert_eq!(client.text().await, frame(topic, EVENT));
        }
    }
    cluster.take_over(3);
    for node in &nodes {
        until_status(node, "/readyz", 200).await;
    }
    let position = publish_durable(&cluster, 3, &topics[0], &event("after"));
    for (client, user) in clients.iter_mut().zip(["user:1", "user:2"]) {
        let concerned = [topics[0].as_str(), "tenant", user].into_iter().filter(|topic| home(topic) == 0);
        let mut gaps: HashSet<_> =
            concerned.flat_map(|topic| ["ephemeral", "all"].map(|lost| (topic.to_owned(), lost.to_owned()))).collect();
        let mut durable = None;
        // Each has one gap for what was not durable, and another one for its new epoch.
        while durable.is_none() || !gaps.is_empty() {
            let told = client.message().await;
            let text = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
            if told["op"] == "gap" {
                assert!(gaps.remove(&(text("topic"), text("lost"))), "one gap too many: {told}");
            } else {
                assert!(durable.replace(told).is_none());
            }
        }
        let expected = json!({ "op": "event", "topic": topics[0], "position": position, "event": { "type": "after" } });
        assert_eq!(durable, Some(expected));
        client.expect_nothing().await;
    }
    // What was there before is there still, for whoever asks.
    let history = json!({ "op": "history", "id": 5, "topic": topics[0], "limit": 10 });
    clients[0].send(&history).await;
    let history = clients[0].expect("history").await;
    assert_eq!(history["events"].as_array().map(Vec::len), Some(2), "{history}");
    assert_eq!(nodes[0].publish(TENANT, &topics[0], EVENT).await.status, 200);
    for client in &mut clients {
        assert_eq!(client.text().await, frame(&topics[0], EVENT));
    }
}
