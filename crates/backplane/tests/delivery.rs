//! What a node believes about its own delivery: only what a probe proves. Each story breaks something that no socket
//! shows.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::time::Duration;

use fanfare_backplane::{Backplane, RedisConfig, State};
use fanfare_protocol::TopicKey;

use support::node::{Node, Told, config, message, topic};
use support::redis_server::{RedisProcess, wait_until};
use support::tcp_proxy::TcpProxy;

const UNDELIVERED: &str = "what is published does not come back to this node's subscription";

fn orders() -> TopicKey {
    topic("acme:channel:orders")
}

/// Settings for a server that is soon found out, and not on a busy machine either when it is well.
fn hasty(url: &str) -> RedisConfig {
    RedisConfig { response_timeout: Duration::from_secs(2), ..config(url) }
}

/// A node that is up and has one topic confirmed.
async fn settled(config: RedisConfig) -> Node {
    let mut node = Node::new(Backplane::redis(config));
    node.want(&[orders()]).await;
    node.until_state(State::is_up).await;
    node
}

/// The next thing told is the loss of the connection; what is told meanwhile are confirmations.
async fn next_down(node: &mut Node) -> String {
    match node.next_but_confirmed().await {
        Told::Down(reason) => reason,
        other => panic!("the loss must be told first: {other:?}"),
    }
}

/// After a loss: the topic is subscribed again, and messages flow.
async fn assert_flows(node: &mut Node) {
    node.until_confirmed(&[orders()]).await;
    node.until_state(State::is_up).await;
    node.publish_when_possible(&orders(), "flows").await;
    node.until(&message(&orders(), "flows")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_go_on_coming_and_tell_the_lag() {
    let server = RedisProcess::start();
    let node = settled(RedisConfig { node_id: Some("n-1".to_owned()), ..config(&server.url()) }).await;
    assert_eq!(server.command(&["PUBSUB", "CHANNELS", "fanfare:node:*"]), "fanfare:node:n-1:probe");
    let first = node.backplane.delivery().unwrap();
    wait_until("there is a newer proof", || node.backplane.delivery().unwrap().proved > first.proved);
    wait_until("a probe is back soon", || node.backplane.delivery().unwrap().lag < Duration::from_secs(1));

    // Whatever stands on the channel is not told, and proves nothing.
    for payload in ["", "-", "0000000000000000-9999999"] {
        server.command(&["PUBLISH", "fanfare:node:n-1:probe", payload]);
    }
    server.freeze();
    wait_until("the lag grows", || node.backplane.delivery().unwrap().lag_now() > Duration::from_secs(1));
    server.thaw();
    wait_until("the lag is over", || node.backplane.delivery().unwrap().lag_now() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_the_same_name_do_not_prove_for_each_other() {
    let server = RedisProcess::start();
    let proxy = TcpProxy::before(server.port());
    let named = |config: RedisConfig| RedisConfig { node_id: Some("twin".to_owned()), ..config };
    let healthy = settled(named(config(&server.url()))).await;
    let mut deaf = settled(named(hasty(&proxy.url()))).await;
    proxy.drop_messages(true);
    next_down(&mut deaf).await;
    assert!(healthy.backplane.state().borrow().is_up());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_never_proved_anything_is_not_up() {
    let server = RedisProcess::start();
    let proxy = TcpProxy::before(server.port());
    proxy.drop_messages(true);
    let mut node = Node::new(Backplane::redis(hasty(&proxy.url())));
    node.want(&[orders()]).await;
    let seems_lost = |state: &State| match state {
        State::Connecting { error } => error.as_ref().is_some_and(|error| error.contains(UNDELIVERED)),
        other => panic!("never up before: {other:?}"),
    };
    node.until_state(seems_lost).await;
    // It is tried anew, over and over.
    for _ in 0..2 {
        assert!(node.until_down().await.contains(UNDELIVERED));
    }
    proxy.drop_messages(false);
    assert_flows(&mut node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_whose_messages_vanish_is_found_out_although_redis_answers() {
    let server = RedisProcess::start();
    let proxy = TcpProxy::before(server.port());
    let mut node = settled(hasty(&proxy.url())).await;
    proxy.drop_messages(true);
    let state = node.until_state(|state| !state.is_up()).await;
    let State::Undelivered { error } = state else { panic!("{state:?}") };
    assert!(error.starts_with(&format!("{}: {UNDELIVERED}", proxy.url())), "{error}");
    assert!(node.backplane.can_publish(), "that is not what fails");
    assert!(next_down(&mut node).await.contains(UNDELIVERED));
    proxy.drop_messages(false);
    assert_flows(&mut node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_that_get_lost_for_a_moment_cost_no_connection() {
    let server = RedisProcess::start();
    let proxy = TcpProxy::before(server.port());
    // Until a second probe is missed, a busy machine has time for all that follows.
    let patient = RedisConfig { probe_interval: Some(Duration::from_secs(5)), ..hasty(&proxy.url()) };
    let mut node = settled(patient).await;
    proxy.drop_messages(true);
    node.until_state(|state| matches!(state, State::Undelivered { .. })).await;
    proxy.drop_messages(false);
    node.until_state(State::is_up).await;
    node.publish(&orders(), "still here").await;
    assert_eq!(node.next().await, message(&orders(), "still here"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_subscribed_to_one_server_and_publishing_to_another_comes_together_again() {
    let (old, new) = (RedisProcess::start(), RedisProcess::start());
    let proxy = TcpProxy::before(old.port());
    let mut node = settled(hasty(&proxy.url())).await;
    proxy.lead_to(new.port());
    proxy.cut_others();
    // The old server answers all the while, and so does the new one.
    assert!(next_down(&mut node).await.contains(UNDELIVERED));
    assert_flows(&mut node).await;
    new.command(&["PUBLISH", "fanfare:acme:channel:orders", "from the new one"]);
    assert_eq!(node.next().await, message(&orders(), "from the new one"));
    wait_until("the old server has noticed", || old.command(&["PUBSUB", "CHANNELS"]).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_subscription_beside_an_old_publishing_connection_comes_together_again() {
    let (old, new) = (RedisProcess::start(), RedisProcess::start());
    let proxy = TcpProxy::before(old.port());
    let mut node = settled(hasty(&proxy.url())).await;
    proxy.lead_to(new.port());
    assert_eq!(old.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), "1");
    node.until_down().await;
    // The new connection is fine, and it is the other one that has to go.
    assert_flows(&mut node).await;
    assert_eq!(new.command(&["PUBSUB", "NUMSUB", "fanfare:acme:channel:orders"]).lines().last(), Some("1"));
    wait_until("nothing is left on the old server", || {
        old.command(&["CLIENT", "LIST"]).lines().filter(|line| line.contains("lib-name=fanfare")).count() == 0
            && old.command(&["CLIENT", "LIST"]).lines().count() == 1
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pub_sub_connection_that_is_dead_in_one_direction_is_replaced() {
    let server = RedisProcess::start();
    for is_deaf in [true, false] {
        let proxy = TcpProxy::before(server.port());
        let mut node = settled(hasty(&proxy.url())).await;
        let set = |is_dead| if is_deaf { proxy.deafen_subscribers(is_dead) } else { proxy.mute_subscribers(is_dead) };
        set(true);
        let reason = next_down(&mut node).await;
        assert!(reason.ends_with("Redis did not answer for 2s"), "{reason}");
        set(false);
        assert_flows(&mut node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_publishing_connection_nothing_is_proved_and_the_subscription_goes_on() {
    let server = RedisProcess::start();
    let proxy = TcpProxy::before(server.port());
    let mut node = settled(hasty(&proxy.url())).await;
    proxy.refuse(true);
    proxy.cut_others();
    let state = node.until_state(|state| !state.is_up()).await;
    let State::Unproven { error } = state else { panic!("{state:?}") };
    assert!(error.starts_with("there is no connection to publish a probe over"), "{error}");
    assert!(error.contains(&format!("{}: it closed the connection during the handshake", proxy.url())), "{error}");
    assert!(!node.backplane.can_publish());
    for number in 0..3 {
        server.command(&["PUBLISH", "fanfare:acme:channel:orders", &number.to_string()]);
        assert_eq!(node.next().await, message(&orders(), number.to_string()));
    }
    proxy.refuse(false);
    node.until_state(State::is_up).await;
    node.publish_when_possible(&orders(), "back").await;
    assert_eq!(node.next().await, message(&orders(), "back"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_use_the_probes_channel_is_told_so() {
    let server = RedisProcess::start();
    server.command(&["ACL", "SETUSER", "node", "on", ">hunter2", "+@all", "resetchannels", "&fanfare:acme:*"]);
    let mut restricted = hasty(&server.url_with("node", "hunter2"));
    restricted.node_id = Some("n-1".to_owned());
    let mut node = Node::new(Backplane::redis(restricted));
    node.want(&[orders()]).await;
    let told = |error: &str| {
        let start = format!("{}: it refuses the channel fanfare:node:n-1:probe, ", server.url());
        assert!(error.starts_with(&start) && error.contains("&fanfare:node:*") && error.contains("NOPERM"), "{error}");
    };
    let state = node.until_state(|state| *state != State::Connecting { error: None }).await;
    let State::Connecting { error: Some(error) } = state else { panic!("{state:?}") };
    told(&error);
    // It stays connected, and messages flow all the same.
    node.publish_when_possible(&orders(), "unproved").await;
    assert_eq!(node.next().await, message(&orders(), "unproved"));
    server.command(&["ACL", "SETUSER", "node", "&fanfare:node:*"]);
    node.until_state(State::is_up).await;

    // Publishing alone can be denied as well: here while the node runs, without a word to it.
    server.command(&["ACL", "SETUSER", "node", "-publish"]);
    let State::Unproven { error } = node.until_state(|state| !state.is_up()).await else { panic!("not unproven") };
    told(&error);
    server.command(&["PUBLISH", "fanfare:acme:channel:orders", "from elsewhere"]);
    assert_eq!(node.next().await, message(&orders(), "from elsewhere"));
    server.command(&["ACL", "SETUSER", "node", "+publish"]);
    node.until_state(State::is_up).await;

    // Redis closes the connections of a user who loses a channel.
    server.command(&["ACL", "SETUSER", "node", "resetchannels", "&fanfare:acme:*"]);
    node.until_down().await;
    let State::Unproven { error } = node.until_state(|state| matches!(state, State::Unproven { .. })).await else {
        unreachable!()
    };
    told(&error);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_becomes_a_replica_is_left() {
    let (server, other) = (RedisProcess::start(), RedisProcess::start());
    let mut node = settled(config(&server.url())).await;
    server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    let reason = next_down(&mut node).await;
    assert!(reason.contains("it has become a replica"), "{reason}");
    let is_told = |state: &State| matches!(state, State::Down { error } if error.contains("it is a replica, where"));
    node.until_state(is_told).await;
    wait_until("the publishing connection is given up too", || !node.backplane.can_publish());
    server.command(&["REPLICAOF", "NO", "ONE"]);
    assert_flows(&mut node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_wants_no_proof_publishes_none() {
    let server = RedisProcess::start();
    let node = settled(RedisConfig { probe_interval: None, ..config(&server.url()) }).await;
    assert_eq!(node.backplane.delivery(), None);
    assert_eq!(server.command(&["PUBSUB", "CHANNELS"]), "fanfare:acme:channel:orders");
}
