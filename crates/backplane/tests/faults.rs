//! What a node on a real Redis is told when something breaks: every loss, and when messages are complete again.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use fanfare_backplane::{Backplane, PublishError, RedisConfig, State};
use fanfare_protocol::TopicKey;

use support::node::{Node, Told, config, message, topic};
use support::redis_server::{RedisProcess, wait_until};

const KIB: usize = 1024;

/// A message of a KiB.
fn numbered(number: usize) -> String {
    format!("{number:0KIB$}")
}

fn orders() -> TopicKey {
    topic("acme:channel:orders")
}

/// A node that wants two topics, has them confirmed, and can publish.
async fn settled(config: RedisConfig) -> (Node, [TopicKey; 2]) {
    let topics = [orders(), topic("acme:user:42")];
    let mut node = Node::new(Backplane::redis(config));
    assert_eq!(node.next().await, Told::Up(true));
    node.want(&topics).await;
    node.until_state(State::is_up).await;
    node.publish_when_possible(&topic("nobody:channel:warm-up"), "{}").await;
    (node, topics)
}

/// For a node that is no more than its publishing connection.
fn without_probes(server: &RedisProcess) -> RedisConfig {
    RedisConfig { probe_interval: None, ..config(&server.url()) }
}

/// The connection is back, and what the node wants is complete again.
async fn assert_returns(node: &mut Node, topics: &[TopicKey]) {
    assert_eq!(node.next().await, Told::Up(false));
    node.until_confirmed(topics).await;
    node.until_state(State::is_up).await;
    for topic in topics {
        node.publish_when_possible(topic, "back").await;
        assert_eq!(node.next_but_confirmed().await, message(topic, "back"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_is_down_at_the_start_is_found_when_it_comes() {
    let mut server = RedisProcess::not_started(&[]);
    let mut node = Node::new(Backplane::redis(config(&server.url())));
    node.backplane.want(&[orders()]);
    let state = node.until_state(|state| *state != State::Connecting { error: None }).await;
    let error = format!("{}: connection refused: is Redis running there, and is the port right?", server.url());
    assert_eq!(state, State::Connecting { error: Some(error) });
    assert_eq!(node.backplane.publish(&orders(), Bytes::new()).await, Err(PublishError::Unavailable));

    server.start_again();
    assert_eq!(node.next().await, Told::Up(true));
    assert_eq!(node.next().await, Told::Confirmed(orders()));
    node.until_state(State::is_up).await;
    node.publish_when_possible(&orders(), "hello").await;
    assert_eq!(node.next().await, message(&orders(), "hello"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_is_a_loss_and_then_everything_is_confirmed_again() {
    let mut server = RedisProcess::start();
    let (mut node, topics) = settled(config(&server.url())).await;
    server.kill();
    let reason = node.until_down().await;
    assert!(reason.starts_with(&server.url()), "{reason}");
    assert!(matches!(node.until_state(|state| !state.is_up()).await, State::Down { .. }));
    // What is wanted and not wanted meanwhile counts from the next connection on.
    let [kept, given_up] = topics;
    let new = topic("acme:channel:new");
    node.backplane.unwant(std::slice::from_ref(&given_up));
    node.backplane.want(std::slice::from_ref(&new));
    server.start_again();
    assert_returns(&mut node, &[kept, new]).await;
    assert_eq!(server.command(&["PUBLISH", &format!("fanfare:{}", given_up.as_str()), "x"]), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_connection_is_replaced() {
    let server = RedisProcess::start();
    let (mut node, topics) = settled(config(&server.url())).await;
    for _ in 0..5 {
        assert_eq!(server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), "1");
        let Told::Down(reason) = node.next().await else { panic!("the loss must be told first") };
        assert!(reason.contains("Redis closed the connection"), "{reason}");
        assert_returns(&mut node, &topics).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_publishing_connection_is_replaced_and_loses_no_subscription() {
    let server = RedisProcess::start();
    let (mut node, topics) = settled(config(&server.url())).await;
    for _ in 0..5 {
        // The command that asks is a normal client too, and spared.
        assert_eq!(server.command(&["CLIENT", "KILL", "TYPE", "normal"]), "1");
        node.publish_when_possible(&topics[0], "still here").await;
        assert_eq!(node.next().await, message(&topics[0], "still here"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_noticed_by_its_silence() {
    let server = RedisProcess::start();
    let mut hasty = config(&server.url());
    hasty.response_timeout = Duration::from_secs(2);
    let (mut node, topics) = settled(hasty).await;
    server.freeze();
    let error = node.backplane.publish(&topics[0], Bytes::new()).await.unwrap_err();
    assert!(matches!(error, PublishError::Timeout | PublishError::Unavailable), "{error:?}");
    let Told::Down(reason) = node.next().await else { panic!("the loss must be told first") };
    assert!(reason.ends_with("Redis did not answer for 2s"), "{reason}");
    // The kernel still takes connections for it.
    let no_answer = |state: &State| matches!(state, State::Down { error } if error.contains("answered nothing within"));
    node.until_state(no_answer).await;
    server.thaw();
    // What was published while it hung may arrive, before the loss is over or after.
    node.until(&Told::Up(false)).await;
    node.until_confirmed(&topics).await;
    node.publish_when_possible(&topics[1], "back").await;
    node.until(&message(&topics[1], "back")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_falls_behind_holds_its_bound_and_loses_nothing() {
    const MESSAGES: usize = 20 * KIB;
    let server = RedisProcess::start();
    let mut small = config(&server.url());
    small.inbox_bytes_max = 1024 * KIB;
    small.response_timeout = Duration::from_secs(2);
    let bound = small.inbox_bytes_max + 64 * KIB;
    let (mut node, topics) = settled(small).await;
    let publisher = Node::new(Backplane::redis(without_probes(&server)));
    publisher.publish_when_possible(&topic("nobody:channel:warm-up"), "{}").await;
    let client = subscribers(&server);
    assert_eq!(client.len(), 1);

    for number in 0..MESSAGES {
        publisher.publish(&topics[0], &numbered(number)).await;
        assert!(node.waiting_bytes() <= bound);
    }
    // Held back for much longer than an answer may take: silence of our own is not taken for Redis's.
    wait_until("the connection has been idle for six seconds", || {
        subscribers(&server).first().is_some_and(|client| client.idle_s >= 6)
    });
    assert_eq!(subscribers(&server)[0].id, client[0].id);
    assert_eq!(*node.backplane.state().borrow(), State::Up, "its probe waits behind its own full inbox");
    assert!(node.waiting_bytes() <= bound);
    for number in 0..MESSAGES {
        assert_eq!(node.next().await, message(&topics[0], numbered(number)));
    }
    publisher.publish(&topics[0], "last").await;
    assert_eq!(node.next().await, message(&topics[0], "last"));
    assert_eq!(subscribers(&server)[0].id, client[0].id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_redis_drops_for_falling_behind_is_told() {
    let server = RedisProcess::start_with(&["--client-output-buffer-limit", "pubsub 1mb 1mb 0"]);
    let mut small = config(&server.url());
    small.inbox_bytes_max = 1024 * KIB;
    let bound = small.inbox_bytes_max + 64 * KIB;
    let (mut node, topics) = settled(small).await;
    let publisher = Node::new(Backplane::redis(without_probes(&server)));
    publisher.publish_when_possible(&topic("nobody:channel:warm-up"), "{}").await;

    let mut sent = 0;
    while !subscribers(&server).is_empty() {
        for _ in 0..KIB {
            publisher.publish(&topics[0], &numbered(sent)).await;
            sent += 1;
        }
        assert!(node.waiting_bytes() <= bound);
        assert!(sent < 100 * KIB, "Redis never drops the connection");
    }
    let mut received = 0;
    let reason = loop {
        match node.next().await {
            Told::Down(reason) => break reason,
            told => assert_eq!(told, message(&topics[0], numbered(received))),
        }
        received += 1;
    };
    assert!(received < sent, "nothing was lost, so nothing was shown");
    assert!(reason.starts_with(&server.url()), "{reason}");
    assert_returns(&mut node, &topics).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_topics_come_back_too() {
    let topics: Vec<_> = (0..100_000).map(|number| topic(&format!("acme:channel:{number}"))).collect();
    let server = RedisProcess::start();
    let mut node = Node::new(Backplane::redis(config(&server.url())));
    assert_eq!(node.next().await, Told::Up(true));
    node.want(&topics).await;

    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    node.until_down().await;
    assert_eq!(node.next().await, Told::Up(false));
    node.until_confirmed(&topics).await;
    node.until_state(State::is_up).await;
    // And the channel of the node's probes.
    assert_eq!(subscribers(&server)[0].subscriptions, topics.len() + 1);

    node.backplane.unwant(&topics);
    wait_until("Redis knows no other subscription any more", || subscribers(&server)[0].subscriptions == 1);
}

/// A connection with subscriptions, as Redis sees it.
struct Subscriber {
    id: u64,
    idle_s: u64,
    subscriptions: usize,
}

fn subscribers(server: &RedisProcess) -> Vec<Subscriber> {
    let number = |line: &str, field: &str| -> u64 {
        let value = line.split(' ').find_map(|word| word.strip_prefix(field)).unwrap();
        value.parse().unwrap()
    };
    let list = server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    let lines = list.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| Subscriber {
            id: number(line, "id="),
            idle_s: number(line, "idle="),
            subscriptions: usize::try_from(number(line, "sub=")).unwrap(),
        })
        .collect()
}
