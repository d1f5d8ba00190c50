//! What nodes of one process share beside events.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::records::NodeReport;

/// How many there may be before those that have expired are looked for.
const SWEPT_AT: usize = 1_024;

/// Values with the time at which they are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Records {
    revoked: HashMap<String, (String, Instant)>,
    reports: HashMap<String, (Bytes, Instant)>,
}

impl Records {
    pub(crate) fn revoke(&mut self, token_id: &str, tenant: &str, ttl: Duration) {
        if self.revoked.len() >= SWEPT_AT {
            let now = Instant::now();
            self.revoked.retain(|_, (_, end)| *end > now);
        }
        self.revoked.insert(token_id.to_owned(), (tenant.to_owned(), Instant::now() + ttl));
    }

    pub(crate) fn revoked(&self, token_id: &str) -> Option<String> {
        let (tenant, end) = self.revoked.get(token_id)?;
        (*end > Instant::now()).then(|| tenant.clone())
    }

    pub(crate) fn report(&mut self, node_id: &str, report: Bytes, ttl: Duration) {
        let now = Instant::now();
        self.reports.retain(|_, (_, end)| *end > now);
        self.reports.insert(node_id.to_owned(), (report, now + ttl));
    }

    pub(crate) fn reports(&self) -> Vec<NodeReport> {
        let now = Instant::now();
        let alive = self.reports.iter().filter(|(_, (_, end))| *end > now);
        alive.map(|(node, (report, _))| NodeReport { node: node.clone(), report: report.clone() }).collect()
    }
}
