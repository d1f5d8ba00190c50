//! What nodes share beside events: channels of their own, which tokens are revoked, how each node is.

use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare_backplane::NodeReport;
use fanfare_protocol::{ChannelKind, Tenant, TopicKey};

use crate::World;
use crate::support::node::{Node, PATIENCE, message, topic};

const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(50);

fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

async fn revoked(node: &Node, tokens: &[(&str, &str)]) -> Vec<bool> {
    let tenants: Vec<_> = tokens.iter().map(|(_, name)| tenant(name)).collect();
    let tokens: Vec<_> = tokens.iter().map(|(id, _)| *id).zip(&tenants).collect();
    node.backplane.revoked(&tokens).await.unwrap()
}

async fn report(node: &Node, id: &str, text: &'static str, ttl: Duration) {
    node.backplane.report(id, Bytes::from_static(text.as_bytes()), ttl).await.unwrap();
}

async fn reports(node: &Node) -> Vec<(String, Bytes)> {
    let reports = node.backplane.reports().await.unwrap();
    reports.into_iter().map(|NodeReport { node, report }| (node, report)).collect()
}

/// Waits for what time alone brings about.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) async fn channels_of_the_nodes_own_carry_messages_and_meet_no_topic(world: World) {
    let orders = topic("acme:channel:orders");
    let acme = tenant("acme");
    let channels = [
        orders.presence(),
        topic("acme:tenant").presence(),
        TopicKey::replies(&acme, "node-1"),
        TopicKey::replies(&acme, "node-2"),
        TopicKey::replies(&tenant("globex"), "node-1"),
        TopicKey::control(),
    ];
    let mut listens = world.node().await;
    let mut on_topic = world.node().await;
    let publisher = world.node().await;
    listens.want(&channels).await;
    on_topic.want(std::slice::from_ref(&orders)).await;
    for channel in &channels {
        assert_ne!(channel.channel_kind(), ChannelKind::Topic);
        for text in ["first", "second"] {
            publisher.publish(channel, text).await;
            assert_eq!(listens.next().await, message(channel, text));
        }
    }
    // What comes next shows that nothing else was on its way.
    publisher.publish(&orders, "an event").await;
    assert_eq!(on_topic.next().await, message(&orders, "an event"));
    publisher.publish(&TopicKey::control(), "last").await;
    assert_eq!(listens.next().await, message(&TopicKey::control(), "last"));
}

pub(super) async fn every_node_hears_what_concerns_all(world: World) {
    let control = TopicKey::control();
    let mut nodes = [world.node().await, world.node().await, world.node().await];
    for node in &mut nodes {
        node.want(std::slice::from_ref(&control)).await;
    }
    nodes[1].publish(&control, "to all").await;
    for node in &mut nodes {
        assert_eq!(node.next().await, message(&control, "to all"));
    }
}

pub(super) async fn a_channel_that_is_not_wanted_any_more_is_silent(world: World) {
    // In a cluster they share a slot, so they come in order.
    let orders = topic("acme:channel:orders");
    let presence = orders.presence();
    let mut node = world.node().await;
    let publisher = world.node().await;
    node.want(&[presence.clone(), orders.clone()]).await;
    node.backplane.unwant(std::slice::from_ref(&presence));
    // Messages on their way may still come, so publish until one does not.
    for number in 0.. {
        assert!(number < 10_000, "the channel is still delivered");
        publisher.publish(&presence, "not wanted").await;
        publisher.publish(&orders, "wanted").await;
        if node.next().await == message(&orders, "wanted") {
            break;
        }
        assert_eq!(node.next().await, message(&orders, "wanted"));
    }
}

pub(super) async fn a_revoked_token_is_known_to_every_node(world: World) {
    let (one, two) = (world.node().await, world.node().await);
    let asked = [("t-1", "acme"), ("t-2", "acme"), ("t-1", "globex"), ("t-2", "globex"), ("t-3", "acme"), ("", "acme")];
    assert_eq!(revoked(&two, &asked).await, [false; 6]);
    one.backplane.revoke("t-1", None, LONG).await.unwrap();
    one.backplane.revoke("t-2", Some(&tenant("acme")), LONG).await.unwrap();
    for node in [&one, &two] {
        assert_eq!(revoked(node, &asked).await, [true, true, true, false, false, false]);
    }
    assert!(revoked(&one, &[]).await.is_empty());
    // What is said last counts.
    two.backplane.revoke("t-2", None, LONG).await.unwrap();
    assert_eq!(revoked(&one, &[("t-2", "globex")]).await, [true]);
}

pub(super) async fn any_text_is_the_id_of_a_token_and_no_other(world: World) {
    let node = world.node().await;
    let ids = ["*", "a b", "{a}", "ü\r\n", "acme", &"x".repeat(256), ":"];
    for (index, id) in ids.iter().enumerate() {
        let asked: Vec<_> = ids.iter().map(|id| (*id, "acme")).collect();
        let expected: Vec<_> = (0..ids.len()).map(|other| other < index).collect();
        assert_eq!(revoked(&node, &asked).await, expected, "{id:?}");
        node.backplane.revoke(id, None, LONG).await.unwrap();
    }
}

pub(super) async fn many_tokens_are_asked_about_at_once_and_answered_in_order(world: World) {
    const TOKENS: usize = 1_000;
    let node = world.node().await;
    let ids: Vec<_> = (0..TOKENS).map(|number| format!("t-{number}")).collect();
    for id in ids.iter().step_by(7) {
        node.backplane.revoke(id, None, LONG).await.unwrap();
    }
    let asked: Vec<_> = ids.iter().map(|id| (id.as_str(), "acme")).collect();
    let expected: Vec<_> = (0..TOKENS).map(|number| number % 7 == 0).collect();
    assert_eq!(revoked(&node, &asked).await, expected);
}

pub(super) async fn a_revoked_token_is_forgotten_in_time(world: World) {
    let node = world.node().await;
    node.backplane.revoke("long", None, LONG).await.unwrap();
    node.backplane.revoke("short", None, SHORT).await.unwrap();
    until("it is forgotten", async || revoked(&node, &[("short", "acme")]).await == [false]).await;
    assert_eq!(revoked(&node, &[("long", "acme")]).await, [true]);
}

pub(super) async fn what_a_node_reports_is_read_by_all_until_it_is_silent(world: World) {
    let (one, two) = (world.node().await, world.node().await);
    assert_eq!(reports(&one).await, []);
    report(&two, "b.node", "first", LONG).await;
    report(&one, "a-node", "\u{0}{}", LONG).await;
    report(&two, "b.node", "second", LONG).await;
    let expected =
        [("a-node".to_owned(), Bytes::from_static(b"\0{}")), ("b.node".to_owned(), Bytes::from_static(b"second"))];
    for node in [&one, &two] {
        assert_eq!(reports(node).await, expected);
    }
    // One that leaves without a word is there until its time is over.
    report(&two, "b.node", "last", SHORT).await;
    drop(two);
    until("it is forgotten", async || reports(&one).await.len() == 1).await;
    report(&one, "a-node", "alone", LONG).await;
    assert_eq!(reports(&one).await, [("a-node".to_owned(), Bytes::from_static(b"alone"))]);
}
