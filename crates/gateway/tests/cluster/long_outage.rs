//! Redis is away for two minutes, and no node is ever taken from its service. The one test whose subject is time.

use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::outages::{AT_ONCE, expect_another_history, expect_flow};
use crate::support::{RedisProcess, token};
use crate::{subscriber, two_nodes, until_status};

/// Longer than all waits of a node, and than what an orchestrator is patient with.
const OUTAGE: Duration = Duration::from_mins(2);

/// An orchestrator's probes come no more often.
const PROBE: Duration = Duration::from_secs(1);

/// The clients here read nothing meanwhile, and so answer no ping.
const NO_PINGS: (&str, &str) = ("FANFARE_PING_MS", "300000");

#[tokio::test]
async fn two_minutes_without_redis_take_no_node_from_its_service() {
    let mut redis = RedisProcess::start();
    let nodes = two_nodes(&redis, &[AT_ONCE, NO_PINGS]).await;
    let mut clients = Vec::new();
    for node in &nodes {
        clients.push(subscriber(node, &token("acme", "1"), "channel:orders").await);
    }
    redis.kill();
    for node in &nodes {
        until_status(node, "/readyz", 503).await;
    }
    let end = Instant::now() + OUTAGE;
    let mut probes = interval(PROBE);
    while probes.tick().await < end {
        for node in &nodes {
            for path in ["/healthz", "/readyz/node"] {
                let reply = node.get(path).await;
                assert_eq!(reply.status, 200, "{path}: {reply:?}");
            }
        }
    }
    redis.start_again();
    for (node, client) in nodes.iter().zip(&mut clients) {
        until_status(node, "/readyz", 200).await;
        expect_another_history(client, &["tenant", "user:1", "channel:orders"]).await;
    }
    for client in &mut clients {
        expect_flow(&redis, client, "channel:orders").await;
    }
}
