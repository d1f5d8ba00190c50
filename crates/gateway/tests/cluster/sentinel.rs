//! Nodes on a Redis that Sentinel watches: a failover is an outage like any other, and it ends by itself.

use crate::outages::{AT_ONCE, expect_another_history};
use crate::support::sentinel::Watched;
use crate::support::{Node, token, until};
use crate::{EVENT, frame, publish, subscriber, subscribers, until_status};

#[tokio::test]
async fn clients_stay_through_a_failover_and_are_told_of_it_once() {
    let watched = Watched::start();
    let settings = [AT_ONCE, ("FANFARE_REDIS_PING_INTERVAL_MS", "100")];
    let nodes = [Node::start_on(&watched.url(), &settings).await, Node::start_on(&watched.url(), &settings).await];
    let mut clients = Vec::new();
    for node in &nodes {
        clients.push(subscriber(node, &token("acme", "1"), "channel:orders").await);
    }
    watched.primary.freeze();
    watched.sentinel.loses_patience();
    for client in &mut clients {
        expect_another_history(client, &["tenant", "user:1", "channel:orders"]).await;
    }
    let channel = "fanfare:acme:channel:orders";
    until("both nodes are on the new primary", async || subscribers(&watched.replica, channel) == 2).await;
    for node in &nodes {
        until_status(node, "/readyz", 200).await;
        assert_eq!(node.get("/readyz/node").await.status, 200);
    }
    // What one node publishes reaches both, and what the old primary still takes reaches nobody.
    watched.primary.thaw();
    assert_eq!(watched.primary.command(&["PUBLISH", channel, EVENT]), "0");
    assert_eq!(nodes[0].publish("acme", "channel:orders", EVENT).await.status, 200);
    for client in &mut clients {
        assert_eq!(client.text().await, frame("channel:orders", EVENT));
        client.expect_nothing().await;
    }
    for topic in ["tenant", "user:1"] {
        publish(&watched.replica, &format!("fanfare:acme:{topic}"), EVENT);
        for client in &mut clients {
            assert_eq!(client.text().await, frame(topic, EVENT));
        }
    }
}
