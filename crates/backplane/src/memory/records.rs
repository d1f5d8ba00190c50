//! What nodes of one process share beside events.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare_protocol::Tenant;

use crate::records::NodeReport;

/// How many there may be before those that have expired are looked for.
const SWEPT_AT: usize = 1_024;

/// Values with the time at which they are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// By `jti` and tenant; none: of any.
    revoked: HashMap<(String, Option<Tenant>), Instant>,
    reports: HashMap<String, (Bytes, Instant)>,
}

impl Records {
    pub(crate) fn revoke(&mut self, token_id: &str, tenant: Option<&Tenant>, ttl: Duration) {
        let now = Instant::now();
        if self.revoked.len() >= SWEPT_AT {
            self.revoked.retain(|_, end| *end > now);
        }
        let end = self.revoked.entry((token_id.to_owned(), tenant.cloned())).or_insert(now);
        *end = (*end).max(now + ttl);
    }

    pub(crate) fn is_revoked(&self, token_id: &str, tenant: &Tenant) -> bool {
        let now = Instant::now();
        let keys = [(token_id.to_owned(), None), (token_id.to_owned(), Some(tenant.clone()))];
        keys.iter().any(|key| self.revoked.get(key).is_some_and(|end| *end > now))
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
