//! Stories of a backend on a Redis Cluster: it publishes to every primary, follows slots while they move, and answers
//! requests there.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use fanfare_client::{Event, Keep, Position, Publication, PublishError, Publisher, Request, Topic, Worker};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use support::cluster::{ClusterProcess, first_owner, slot_of};
use support::{Ask, Listener, REPLIES, REQUESTS, acme, answer, in_time, load, until};

fn start() -> ClusterProcess {
    let cluster = ClusterProcess::start_primaries(&[]);
    cluster.nodes.iter().for_each(load);
    cluster
}

fn channel(topic: &Topic) -> String {
    format!("fanfare:acme:{topic}")
}

/// A topic of each primary.
fn topics() -> [Topic; 3] {
    [0, 1, 2].map(|primary| {
        let mut topics = (0..).map(|number| Topic::channel(&format!("orders.{number}")).unwrap());
        topics.find(|topic| first_owner(slot_of(&channel(topic))) == primary).unwrap()
    })
}

fn numbered(number: u64) -> Event {
    Event::new("n").data(&number)
}

#[tokio::test]
async fn events_reach_the_topics_of_every_primary() {
    let cluster = start();
    let publisher = Publisher::connect(&cluster.url()).await.unwrap();
    for topic in topics() {
        let mut listener = Listener::on_cluster(&cluster, &channel(&topic)).await;
        publisher.publish(&acme(), &topic, &numbered(1)).await.unwrap();
        assert_eq!(listener.next().await, r#"{"type":"n","data":1}"#);
        let keep = Keep::default().id("x");
        let position = publisher.publish_durable(&acme(), &topic, &numbered(2), &keep).await.unwrap();
        assert_eq!(listener.next().await, format!(r#"@{position} {{"type":"n","data":2}}"#));
        assert_eq!(publisher.publish_durable(&acme(), &topic, &numbered(3), &keep).await, Ok(position));
    }
}

#[tokio::test]
async fn a_batch_goes_to_all_primaries_and_keeps_each_topics_order() {
    let cluster = start();
    let publisher = Publisher::connect(&cluster.url()).await.unwrap();
    let topics = topics();
    let durable = |number: u64| {
        let topic = &topics[usize::try_from(number).unwrap() % 3];
        Publication::durable(&acme(), topic, numbered(number), Keep::default())
    };
    let mut batch: Vec<_> = (0..60).map(durable).collect();
    batch.push(Publication::ephemeral(&acme(), &topics[0], Event::new("")));
    let results = publisher.publish_all(&batch).await;
    assert!(matches!(&results[60], Err(PublishError::Event(_))));
    for (at, result) in results[..60].iter().enumerate() {
        let seq = u64::try_from(at / 3 + 1).unwrap();
        assert!(matches!(result, Ok(Some(Position { seq: found, .. })) if *found == seq), "{at}: {result:?}");
    }
}

#[tokio::test]
async fn a_publisher_follows_a_slot_that_moves() {
    let cluster = start();
    let publisher = Publisher::connect(&cluster.url()).await.unwrap();
    let [topic, ..] = topics();
    let slot = slot_of(&channel(&topic));
    let publish = |number| {
        let (publisher, topic) = (publisher.clone(), topic.clone());
        async move { publisher.publish_durable(&acme(), &topic, &numbered(number), &Keep::default()).await }
    };
    let first = publish(1).await.unwrap();
    cluster.begin_to_move(slot, 0, 1);
    // Where its keys are still.
    assert_eq!(publish(2).await, Ok(Position { seq: 2, ..first }));
    // One of them is there already: it waits, and nothing is done by halves.
    assert_eq!(cluster.move_keys(slot, 0, 1, 1), 1);
    let waiting = tokio::spawn(publish(3));
    until("it was told to try again", async || {
        let mut nodes = cluster.nodes.iter();
        nodes.any(|node| node.command(&["INFO", "errorstats"]).contains("errorstat_TRYAGAIN"))
    })
    .await;
    while cluster.move_keys(slot, 0, 1, 10) > 0 {}
    // Where they are now, though the slot is not.
    let third = in_time("it is published", waiting).await.unwrap().unwrap();
    assert_eq!((third.seq, publish(4).await), (1, Ok(Position { seq: 2, ..third })), "another server's epoch");
    cluster.end_move(slot, 0, 1);
    assert_eq!(publish(5).await, Ok(Position { seq: 3, ..third }));
    assert_eq!(cluster.nodes[1].command(&["XLEN", &channel(&topic)]), "5");
}

#[tokio::test]
async fn a_publisher_survives_the_loss_of_a_primary() {
    let mut cluster = ClusterProcess::start();
    cluster.nodes[..3].iter().for_each(load);
    let publisher = Publisher::connect(&cluster.url()).await.unwrap();
    let topics = topics();
    publisher.publish_durable(&acme(), &topics[0], &numbered(1), &Keep::default()).await.unwrap();
    until("the replica has everything", async || cluster.nodes[3].command(&["FUNCTION", "LIST"]).contains("fanfare"))
        .await;
    cluster.nodes[0].kill();
    cluster.take_over(3);
    cluster.until_ok();
    for topic in &topics {
        // What broke with the old connection is told, and the next ones find the new primary.
        until("its topic is published to", async || {
            publisher.publish_durable(&acme(), topic, &numbered(2), &Keep::default()).await.is_ok()
        })
        .await;
    }
}

#[tokio::test]
async fn requests_are_answered_on_a_cluster_with_the_rights_that_the_readme_lists() {
    let cluster = start();
    let url = cluster.url_with("worker:word@");
    for node in &cluster.nodes {
        support::grant(node, "publisher", true);
        support::grant(node, "worker", true);
    }
    let publisher = Publisher::connect(&cluster.url_with("publisher:word@")).await.unwrap();
    for topic in topics() {
        publisher.publish(&acme(), &topic, &numbered(1)).await.unwrap();
        publisher.publish_durable(&acme(), &topic, &numbered(2), &Keep::default().id("x")).await.unwrap();
    }
    let mut node = Listener::on_cluster(&cluster, REPLIES).await;
    let echo = |request: Request| async move { request.input::<Value>() };
    let worker = Worker::builder(&url, acme()).method("dashboard.refresh", echo).build().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(worker.run(async { _ = stopped.await }));
    let home = &cluster.nodes[first_owner(slot_of(REQUESTS))];
    for number in 0..3 {
        let id = format!("r{number}");
        Ask::new(&id, &json!(number)).add(home);
        assert_eq!(node.next_json().await, answer(&id, &json!(number)));
    }
    stop.send(()).unwrap();
    assert_eq!(in_time("the worker stops", worker).await.unwrap().unfinished, 0);
}

#[tokio::test]
async fn the_address_of_one_node_is_refused_with_the_fix() {
    let cluster = start();
    let error = Publisher::connect(&cluster.nodes[0].url()).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("use redis+cluster://"), "{error}");
}
