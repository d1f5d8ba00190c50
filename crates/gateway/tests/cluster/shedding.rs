//! A node is added, and those with well more clients than the mean send it some of theirs; if they were told to.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;

use crate::count;
use crate::support::{Client, Node, RedisProcess, in_time, token, until};

/// Clients of each node that was there before.
const EACH: usize = 80;

/// Clients a second that a node is ready to take over; 70 % of it is used.
const BUDGET: &str = "8";
const PER_S: f64 = 5.6;

async fn clients(node: &Node, name: &str) -> JoinSet<(Instant, Value)> {
    let mut watched = JoinSet::new();
    for number in 0..EACH {
        let mut client = Client::connect(node, &token("acme", &format!("{name}-{number}"))).await;
        watched.spawn(async move {
            // Until it is sent away it gets nothing but pings.
            let told = loop {
                let message = client.message().await;
                if message["op"] == "disconnect" {
                    break message;
                }
            };
            let at = Instant::now();
            client.expect_close().await;
            (at, told)
        });
    }
    watched
}

#[tokio::test]
async fn clients_are_sent_to_a_node_that_was_added_slowly_and_only_where_it_is_on() {
    let redis = RedisProcess::start();
    let budget = ("FANFARE_ACCEPT_BUDGET_PER_S", BUDGET);
    let sheds = Node::start_on(&redis.url(), &[budget, ("FANFARE_SHED", "true")]).await;
    let keeps = Node::start_on(&redis.url(), &[budget]).await;
    let mut shed = clients(&sheds, "sheds").await;
    let mut kept = clients(&keeps, "keeps").await;
    let added = Node::start_on(&redis.url(), &[budget, ("FANFARE_SHED", "true")]).await;

    // The mean is 53; near enough is 58.
    let mut moved = Vec::new();
    let mut at = Vec::new();
    while EACH - moved.len() > 60 {
        let (when, told) = in_time("a client is sent away", shed.join_next()).await.unwrap().unwrap();
        assert_eq!((&told["code"], &told["reason"]), (&1012.into(), &"rebalancing".into()), "{told}");
        assert!(told["after_ms"].as_u64().is_some_and(|after_ms| (1..1_000).contains(&after_ms)), "{told}");
        at.push(when);
        moved.push(Client::connect(&added, &token("acme", &format!("moved-{}", at.len()))).await);
    }
    // Two nodes have too many, so each sheds at half the pace, whether the other does or not.
    let least = Duration::from_secs_f64(f64::from(u32::try_from(at.len()).unwrap() - 1) / (PER_S / 2.0) * 0.8);
    assert!(at[at.len() - 1] - at[0] > least, "{} in {:?}", at.len(), at[at.len() - 1] - at[0]);
    until("those who went are counted", async || sheds.metric("fanfare_shed_total").await >= 20.0).await;
    assert!(sheds.log().contains("more clients than other nodes have: sending some away"), "{}", sheds.log());

    // The others stayed where they were.
    for node in [&keeps, &added] {
        assert_eq!(count(node, "fanfare_shed_total").await, "0");
    }
    assert!(kept.try_join_next().is_none());
    assert_eq!(count(&keeps, r#"fanfare_connections{tenant="acme"}"#).await, EACH.to_string());
}
