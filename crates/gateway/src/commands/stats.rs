//! `fanfare stats`: who is connected where, as a node's HTTP API tells it. Figures go to standard output, as tables or as
//! they came.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use fanfare_protocol::Tenant;
use serde::Deserialize;

use super::block_on;
use super::node_api::{NodeApi, api_key, node_url};
use crate::config::Config;
use crate::secret::Secret;
use crate::settings::Settings;

/// Tenants in the table, those with the most connections.
const TENANTS_SHOWN: usize = 50;

#[derive(Args)]
#[expect(clippy::doc_markdown, reason = "the comments are the text of --help, which is not Markdown")]
pub(crate) struct StatsArgs {
    /// With --user: tenant of the user
    #[arg(long, requires = "user")]
    tenant: Option<String>,
    /// With --tenant: also count the connections of this user
    #[arg(long, requires = "tenant")]
    user: Option<String>,
    /// Print what the node answers, as JSON
    #[arg(long)]
    json: bool,
    /// Ask the HTTP API of this node [default: the configured one]; also FANFARE_NODE_URL
    #[arg(long, value_name = "URL")]
    node: Option<String>,
    /// Key for the HTTP API; also FANFARE_API_KEY, else the first of FANFARE_API_KEYS
    #[arg(long, alias = "key", value_name = "KEY")]
    api_key: Option<Secret>,
    #[command(flatten)]
    _settings: Settings,
}

/// What a node answers. Newer ones may say more.
#[derive(Deserialize)]
struct Stats {
    node: NodeStats,
    cluster: ClusterStats,
    user: Option<UserStats>,
}

#[derive(Deserialize)]
struct NodeStats {
    node: String,
    version: String,
    uptime_s: u64,
    connections: u64,
}

#[derive(Deserialize)]
struct ClusterStats {
    connections: u64,
    by_tenant: BTreeMap<String, u64>,
    #[serde(default)]
    tenants_left_out: u64,
    nodes: Vec<NodeStats>,
}

#[derive(Deserialize)]
struct UserStats {
    tenant: String,
    user: String,
    connections: u64,
    by_node: BTreeMap<String, u64>,
    complete: bool,
}

pub(crate) fn run(args: &StatsArgs, config: &Config) -> anyhow::Result<()> {
    let user = match (&args.tenant, &args.user) {
        (Some(tenant), Some(user)) => {
            Some((Tenant::parse(tenant).with_context(|| format!("{tenant:?} is no tenant"))?, user.as_str()))
        }
        _ => None,
    };
    let api = NodeApi::new(&node_url(args.node.as_deref(), config), api_key(args.api_key.as_ref(), config)?)?;
    let answer = block_on(api.stats(user))?;
    let text = if args.json {
        format!("{}\n", String::from_utf8_lossy(&answer))
    } else {
        tables(&serde_json::from_slice(&answer).context("the node's answer is not understood")?)
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("can't write to standard output"),
    }
}

fn tables(stats: &Stats) -> String {
    let mut out = node_table(stats);
    out.push('\n');
    out.push_str(&tenant_table(&stats.cluster));
    if let Some(user) = &stats.user {
        let connections = counted(user.connections, "connection");
        // Writing to a string can't fail.
        let _ = writeln!(out, "\nuser {} of {}: {connections}", user.user, user.tenant);
        let rows = user.by_node.iter().filter(|(_, count)| **count > 0);
        let rows: Vec<_> = rows.map(|(node, count)| vec![format!("  {node}"), count.to_string()]).collect();
        out.push_str(&aligned(&rows));
        if !user.complete {
            out.push_str("  not all nodes have answered in time: there may be more\n");
        }
    }
    out
}

/// The node that answered has a star.
fn node_table(stats: &Stats) -> String {
    let mut rows = vec![["NODE", "VERSION", "UPTIME", "CONNECTIONS"].map(str::to_owned).to_vec()];
    for node in &stats.cluster.nodes {
        let star = if node.node == stats.node.node { " *" } else { "" };
        let name = format!("{}{star}", node.node);
        rows.push(vec![name, node.version.clone(), uptime(node.uptime_s), node.connections.to_string()]);
    }
    let nodes = counted(stats.cluster.nodes.len() as u64, "node");
    rows.push(vec![nodes, String::new(), String::new(), stats.cluster.connections.to_string()]);
    aligned(&rows)
}

fn tenant_table(cluster: &ClusterStats) -> String {
    let mut tenants: Vec<_> = cluster.by_tenant.iter().collect();
    tenants.sort_by(|(one, one_count), (other, other_count)| other_count.cmp(one_count).then(one.cmp(other)));
    let mut rows = vec![["TENANT", "CONNECTIONS"].map(str::to_owned).to_vec()];
    let shown = tenants.iter().take(TENANTS_SHOWN);
    rows.extend(shown.map(|(tenant, count)| vec![(*tenant).clone(), count.to_string()]));
    let mut out = aligned(&rows);
    let hidden = tenants.len().saturating_sub(TENANTS_SHOWN) as u64;
    let more = hidden + cluster.tenants_left_out;
    if more > 0 {
        let _ = writeln!(out, "and {} with fewer; --json has {hidden} of them", counted(more, "tenant"));
    }
    out
}

/// Columns two spaces apart; the last one has numbers and stands at the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths).take(columns - 1) {
            let _ = write!(out, "{cell:<width$}  ");
        }
        let _ = writeln!(out, "{:>width$}", row[columns - 1], width = widths[columns - 1]);
    }
    out
}

/// The two largest units: `3d 4h`.
fn uptime(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, hours, _, _) => format!("{days}d {hours}h"),
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uptime_has_two_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (61, "1m 1s"), (3_600, "1h 0m"), (180_000, "2d 2h")] {
            assert_eq!(uptime(seconds), text);
        }
    }
}
