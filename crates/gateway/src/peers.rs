//! The other nodes, as they report themselves: where they stand, what they hold, how fast they take clients. Deliberately no
//! decision: how fast clients go to them is in [`crate::pace`], which clients go in [`crate::drain`] and [`crate::shed`].

use std::time::Duration;

use fanfare_backplane::NodeReport;
use tokio::sync::watch;

use crate::lifecycle::Phase;
use crate::node::Node;
use crate::report::Report;

/// How long reading the reports may take.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// Between two looks at them while clients are sent away. They change every two seconds, and at once with a node's phase.
const LOOK: Duration = Duration::from_secs(1);

/// What a node is taken to be ready for that doesn't say: as fast as its own version sends clients away.
const UNTOLD_BUDGET_PER_S: u32 = 500;

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its id.
    pub(crate) node: String,
    /// Since its start: another value is another report.
    pub(crate) uptime_s: u64,
    /// None when it is too old to say.
    pub(crate) phase: Option<Phase>,
    /// What it holds.
    pub(crate) connections: u64,
    /// What it may hold beyond that.
    pub(crate) room: u64,
    /// Clients a second that it is ready to take over.
    pub(crate) accept_budget_per_s: u32,
}

impl Peer {
    /// Whether balancers send clients to it. One that doesn't say is taken to serve.
    pub(crate) fn serves(&self) -> bool {
        matches!(self.phase, None | Some(Phase::Serving))
    }

    fn of(report: &Report) -> Self {
        Self {
            room: report.connections_max.map_or(u64::MAX, |max| max.saturating_sub(report.connections)),
            node: report.node.clone(),
            uptime_s: report.uptime_s,
            phase: report.phase,
            // More than that is no count: sums of it stay numbers.
            connections: report.connections.min(u32::MAX.into()),
            accept_budget_per_s: report.accept_budget_per_s.unwrap_or(UNTOLD_BUDGET_PER_S),
        }
    }
}

/// All nodes but this one that are not forgotten; None when that can't be read now.
pub(crate) async fn read(node: &Node) -> Option<Vec<Peer>> {
    let reports = match tokio::time::timeout(READ_WITHIN, node.backplane.reports()).await {
        Ok(Ok(reports)) => reports,
        Ok(Err(error)) => {
            tracing::debug!(%error, "the reports of other nodes can't be read");
            return None;
        }
        Err(_) => {
            tracing::debug!("the reports of other nodes were not read in time");
            return None;
        }
    };
    of_reports(&reports, &node.id)
}

/// None when one of them can't be read: without it nobody knows how the others stand.
fn of_reports(reports: &[NodeReport], own_id: &str) -> Option<Vec<Peer>> {
    let mut peers = Vec::with_capacity(reports.len());
    for told in reports.iter().filter(|told| told.node != own_id) {
        match serde_json::from_slice(&told.report) {
            Ok(report) => peers.push(Peer::of(&report)),
            Err(error) => {
                tracing::warn!(node = told.node, %error, "the report of a node can't be read: nothing is known of the others");
                return None;
            }
        }
    }
    Some(peers)
}

/// Keeps looking at them, until it is dropped. What can't be read is told as it was read last.
pub(crate) async fn watch(node: &Node, told: watch::Sender<Option<Vec<Peer>>>) {
    loop {
        if let Some(peers) = read(node).await {
            told.send_replace(Some(peers));
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn peer(report: &str) -> Peer {
        Peer::of(&serde_json::from_str(report).unwrap())
    }

    #[test]
    fn a_node_that_is_too_old_to_say_more_serves_and_takes_what_its_version_sends() {
        let told = peer(r#"{"node":"a","version":"0.0.9","uptime_s":7,"connections":3,"tenants":{"acme":3}}"#);
        assert!(told.serves());
        assert_eq!((told.connections, told.room, told.accept_budget_per_s), (3, u64::MAX, 500));
    }

    #[test]
    fn numbers_that_are_no_counts_and_reports_that_cant_be_read_do_no_harm() {
        let told = peer(r#"{"node":"a","version":"9","uptime_s":1,"connections":18446744073709551615,"tenants":{}}"#);
        assert_eq!(told.connections, u64::from(u32::MAX));
        let report = |node: &str, text: &str| NodeReport { node: node.to_owned(), report: text.to_owned().into() };
        let good = report("b", r#"{"node":"b","version":"9","uptime_s":1,"connections":1,"tenants":{}}"#);
        let resting = r#"{"node":"c","version":"9","uptime_s":1,"connections":1,"tenants":{},"phase":"resting"}"#;
        assert_eq!(of_reports(&[good.clone(), report("me", "no JSON")], "me").map(|peers| peers.len()), Some(1));
        for bad in [resting, "no JSON", r#"{"node":"c"}"#, "[]"] {
            assert_eq!(of_reports(&[good.clone(), report("c", bad)], "me"), None, "{bad}");
        }
    }

    #[test]
    fn a_node_says_where_it_stands_and_newer_ones_may_say_more() {
        let report = |phase: &str| {
            format!(
                r#"{{"node":"a","version":"9","uptime_s":7,"connections":30,"tenants":{{}},"phase":"{phase}",
                    "connections_max":25,"accept_budget_per_s":40,"mood":"good"}}"#
            )
        };
        for (phase, serves) in [("serving", true), ("leaving", false), ("draining", false)] {
            let told = peer(&report(phase));
            assert_eq!((told.serves(), told.room, told.accept_budget_per_s), (serves, 0, 40), "{phase}");
        }
    }
}
