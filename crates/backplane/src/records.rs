//! What nodes share beside events: which tokens are revoked, and how the nodes are. Small values that expire by themselves.
//! Deliberately nothing about users.

use std::time::Duration;

use bytes::Bytes;
use fanfare_protocol::Tenant;

use crate::backplane::{Backplane, Kind, PublishError};

/// What one node reported of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// The node's id.
    pub node: String,
    /// What it reported, untouched.
    pub report: Bytes,
}

impl Backplane {
    /// Remembers for `ttl` that the token with this `jti` is revoked: the one of this tenant, or of any. What is remembered
    /// already, for another tenant or for longer, stays.
    ///
    /// # Errors
    /// When that is not known to be remembered. It may be all the same after [`PublishError::Timeout`].
    pub async fn revoke(&self, token_id: &str, tenant: Option<&Tenant>, ttl: Duration) -> Result<(), PublishError> {
        match &self.kind {
            Kind::Memory(node) => {
                node.records().revoke(token_id, tenant, ttl);
                Ok(())
            }
            Kind::Redis(node) => node.revoke(token_id, tenant, ttl).await,
        }
    }

    /// Which of these tokens, each `jti` with its tenant, are revoked; one answer for each, in order.
    ///
    /// # Errors
    /// When the backplane is away or refuses; then nothing is known.
    pub async fn revoked(&self, tokens: &[(&str, &Tenant)]) -> Result<Vec<bool>, PublishError> {
        match &self.kind {
            Kind::Memory(node) => {
                let records = node.records();
                Ok(tokens.iter().map(|(token_id, tenant)| records.is_revoked(token_id, tenant)).collect())
            }
            Kind::Redis(node) => node.revoked(tokens).await,
        }
    }

    /// Tells all nodes how this one is; forgotten after `ttl`.
    ///
    /// # Errors
    /// When that is not known to have been told.
    pub async fn report(&self, node_id: &str, report: Bytes, ttl: Duration) -> Result<(), PublishError> {
        match &self.kind {
            Kind::Memory(node) => {
                node.records().report(node_id, report, ttl);
                Ok(())
            }
            Kind::Redis(node) => node.report(node_id, &report, ttl).await,
        }
    }

    /// What the nodes reported that are not forgotten, by their ids.
    ///
    /// # Errors
    /// When the backplane is away or refuses.
    pub async fn reports(&self) -> Result<Vec<NodeReport>, PublishError> {
        let mut reports = match &self.kind {
            Kind::Memory(node) => node.records().reports(),
            Kind::Redis(node) => node.reports().await?,
        };
        reports.sort_by(|one, other| one.node.cmp(&other.node));
        Ok(reports)
    }
}
