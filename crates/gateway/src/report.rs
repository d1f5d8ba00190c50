//! What a node tells the others of itself every few seconds: figures, and nothing about a user.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::Phase;
use crate::node::Node;

/// How often it is told.
const INTERVAL: Duration = Duration::from_secs(2);

/// Until it is told again when it was not taken, as by a backplane that is not connected yet.
const RETRY: Duration = Duration::from_millis(200);

/// A node that hasn't reported for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// Tenants in a report, those with the most connections: about 40 KB.
const TENANTS_MAX: usize = 1_000;

/// One node, as it says itself. Newer nodes may say more, and older ones less.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Its id.
    pub(crate) node: String,
    /// Of the program.
    pub(crate) version: String,
    /// Since its start.
    pub(crate) uptime_s: u64,
    /// Open client connections, those without a token included.
    pub(crate) connections: u64,
    /// Of those with a token, by tenant.
    pub(crate) tenants: BTreeMap<String, u64>,
    /// Tenants that have connections and no room in the report.
    #[serde(default)]
    pub(crate) tenants_left_out: u64,
    /// Where it stands. Older nodes don't say.
    #[serde(default)]
    pub(crate) phase: Option<Phase>,
    /// Connections that it may have. Older nodes don't say.
    #[serde(default)]
    pub(crate) connections_max: Option<u64>,
    /// Clients a second that it is ready to take over from others. Older nodes don't say.
    #[serde(default)]
    pub(crate) accept_budget_per_s: Option<u32>,
}

impl Report {
    /// How the node is now.
    pub(crate) fn of(node: &Node) -> Report {
        let mut counts = Vec::new();
        // Whoever connects waits meanwhile, so no more than is needed is done here.
        node.admission.by_tenant(|tenant, count| counts.push((tenant.clone(), count as u64)));
        counts.sort_by(|(one, one_count), (other, other_count)| {
            other_count.cmp(one_count).then_with(|| one.as_str().cmp(other.as_str()))
        });
        let left_out = counts.len().saturating_sub(TENANTS_MAX);
        counts.truncate(TENANTS_MAX);
        Report {
            node: node.id.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: node.clock.now().0 / 1_000,
            connections: node.admission.connections() as u64,
            tenants: counts.into_iter().map(|(tenant, count)| (tenant.as_str().to_owned(), count)).collect(),
            tenants_left_out: left_out as u64,
            phase: Some(node.lifecycle.phase()),
            connections_max: Some(node.config.admission.node as u64),
            accept_budget_per_s: Some(node.config.accept_budget_per_s),
        }
    }
}

/// Reports until the task is dropped, and at once when the node's phase changes.
pub(crate) async fn run(node: Arc<Node>) {
    let mut phases = node.lifecycle.watch();
    loop {
        let pause = if tell(&node).await { INTERVAL } else { RETRY };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // The sender lives as long as the node.
            _ = phases.changed() => {}
        }
    }
}

/// Reports once, and says whether that was taken.
pub(crate) async fn tell(node: &Node) -> bool {
    let report = serde_json::to_vec(&Report::of(node)).expect("a report is plain data");
    let told = node.backplane.report(&node.id, report.into(), FORGOTTEN_AFTER).await;
    told.inspect_err(|error| tracing::debug!(%error, "this node's report was not taken")).is_ok()
}
