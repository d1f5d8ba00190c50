//! A Redis Cluster: a tenant's stream and the channels for its answers lie on different primaries, and move.

use serde_json::json;

use crate::backend::Backend;
use crate::support::redis_cluster::{ClusterProcess, first_owner, slot_of};
use crate::support::{Client, Node, until};
use crate::{PATIENT, STREAM, ask, done, error, token};

#[tokio::test]
async fn requests_and_answers_find_their_primaries_and_follow_their_slots() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let slot = slot_of(STREAM);
    let home = first_owner(slot);
    // A node whose answers come from another primary than its requests go to.
    let channel = |number: u32| format!("fanfare:acme:replies:node-{number}");
    let number = (0..100).find(|&number| first_owner(slot_of(&channel(number))) != home).unwrap();
    let settings = [PATIENT, ("FANFARE_NODE_ID", &format!("node-{number}"))];
    let node = Node::start_on(&cluster.url(), &settings).await;
    let mut client = Client::connect(&node, &token("acme", "42", &["**"])).await;
    client.send(&json!({ "op": "request", "id": 1, "method": "m", "timeout_ms": 2_500 })).await;
    assert_eq!(client.message().await, error(1, "no_backend", "no backend took the request in time"));

    let replies = channel(number);
    let mut answering = Backend::of(&cluster.nodes[first_owner(slot_of(&replies))], "workers").await.by_function();
    let mut taking = Backend::begin(&cluster.nodes[home], "workers").await;
    ask(&mut client, 2, "m").await;
    let entry = taking.take().await;
    assert_eq!(entry.field("reply_to"), replies);
    answering.reply(&entry, "\"done\"").await;
    assert_eq!(client.message().await, done(2));
    client.send(&json!({ "op": "request", "id": 3, "method": "m", "timeout_ms": 2_500 })).await;
    taking.take().await;
    let taken = "a backend has the request and did not answer in time";
    assert_eq!(client.message().await, error(3, "timeout", taken));

    // The stream moves: its groups go with it.
    let new_home = (home + 1) % 3;
    cluster.move_slot(slot, home, new_home);
    let mut taking = Backend::of(&cluster.nodes[new_home], "workers").await;
    ask(&mut client, 4, "m").await;
    let entry = taking.take().await;
    answering.reply(&entry, "\"done\"").await;
    assert_eq!(client.message().await, done(4));
    // The channel moves while a request waits: the node subscribes it where it is now.
    ask(&mut client, 5, "m").await;
    let entry = taking.take().await;
    let from = first_owner(slot_of(&replies));
    let to = (from + 1) % 3;
    cluster.move_slot(slot_of(&replies), from, to);
    until("the node listens there", async || cluster.subscribers(to, &replies) == 1).await;
    let mut answering = Backend::of(&cluster.nodes[to], "workers").await.by_function();
    answering.reply(&entry, "\"done\"").await;
    assert_eq!(client.skip_to("reply").await, done(5));
}
