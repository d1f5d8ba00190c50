//! Connections, primaries and whole clusters that go away, hang, come back, or are replaced.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use fanfare_backplane::{Keep, PublishError, State};

use crate::support::cluster::ClusterProcess;
use crate::support::node::{PATIENCE, Told, config, message};
use crate::support::redis_server::wait_until;
use crate::{channel, envelope, one_of_each, read, settled};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_killed_interrupts_only_its_own_topics() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let topics = one_of_each();
    let mut node = settled(config(&cluster.url()), &topics).await;
    for round in 0..5 {
        let hit = round % 3;
        cluster.nodes[hit].command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(node.next().await, Told::Lost(topics[hit].clone()));
        assert_eq!(node.next().await, Told::Confirmed(topics[hit].clone()));
        node.until_state(State::is_up).await;
        for topic in &topics {
            node.publish(topic, "after").await;
            assert_eq!(node.next().await, message(topic, "after"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_comes_although_a_primary_is_lost_on_the_way() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let topics = one_of_each();
    let mut hasty = config(&cluster.url());
    // Long enough for the others on a busy machine, and shorter than the cluster takes to give the primary up.
    hasty.response_timeout = Duration::from_secs(2);
    let mut node = settled(hasty, &topics).await;
    cluster.nodes[1].freeze();
    node.backplane.fence(7);
    assert_eq!(node.next().await, Told::Lost(topics[1].clone()));
    assert_eq!(node.next().await, Told::Fence(7));
    node.backplane.fence(8);
    assert_eq!(node.next().await, Told::Fence(8));
    let port = cluster.nodes[1].port().to_string();
    let state = node.until_state(|state| matches!(state, State::Down { .. })).await;
    assert!(matches!(&state, State::Down { error } if error.contains(&port)), "{state:?}");
    cluster.nodes[1].thaw();
    assert_eq!(node.next().await, Told::Confirmed(topics[1].clone()));
    node.until_state(State::is_up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_is_found() {
    let mut cluster = ClusterProcess::start();
    let topics = one_of_each();
    let mut node = settled(config(&cluster.url()), &topics).await;
    let mut last = HashMap::new();
    for topic in &topics {
        last.insert(topic.clone(), node.backplane.publish_durable(topic, envelope(1), &Keep::default()).await.unwrap());
        assert!(matches!(node.next().await, Told::Message(..)));
    }
    // Stream and head.
    wait_until("the replica has it", || cluster.nodes[3].command(&["DBSIZE"]) == "2");
    cluster.nodes[0].kill();
    assert_eq!(node.next().await, Told::Lost(topics[0].clone()));
    // Nobody takes it, and then the replica does.
    let keep = Keep::default();
    let publish = || node.backplane.publish_durable(&topics[0], envelope(2), &keep);
    assert!(publish().await.is_err());
    cluster.take_over(3);
    let publishing = async {
        loop {
            match publish().await {
                Ok(position) => break position,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let second = tokio::time::timeout(PATIENCE, publishing).await.expect("a new primary");
    node.until(&Told::Confirmed(topics[0].clone())).await;
    node.until_state(State::is_up).await;
    let tail = read(&node, &topics[0], Some(last[&topics[0]])).await;
    assert_eq!((tail.position, tail.events.len()), (second, 1));
    for topic in &topics {
        node.publish(topic, "after").await;
        node.until(&message(topic, "after")).await;
    }
    // It comes back as a replica, and nobody goes back to it.
    cluster.nodes[0].start_again();
    wait_until("it follows", || cluster.nodes[0].command(&["ROLE"]).starts_with("slave"));
    assert_eq!(cluster.subscribers(0, &channel(&topics[0])), 0);
    // And back, on demand.
    wait_until("it may take over", || cluster.is_following(0));
    cluster.take_over(0);
    node.until(&Told::Lost(topics[0].clone())).await;
    node.until(&Told::Confirmed(topics[0].clone())).await;
    node.until_state(State::is_up).await;
    assert_eq!(cluster.subscribers(0, &channel(&topics[0])), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_goes_away_as_a_whole_comes_back() {
    let mut cluster = ClusterProcess::start_primaries(&[]);
    let topics = one_of_each();
    let mut node = settled(config(&cluster.url()), &topics).await;
    for server in &mut cluster.nodes {
        server.kill();
    }
    let mut lost = HashSet::new();
    let reason = loop {
        match node.next().await {
            Told::Lost(topic) => assert!(lost.insert(topic)),
            Told::Down(reason) => break reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(lost, topics.iter().cloned().collect());
    assert!(reason.contains("no node of the cluster answers"), "{reason}");
    node.until_state(|state| matches!(state, State::Down { .. })).await;
    assert!(node.backplane.publish(&topics[0], Bytes::from_static(b"{}")).await.is_err());
    for server in &mut cluster.nodes {
        server.start_again();
    }
    assert_eq!(node.next().await, Told::Up(false));
    node.until_confirmed(&topics).await;
    node.until_state(State::is_up).await;
    for topic in &topics {
        node.publish(topic, "after").await;
        assert_eq!(node.next().await, message(topic, "after"));
        // The library had gone with the servers.
        node.backplane.publish_durable(topic, envelope(1), &Keep::default()).await.unwrap();
        assert!(matches!(node.next().await, Told::Message(..)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_primary_that_thaws_is_not_believed() {
    let cluster = ClusterProcess::start();
    let topics = one_of_each();
    let mut patient = config(&cluster.url());
    // Much longer than the failover takes; so long is waited for the old primary to let go of its topics.
    patient.response_timeout = Duration::from_secs(15);
    let mut node = settled(patient, &topics).await;
    let publisher = settled(config(&cluster.url()), &[]).await;
    cluster.nodes[0].freeze();
    cluster.take_over(3);
    // Nothing of it may come when it is subscribed elsewhere, so it is given up first; the others go on.
    for topic in &topics[1..] {
        publisher.publish(topic, "meanwhile").await;
        assert_eq!(node.next().await, message(topic, "meanwhile"));
    }
    assert_eq!(node.next().await, Told::Lost(topics[0].clone()));
    assert_eq!(node.next().await, Told::Confirmed(topics[0].clone()));
    cluster.nodes[0].thaw();
    wait_until("it has nothing of the node's", || cluster.subscribers(0, &channel(&topics[0])) == 0);
    publisher.publish_when_possible(&topics[0], "fresh").await;
    assert_eq!(node.next().await, message(&topics[0], "fresh"));
    node.until_state(State::is_up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_misses_a_primary_says_so_until_it_is_back() {
    let mut cluster = ClusterProcess::start_primaries(&[]);
    let topics = one_of_each();
    let mut hasty = config(&cluster.url());
    // So long is repeated what the cluster refuses.
    hasty.response_timeout = Duration::from_secs(3);
    let mut node = settled(hasty, &topics[..2]).await;
    cluster.nodes[0].kill();
    assert_eq!(node.next().await, Told::Lost(topics[0].clone()));
    let error = loop {
        match node.backplane.publish_durable(&topics[1], envelope(1), &Keep::default()).await {
            Ok(_) => assert!(matches!(node.next().await, Told::Message(..))),
            // On a busy machine the last attempt may find no answer in time.
            Err(PublishError::Timeout) => {}
            Err(error) => break error.to_string(),
        }
    };
    let expected = "the cluster takes nothing, since not all of its slots are served";
    assert!(error.contains(expected) && error.contains("CLUSTERDOWN"), "{error}");
    assert!(node.backplane.publish(&topics[0], Bytes::from_static(b"{}")).await.is_err());
    // Sharded pub/sub goes on where there is somebody.
    node.want(&topics[2..]).await;
    for topic in &topics[1..] {
        node.publish(topic, "still served").await;
        assert_eq!(node.next().await, message(topic, "still served"));
    }
    let port = cluster.nodes[0].port().to_string();
    node.until_state(|state| matches!(state, State::Down { error } if error.contains(&port))).await;
    cluster.nodes[0].start_again();
    node.until_confirmed(&topics[..1]).await;
    node.until_state(State::is_up).await;
    cluster.until_ok();
    for topic in &topics {
        node.publish(topic, "after").await;
        assert_eq!(node.next().await, message(topic, "after"));
    }
}
