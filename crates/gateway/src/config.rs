//! The checked configuration: raw settings are turned into it once, and nothing reads a raw one afterwards.
//!
//! All mistakes are reported together, each with its key, its value (never a secret), what is wrong and what to do.
//! Nothing here opens a file that a setting names or reaches the network: that is for whoever uses it.

mod auth;
mod backplane;
mod checker;
mod limits;
mod network;
mod observe;
mod problem;
mod requests;
mod rule_check;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use auth::{ApiKeysConfig, AuthConfig, ClaimNames, Hs256Secret, JwksConfig, NamedKey, parse_hs256_secret};
pub(crate) use auth::{is_bearer, is_loopback, is_name};
pub use backplane::BackplaneConfig;
pub use limits::{Limits, OutboxConfig};
pub use network::{NetworkConfig, TlsConfig};
pub use observe::{LogConfig, LogFormat, MetricsConfig};
pub use problem::{ConfigError, Problem};
pub use rules::{Durable, NeverDurable, Presence, Rule, Rules, Subscribe, Words};

use crate::machine::Machine;
use crate::requests::RequestsConfig;
use crate::settings::{Loaded, Settings};
use crate::traces::TracesConfig;
use checker::Checker;

/// Everything a node needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether this is `serve --dev`: memory backplane by default, a secret and an API key made up, loopback only.
    pub dev: bool,
    /// Unique among the nodes; letters, digits, `.`, `_`, `-`.
    pub node_id: Box<str>,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Addresses, proxies, origins, TLS.
    pub network: NetworkConfig,
    /// What connects the nodes.
    pub backplane: BackplaneConfig,
    /// How long a topic that nobody wants stays subscribed.
    pub unsubscribe_delay: Duration,
    /// Over how long gap notices are spread after an outage of the backplane.
    pub gap_spread: Duration,
    /// How long at most more events are waited for, where that saves writes: see `hub::turns`.
    pub gather_max: Duration,
    /// What holds for which topics.
    pub rules: Arc<Rules>,
    /// Durable events kept in memory for clients that come back, in bytes.
    pub recent_bytes_max: usize,
    /// Who is there.
    pub presence: PresenceConfig,
    /// How tokens are checked.
    pub auth: AuthConfig,
    /// Who may use the HTTP API.
    pub api_keys: ApiKeysConfig,
    /// What a client, an address, a tenant may use.
    pub limits: Limits,
    /// Clients' requests to backends.
    pub requests: RequestsConfig,
    /// What may wait to be written.
    pub outbox: OutboxConfig,
    /// A connection silent for this long in either direction is sent a ping.
    pub ping_interval: Duration,
    /// Shutting down.
    pub drain: DrainConfig,
    /// Sending clients away to nodes that have fewer.
    pub shed: ShedConfig,
    /// What is logged and how.
    pub log: LogConfig,
    /// Caps on the cardinality of metrics.
    pub metrics: MetricsConfig,
    /// Where traces go to; none: nothing is traced.
    pub traces: Option<TracesConfig>,
    /// How often files that may change are looked at.
    pub reload_interval: Duration,
    /// What looks wrong and doesn't hinder: to be logged once, at start.
    pub warnings: Vec<String>,
}

/// Who is there, by topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceConfig {
    /// Whom a node doesn't refresh for so long has left.
    pub ttl: Duration,
    /// Of a topic with more users only their number is told.
    pub told_max: u64,
}

/// Shutting down: first the delay, then clients are sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    /// Not ready but still accepting for this long.
    pub delay: Duration,
    /// Then clients are told to leave, and have this long at most.
    pub within: Duration,
}

/// Sending clients away to nodes that have fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShedConfig {
    /// Whether this node does so at all.
    pub is_on: bool,
    /// More than this is too much, in per cent of the mean of all nodes.
    pub above_percent: u32,
}

/// What kind of node is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `fanfare serve`.
    Node,
    /// `fanfare serve --dev`: for one person on one machine.
    Dev,
    /// A command that needs some of the settings: it may do without a way to check tokens.
    Tool,
}

impl Config {
    /// Checks merged settings, and reports what loading them found as well.
    pub fn from_loaded(loaded: &Loaded, mode: Mode, machine: &Machine) -> Result<Self, ConfigError> {
        let mut problems = loaded.problems.clone();
        let traces = match TracesConfig::from_variables(&loaded.open_telemetry) {
            Ok(traces) => traces,
            // A command exports nothing.
            Err(_) if mode == Mode::Tool => None,
            Err(wrong) => {
                problems.extend(wrong);
                None
            }
        };
        match Self::check(&loaded.settings, mode, machine) {
            Ok(mut config) if problems.is_empty() => {
                config.warnings.splice(0..0, loaded.warnings.iter().cloned());
                return Ok(Self { traces, ..config });
            }
            Ok(_) => {}
            Err(error) => problems.extend(error.problems.into_iter().map(|problem| {
                match problem.key().and_then(|key| loaded.sources.get(key)) {
                    Some((_, source)) => problem.clone().found(source.clone()),
                    None => problem,
                }
            })),
        }
        Err(ConfigError { problems })
    }

    /// Checks settings.
    pub fn check(settings: &Settings, mode: Mode, machine: &Machine) -> Result<Self, ConfigError> {
        let check = &mut Checker::default();
        let dev = mode == Mode::Dev;
        let limits = limits::check(settings, check);
        let node_id = node_id(settings, machine, check);
        let config = Self {
            dev,
            workers: match check.number("workers", settings.workers, 0..=1024) {
                0 => machine.cores.max(1),
                workers => usize::try_from(workers).unwrap_or(1),
            },
            network: network::check(settings, mode, check),
            backplane: backplane::check(settings, &node_id, check),
            node_id,
            unsubscribe_delay: check.ms("unsubscribe_delay_ms", settings.unsubscribe_delay_ms, 0..=600_000),
            gap_spread: check.ms("gap_spread_ms", settings.gap_spread_ms, 0..=600_000),
            gather_max: check.ms("gather_ms", settings.gather_ms, 0..=1_000),
            rules: Arc::new(rule_check::check(settings, limits.event_bytes_max, check)),
            recent_bytes_max: check.bytes("recent_bytes_max", settings.recent_bytes_max, 0..=1 << 40),
            presence: PresenceConfig {
                ttl: check.ms("presence_ttl_ms", settings.presence_ttl_ms, 100..=3_600_000),
                told_max: check.number("presence_told_max", settings.presence_told_max, 0..=1_000_000),
            },
            auth: auth::check_tokens(settings, mode, check),
            api_keys: auth::check_api_keys(settings, mode, check),
            outbox: limits::check_outbox(settings, &limits, machine, check),
            limits,
            requests: requests::check(settings, check),
            ping_interval: check.ms("ping_ms", settings.ping_ms, 10..=3_600_000),
            drain: DrainConfig {
                delay: check.seconds("drain_delay_s", settings.drain_delay_s, 0..=3600),
                within: check.seconds("drain_s", settings.drain_s, 0..=3600),
            },
            shed: ShedConfig {
                is_on: settings.shed,
                above_percent: check.count("shed_above_percent", settings.shed_above_percent, 101..=1000),
            },
            log: observe::check_log(settings, check),
            metrics: observe::check_metrics(settings, check),
            traces: None,
            reload_interval: check.seconds("reload_interval_s", settings.reload_interval_s, 1..=3600),
            warnings: Vec::new(),
        };
        if check.problems.is_empty() {
            Ok(Self { warnings: std::mem::take(&mut check.warnings), ..config })
        } else {
            Err(ConfigError { problems: std::mem::take(&mut check.problems) })
        }
    }
}

const NODE_ID_BYTES_MAX: usize = 64;

fn node_id(settings: &Settings, machine: &Machine, check: &mut Checker) -> Box<str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if let Some(id) = &settings.node_id {
        if id.is_empty() || id.len() > NODE_ID_BYTES_MAX || !id.chars().all(allowed) {
            check.problem("node_id", id, "not a node id", "give 1 to 64 letters, digits, '.', '_' or '-'");
        }
        return id.as_str().into();
    }
    // Two nodes on one host, or one restarted, must differ.
    let host: String = machine.host_name.chars().filter(|c| allowed(*c)).take(48).collect();
    let host = if host.is_empty() { "node" } else { host.as_str() };
    format!("{host}-{:08x}", rand::random::<u32>()).into()
}
