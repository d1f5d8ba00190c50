//! How fast a node that ends sends its clients away: as fast as the other nodes say that they take them; and what the others
//! are told of it.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{Client, Node, RedisProcess, in_time, token, until};
use crate::{subscriber, until_count};

/// Node `id`, which takes over `budget` clients a second, and has told so.
async fn node(redis: &RedisProcess, id: &str, budget: &str, settings: &[(&str, &str)]) -> Node {
    let named = [("FANFARE_NODE_ID", id), ("FANFARE_ACCEPT_BUDGET_PER_S", budget)];
    let node = Node::start_on(&redis.url(), &[&named, settings].concat()).await;
    until("it has reported", async || told(redis, id)["phase"] == "serving").await;
    node
}

/// What a node told last.
fn told(redis: &RedisProcess, id: &str) -> Value {
    serde_json::from_str(&redis.command(&["GET", &format!("fanfare:node:{id}")])).unwrap_or_default()
}

/// Notes when each of these clients is sent away.
struct Watched(JoinSet<Instant>);

impl Watched {
    async fn connect(nodes: &[&Node], clients: usize) -> Watched {
        let mut watched = JoinSet::new();
        for client in 0..clients {
            for node in nodes {
                let mut client = Client::connect(node, &token("acme", &client.to_string())).await;
                watched.spawn(async move {
                    assert_eq!(client.expect_disconnect(1012).await["reason"], "draining");
                    Instant::now()
                });
            }
        }
        Watched(watched)
    }

    /// When the last of them was.
    async fn sent_away(self) -> Instant {
        in_time("all are sent away", self.0.join_all()).await.into_iter().max().unwrap()
    }
}

/// The time between two clients, as the log told it at the start.
async fn gap_ms(node: &Node) -> f64 {
    let line = node.logged("sending clients away").await;
    let gap = line.split("gap_ms=").nth(1).and_then(|rest| rest.split_whitespace().next());
    gap.unwrap().parse().unwrap()
}

fn is_about(actual: f64, expected: f64) -> bool {
    (actual - expected).abs() < expected / 20.0
}

/// `clients` of a node that ends leave at `per_s`, where other nodes have these budgets.
async fn leave_at(budgets: &[&str], clients: usize, per_s: f64) {
    // In the delay the node learns of the others.
    const DELAY: Duration = Duration::from_secs(2);
    let redis = RedisProcess::start();
    let mut others = Vec::new();
    for (id, budget) in ["one", "two"].into_iter().zip(budgets) {
        others.push(node(&redis, id, budget, &[]).await);
    }
    let settings = [("FANFARE_DRAIN_DELAY_S", "2"), ("FANFARE_DRAIN_S", "600")];
    let mut leaves = node(&redis, "leaves", "1", &settings).await;
    let watched = Watched::connect(&[&leaves], clients).await;
    let signalled = Instant::now();
    leaves.signal("-TERM");
    // Measured from the earliest moment at which the first may go: what comes late to this test only makes it longer.
    let took = watched.sent_away().await.saturating_duration_since(signalled + DELAY);
    assert!(took > least(clients, per_s), "{clients} clients for {budgets:?} in {took:?}");
    assert!(is_about(gap_ms(&leaves).await, 1_000.0 / per_s), "{}", leaves.log());
    assert_eq!(leaves.ended().await.code(), Some(0));
    assert!(!leaves.log().contains("faster than the other nodes are ready"), "{}", leaves.log());
}

/// From the first to the last of so many clients, but for what a node makes up for when it was held up.
fn least(clients: usize, per_s: f64) -> Duration {
    Duration::from_secs_f64(f64::from(u32::try_from(clients).unwrap() - 1) / per_s * 0.8)
}

#[tokio::test]
async fn clients_leave_as_fast_as_the_others_can_take_them() {
    tokio::join!(leave_at(&["20"], 10, 14.0), leave_at(&["20"], 30, 14.0), leave_at(&["20", "60"], 30, 56.0));
}

#[tokio::test]
async fn nodes_that_drain_together_share_what_the_others_can_take() {
    const EACH: usize = 12;
    const DELAY: Duration = Duration::from_secs(4);
    let redis = RedisProcess::start();
    let _stays = node(&redis, "stays", "20", &[]).await;
    // In the delay they learn of each other.
    let settings = [("FANFARE_DRAIN_DELAY_S", "4"), ("FANFARE_DRAIN_S", "600")];
    let mut one = node(&redis, "one", "500", &settings).await;
    let mut two = node(&redis, "two", "500", &settings).await;
    let watched = Watched::connect(&[&one, &two], EACH).await;
    until("both have told what they hold", async || {
        ["one", "two"].iter().all(|id| told(&redis, id)["connections"] == EACH)
    })
    .await;
    let signalled = Instant::now();
    for node in [&one, &two] {
        node.signal("-TERM");
    }
    let took = watched.sent_away().await.saturating_duration_since(signalled + DELAY);
    assert!(took > least(2 * EACH, 14.0), "{took:?}");
    for node in [&mut one, &mut two] {
        assert!(is_about(gap_ms(node).await, 1_000.0 / 7.0), "{}", node.log());
        assert_eq!(node.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn with_too_little_time_clients_go_faster_and_the_log_says_what_to_raise() {
    let redis = RedisProcess::start();
    let _slow = node(&redis, "slow", "1", &[]).await;
    let mut leaves = node(&redis, "leaves", "1", &[("FANFARE_DRAIN_S", "2")]).await;
    let watched = Watched::connect(&[&leaves], 20).await;
    leaves.signal("-TERM");
    watched.sent_away().await;
    assert_eq!(leaves.ended().await.code(), Some(0));
    let warning = leaves.logged("clients go faster than the other nodes are ready to take them").await;
    assert!(warning.contains("raise drain_s") && warning.contains("accept_budget_per_s"), "{warning}");
}

#[tokio::test]
async fn a_node_tells_what_it_takes_and_where_it_stands() {
    let redis = RedisProcess::start();
    let settings = [("FANFARE_DRAIN_DELAY_S", "600"), ("FANFARE_CONNECTIONS_MAX", "70")];
    let node = node(&redis, "tells", "20", &settings).await;
    let serving = told(&redis, "tells");
    assert_eq!((&serving["accept_budget_per_s"], &serving["connections_max"]), (&20.into(), &70.into()));
    node.signal("-TERM");
    until("it tells that it leaves", async || told(&redis, "tells")["phase"] == "leaving").await;
}

#[tokio::test]
async fn clients_that_are_cut_off_are_told_to_the_nodes_that_stay() {
    const SERIES: &str = "fanfare_drain_forced_closes_total";
    let redis = RedisProcess::start();
    let stay = [node(&redis, "one", "500", &[]).await, node(&redis, "two", "500", &[]).await];
    let mut ends =
        node(&redis, "ends", "500", &[("FANFARE_CLOSE_TIMEOUT_MS", "600000"), ("FANFARE_DRAIN_S", "1")]).await;
    let deaf =
        [subscriber(&ends, &token("acme", "1"), "channel:a").await, Client::connect(&ends, &token("acme", "2")).await];
    deaf.iter().for_each(Client::stop_reading);
    until("all hear each other", async || redis.command(&["PUBSUB", "NUMSUB", "fanfare:control"]).ends_with('3')).await;
    for node in &stay {
        until_count(node, SERIES, 0).await;
    }
    ends.signal("-TERM");
    assert_eq!(ends.ended().await.code(), Some(0));
    assert!(ends.logged("clients cut off: drain_s is over").await.contains("clients=2"), "{}", ends.log());
    for node in &stay {
        until_count(node, SERIES, 2).await;
        let line = node.logged("a node has cut clients off").await;
        assert!(line.contains("ends") && line.contains("clients=2"), "{line}");
    }
}
