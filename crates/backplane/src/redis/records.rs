//! What nodes share beside events, as expiring keys. Each has a slot of its own in a cluster, so no command names two.

use std::time::{Duration, SystemTime};

use fanfare_protocol::Tenant;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use redis::{Cmd, FromRedisValue, Value, cmd};

use super::{Kind, Node};
use crate::backplane::PublishError;
use crate::records::NodeReport;

/// Records that are read at the same time: they share one connection's round trip.
const READS_MAX: usize = 256;

/// What stands in the key of a revoked token; only that it is there counts.
const REVOKED: &[u8] = b"1";

/// Nodes that are reported of at most; a cluster has fewer.
const NODES_MAX: usize = 1_000;

/// A node stays on the list for so long after its last report, which lives shorter: the clocks of nodes differ, and nobody
/// is believed to live for being on the list.
const LISTED_FOR: Duration = Duration::from_mins(5);

impl Node {
    pub(crate) async fn revoke(
        &self,
        token_id: &str,
        tenant: Option<&Tenant>,
        ttl: Duration,
    ) -> Result<(), PublishError> {
        let key = self.config.prefix.revoked(token_id, tenant);
        let is_new = self.ask(&key, cmd("SET").arg(&key).arg(REVOKED).arg("NX").arg("PX").arg(millis(ttl))).await?;
        if is_new {
            return Ok(());
        }
        // -1: for ever; -2: it has expired this very moment.
        let left: i64 = self.ask(&key, cmd("PTTL").arg(&key)).await?;
        let is_longer = left == -1 || u64::try_from(left).is_ok_and(|left| left >= millis(ttl));
        if is_longer { Ok(()) } else { self.put(&key, REVOKED, ttl).await }
    }

    pub(crate) async fn revoked(&self, tokens: &[(&str, &Tenant)]) -> Result<Vec<bool>, PublishError> {
        let prefix = &self.config.prefix;
        let both = |(token_id, tenant): &(&str, &Tenant)| {
            [prefix.revoked(token_id, None), prefix.revoked(token_id, Some(tenant))]
        };
        let values: Vec<Option<Vec<u8>>> = self.get(tokens.iter().flat_map(both)).await?;
        Ok(values.chunks(2).map(|values| values.iter().any(Option::is_some)).collect())
    }

    pub(crate) async fn report(&self, node_id: &str, report: &[u8], ttl: Duration) -> Result<(), PublishError> {
        let prefix = &self.config.prefix;
        self.put(&prefix.node(node_id), report, ttl).await?;
        let nodes = prefix.nodes();
        let now = unix_ms();
        self.ask::<()>(&nodes, cmd("ZADD").arg(&nodes).arg(now).arg(node_id)).await?;
        let listed_for = millis(LISTED_FOR.max(ttl));
        let forgotten = now.saturating_sub(listed_for);
        self.ask::<()>(&nodes, cmd("ZREMRANGEBYSCORE").arg(&nodes).arg("-inf").arg(forgotten)).await?;
        self.ask::<()>(&nodes, cmd("PEXPIRE").arg(&nodes).arg(listed_for)).await
    }

    pub(crate) async fn reports(&self) -> Result<Vec<NodeReport>, PublishError> {
        let nodes = self.config.prefix.nodes();
        let newest = NODES_MAX - 1;
        let ids: Vec<Vec<u8>> = self.ask(&nodes, cmd("ZRANGE").arg(&nodes).arg(0).arg(newest).arg("REV")).await?;
        // A name that no node has can only be somebody's mistake.
        let ids = ids.into_iter().filter_map(|id| String::from_utf8(id).ok());
        let reads: Vec<BoxFuture<'_, _>> = ids.map(|id| self.report_of(id).boxed()).collect();
        let reports: Vec<Option<NodeReport>> = stream::iter(reads).buffered(READS_MAX).try_collect().await?;
        Ok(reports.into_iter().flatten().collect())
    }

    /// None when it is forgotten, or when its key holds no string, which is no reason to know of no other node.
    async fn report_of(&self, node: String) -> Result<Option<NodeReport>, PublishError> {
        let key = self.config.prefix.node(&node);
        match self.ask::<Option<Vec<u8>>>(&key, cmd("GET").arg(&key)).await {
            Ok(report) => Ok(report.map(|report| NodeReport { node, report: report.into() })),
            Err(PublishError::Refused(error)) if error.contains("WRONGTYPE") => {
                tracing::warn!(key, error, "the report of a node can't be read");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn put(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), PublishError> {
        self.ask(key, cmd("SET").arg(key).arg(value).arg("PX").arg(millis(ttl))).await
    }

    /// Values by their keys, in order.
    async fn get<V: FromRedisValue + Send>(
        &self,
        keys: impl Iterator<Item = String>,
    ) -> Result<Vec<Option<V>>, PublishError> {
        let get = |key: String| async move { self.ask::<Option<V>>(&key, cmd("GET").arg(&key)).await };
        let reads: Vec<BoxFuture<'_, _>> = keys.map(|key| get(key).boxed()).collect();
        stream::iter(reads).buffered(READS_MAX).try_collect().await
    }

    /// Runs a command on the primary that has this key.
    async fn ask<V: FromRedisValue>(&self, key: &str, command: &Cmd) -> Result<V, PublishError> {
        let answer: Value = match &self.kind {
            Kind::Server(server) => server.publisher.run(command).await?,
            Kind::Cluster(cluster) => Box::pin(cluster.run(key, command)).await?,
        };
        V::from_redis_value(answer).map_err(|error| PublishError::Refused(error.to_string()))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn unix_ms() -> u64 {
    millis(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
