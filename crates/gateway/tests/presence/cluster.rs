//! On a Redis Cluster each topic's presence is where the topic is.

use crate::support::redis_cluster::{ClusterProcess, first_owner, slot_of};
use crate::support::{Client, token};
use crate::{SHORT, node_on, subscribe, until_there};

/// A channel that comes from this primary.
fn channel_of(primary: usize) -> String {
    let mut topics = (0..).map(|number| format!("channel:board.{number}"));
    topics.find(|topic| first_owner(slot_of(&format!("fanfare:acme:{topic}"))) == primary).unwrap()
}

#[tokio::test]
async fn presence_goes_with_the_topics_and_outlives_a_move_and_a_dead_node() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let one = node_on(&cluster.url(), &[SHORT]).await;
    let mut two = node_on(&cluster.url(), &[SHORT]).await;
    let topics = [0, 1, 2].map(channel_of);
    let mut ana = Client::connect(&one, &token("acme", "ana")).await;
    let mut bo = Client::connect(&two, &token("acme", "bo")).await;
    for topic in &topics {
        subscribe(&mut ana, topic).await;
        until_there(&mut ana, topic, &["ana"]).await;
        subscribe(&mut bo, topic).await;
        let joined = ana.skip_to("joined").await;
        assert_eq!((joined["topic"].as_str(), joined["user"].as_str()), (Some(topic.as_str()), Some("bo")));
        until_there(&mut ana, topic, &["ana", "bo"]).await;
    }
    cluster.move_slot(slot_of(&format!("fanfare:acme:{}", topics[0])), 0, 1);
    until_there(&mut ana, &topics[0], &["ana", "bo"]).await;
    two.kill();
    let mut left = Vec::new();
    while left.len() < 3 {
        let told = ana.skip_to("left").await;
        assert_eq!(told["user"], "bo");
        left.push(told["topic"].as_str().unwrap().to_owned());
    }
    left.sort();
    let mut expected = topics.to_vec();
    expected.sort();
    assert_eq!(left, expected);
    for topic in &topics {
        until_there(&mut ana, topic, &["ana"]).await;
    }
}
