//! The settings as they are written: one flat table.
//!
//! A field of [`Settings`] is at once a key of the configuration file (`drain_s`), an environment variable
//! (`FANFARE_DRAIN_S`) and a flag (`--drain-s`). Its comment is the text of `--help` and of `docs/configuration.md`, its
//! `value_name` the unit. Nothing here is checked beyond its type: that is [`crate::config`]'s work, done once.

#[cfg(test)]
mod docs;
mod environment;
mod file;
mod list;
mod load;
mod row;
mod rule_tables;

pub(crate) use file::nearest;
pub use list::List;
pub use load::{Loaded, Source, Sources, load, without_password};
pub use row::{Kind, Row, rows};
pub use rule_tables::RuleTables;

use clap::Args;
use serde::Deserialize;

use crate::secret::Secret;

/// Every setting, typed but unchecked.
#[derive(Args, Clone, Debug, Deserialize)]
#[expect(clippy::doc_markdown, reason = "the comments are the text of --help, which is not Markdown")]
pub struct Settings {
    /// Where clients connect
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS", help_heading = "Addresses")]
    pub listen: String,
    /// Where operators look: health, readiness, metrics; and the HTTP API unless it has its own address
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "ADDRESS", help_heading = "Addresses")]
    pub admin_listen: String,
    /// A separate address for the HTTP API of backends [default: the admin address]
    #[arg(long, value_name = "ADDRESS", help_heading = "Addresses")]
    pub api_listen: Option<String>,
    /// Networks (CIDR) whose X-Forwarded-For, Forwarded and PROXY protocol v2 are believed
    #[arg(long, value_name = "NETWORKS", help_heading = "Addresses")]
    pub trusted_proxies: Option<List<String>>,
    /// Web origins that may connect, such as https://app.example.com or https://*.example.com; none or * allows all
    #[arg(long, value_name = "ORIGINS", help_heading = "Addresses")]
    pub allowed_origins: Option<List<String>>,
    /// PEM certificate chain: serves clients over TLS; read again when it changes
    #[arg(long, value_name = "FILE", help_heading = "Addresses")]
    pub tls_certificate_file: Option<String>,
    /// PEM private key of the certificate; read again when it changes
    #[arg(long, value_name = "FILE", help_heading = "Addresses")]
    pub tls_key_file: Option<String>,
    /// What connects the nodes: memory:// (one node by itself), redis://, rediss:// (TLS), unix://, redis+sentinel:// with host:port,host:port/name, or redis+cluster:// with host:port,host:port
    #[arg(long, default_value = "memory://", value_name = "URL", help_heading = "Backplane")]
    pub backplane: Secret,
    /// First part of every key and channel in Redis
    #[arg(long, default_value = "fanfare", value_name = "TEXT", help_heading = "Backplane")]
    pub redis_prefix: String,
    /// Password for Redis, read at every connect
    #[arg(long, value_name = "FILE", help_heading = "Backplane")]
    pub redis_password_file: Option<String>,
    /// For redis+sentinel://: password for the Sentinels, read at every connect
    #[arg(long, value_name = "FILE", help_heading = "Backplane")]
    pub redis_sentinel_password_file: Option<String>,
    /// For rediss://: PEM certificates to trust instead of the system's, read at every connect
    #[arg(long, value_name = "FILE", help_heading = "Backplane")]
    pub redis_ca_file: Option<String>,
    /// For rediss://: PEM certificate that this node shows to Redis, read at every connect
    #[arg(long, value_name = "FILE", help_heading = "Backplane")]
    pub redis_cert_file: Option<String>,
    /// PEM private key of that certificate, read at every connect
    #[arg(long, value_name = "FILE", help_heading = "Backplane")]
    pub redis_key_file: Option<String>,
    /// Who loads the function library of durable events into Redis: load (each node) or check (fanfare functions load)
    #[arg(long, default_value = "load", value_name = "WORD", help_heading = "Backplane")]
    pub redis_functions: String,
    /// How its functions are called: functions, or eval where a Redis forbids them
    #[arg(long, default_value = "functions", value_name = "WORD", help_heading = "Backplane")]
    pub redis_scripting: String,
    /// Longest wait for a connection to Redis
    #[arg(long, default_value = "2000", value_name = "MS", help_heading = "Backplane")]
    pub redis_connect_timeout_ms: u64,
    /// Longest wait for an answer from Redis
    #[arg(long, default_value = "2000", value_name = "MS", help_heading = "Backplane")]
    pub redis_response_timeout_ms: u64,
    /// How often each connection to Redis is asked for a sign of life and for its server's role
    #[arg(long, default_value = "1000", value_name = "MS", help_heading = "Backplane")]
    pub redis_ping_interval_ms: u64,
    /// For redis+cluster://: how often its nodes are asked who serves which slot, though nothing hints at a change
    #[arg(long, default_value = "5000", value_name = "MS", help_heading = "Backplane")]
    pub redis_slots_interval_ms: u64,
    /// How often it is proved that what is published on Redis comes back to this node; 0 is never
    #[arg(long, default_value = "1000", value_name = "MS", help_heading = "Backplane")]
    pub redis_probe_interval_ms: u64,
    /// First wait before connecting to Redis again; doubles, with jitter
    #[arg(long, default_value = "50", value_name = "MS", help_heading = "Backplane")]
    pub redis_retry_min_ms: u64,
    /// Longest wait before connecting to Redis again
    #[arg(long, default_value = "5000", value_name = "MS", help_heading = "Backplane")]
    pub redis_retry_max_ms: u64,
    /// What may have arrived from Redis and not been delivered yet; beyond it Redis is read slower
    #[arg(long, default_value = "67108864", value_name = "BYTES", help_heading = "Backplane")]
    pub redis_inbox_bytes_max: u64,
    /// How long a topic that nobody wants stays subscribed, so that a reconnect costs nothing
    #[arg(long, default_value = "5000", value_name = "MS", help_heading = "Backplane")]
    pub unsubscribe_delay_ms: u64,
    /// Over how long the gap notices are spread after Redis was away
    #[arg(long, default_value = "5000", value_name = "MS", help_heading = "Backplane")]
    pub gap_spread_ms: u64,
    /// While events come faster than they can be written one by one, or in a burst: how long at most more are waited
    /// for; 0 is never
    #[arg(long, default_value = "2", value_name = "MS", help_heading = "Backplane")]
    pub gather_ms: u64,
    /// Newest durable events kept in memory, all topics together, for clients that come back
    #[arg(long, default_value = "67108864", value_name = "BYTES", help_heading = "Backplane")]
    pub recent_bytes_max: u64,
    /// Who is there of a node that is not heard of for this long has left; the same on all nodes. Refreshed every third of it
    #[arg(long, default_value = "30000", value_name = "MS", help_heading = "Backplane")]
    pub presence_ttl_ms: u64,
    /// In a topic with more users than this only their number is told, not who comes and goes
    #[arg(long, default_value = "500", value_name = "N", help_heading = "Backplane")]
    pub presence_told_max: u64,
    /// Rules for topics, an array of tables; the first one whose pattern matches decides. In a variable or a flag as JSON
    #[arg(long, value_name = "RULES", help_heading = "Topics")]
    pub topics: Option<RuleTables>,
    /// Secrets of HS256 tokens, comma separated; kid:ID:SECRET binds one to a key id
    #[arg(long, value_name = "SECRETS", help_heading = "Tokens")]
    pub jwt_hs256_secret: Option<List<Secret>>,
    /// Secrets of HS256 tokens, one a line; read again when it changes
    #[arg(long, value_name = "FILE", help_heading = "Tokens")]
    pub jwt_hs256_secret_file: Option<String>,
    /// PEM public keys (RSA for RS256, P-256 for ES256, Ed25519 for EdDSA); read again when they change
    #[arg(long, value_name = "FILES", help_heading = "Tokens")]
    pub jwt_public_key_file: Option<List<String>>,
    /// JSON Web Key Set of the issuer; https, or http on loopback
    #[arg(long, value_name = "URL", help_heading = "Tokens")]
    pub jwt_jwks_url: Option<String>,
    /// How often the key set is fetched again
    #[arg(long, default_value = "300", value_name = "SECONDS", help_heading = "Tokens")]
    pub jwt_jwks_refresh_s: u64,
    /// Least time between two fetches when tokens name unknown keys
    #[arg(long, default_value = "10", value_name = "SECONDS", help_heading = "Tokens")]
    pub jwt_jwks_min_interval_s: u64,
    /// Issuers: when given, a token must have one of them as iss
    #[arg(long, value_name = "LIST", help_heading = "Tokens")]
    pub jwt_issuer: Option<List<String>>,
    /// Audiences: when given, a token must have one of them in aud; when not, a token with aud is refused
    #[arg(long, value_name = "LIST", help_heading = "Tokens")]
    pub jwt_audience: Option<List<String>>,
    /// Allowed difference between the clocks of issuer and node
    #[arg(long, default_value = "5", value_name = "SECONDS", help_heading = "Tokens")]
    pub jwt_leeway_s: u64,
    /// Claim that holds the user; a name that starts with / is a JSON pointer (RFC 6901)
    #[arg(long, default_value = "sub", value_name = "NAME", help_heading = "Tokens")]
    pub jwt_claim_user: String,
    /// Claim that holds the tenant
    #[arg(long, default_value = "tenant", value_name = "NAME", help_heading = "Tokens")]
    pub jwt_claim_tenant: String,
    /// Claim with patterns of channel names the user may subscribe to
    #[arg(long, default_value = "channels", value_name = "NAME", help_heading = "Tokens")]
    pub jwt_claim_channels: String,
    /// Claim with patterns of topics the user may publish to
    #[arg(long, default_value = "publish", value_name = "NAME", help_heading = "Tokens")]
    pub jwt_claim_publish: String,
    /// Claim with patterns of methods the user may ask backends for
    #[arg(long, default_value = "methods", value_name = "NAME", help_heading = "Tokens")]
    pub jwt_claim_methods: String,
    /// Claim with topics that the node subscribes for the user
    #[arg(long, default_value = "subscribe", value_name = "NAME", help_heading = "Tokens")]
    pub jwt_claim_subscribe: String,
    /// Claim with what others see of the user in presence: any JSON of up to 1 KiB
    #[arg(long, default_value = "info", value_name = "NAME", help_heading = "Tokens")]
    pub jwt_claim_info: String,
    /// How long a connection may outlive its token before it is closed with 4409
    #[arg(long, default_value = "10", value_name = "SECONDS", help_heading = "Tokens")]
    pub token_expiry_grace_s: u64,
    /// Whether a connection is subscribed to its own user: topic by itself
    #[arg(long, action = clap::ArgAction::Set, default_value = "true", value_name = "BOOL", help_heading = "Tokens")]
    pub own_user_topic: bool,
    /// API keys with every scope, as name:key, comma separated; a name may have several keys
    #[arg(long, value_name = "KEYS", help_heading = "HTTP API")]
    pub api_keys: Option<List<Secret>>,
    /// TOML file of API keys with tenants and verbs; read again when it changes
    #[arg(long, value_name = "FILE", help_heading = "HTTP API")]
    pub api_keys_file: Option<String>,
    /// Name of this node, unique among the nodes [default: host name and random letters]
    #[arg(long, value_name = "NAME", help_heading = "Node")]
    pub node_id: Option<String>,
    /// After SIGTERM: not ready but still accepting for this long, because balancers learn late
    #[arg(long, default_value = "5", value_name = "SECONDS", help_heading = "Node")]
    pub drain_delay_s: u64,
    /// After the drain delay: clients are told to leave, as fast as the other nodes can take them, and have this long at most
    #[arg(long, default_value = "30", value_name = "SECONDS", help_heading = "Node")]
    pub drain_s: u64,
    /// Whether this node sends clients away, slowly, while it has well more than the mean of all nodes: when nodes were added
    #[arg(long, action = clap::ArgAction::Set, default_value = "false", value_name = "BOOL", help_heading = "Node")]
    pub shed: bool,
    /// How much is well more, in per cent of the mean
    #[arg(long, default_value = "110", value_name = "PERCENT", help_heading = "Node")]
    pub shed_above_percent: u64,
    /// How often files that may change are looked at
    #[arg(long, default_value = "5", value_name = "SECONDS", help_heading = "Node")]
    pub reload_interval_s: u64,
    /// Worker threads; 0 is one for each core
    #[arg(long, default_value = "0", value_name = "N", help_heading = "Node")]
    pub workers: u64,
    /// What may wait for one client before it counts as slow (4413)
    #[arg(long, default_value = "1048576", value_name = "BYTES", help_heading = "Node")]
    pub outbox_bytes_max: u64,
    /// What may wait for all clients together; 0 is a quarter of the memory limit
    #[arg(long, default_value = "0", value_name = "BYTES", help_heading = "Node")]
    pub outbox_node_bytes_max: u64,
    /// How long a client's request waits for its answer unless it says
    #[arg(long, default_value = "10000", value_name = "MS", help_heading = "Requests to backends")]
    pub request_timeout_ms: u64,
    /// How long a client's request may wait at most
    #[arg(long, default_value = "60000", value_name = "MS", help_heading = "Requests to backends")]
    pub request_timeout_max_ms: u64,
    /// Requests of one connection that wait for an answer
    #[arg(long, default_value = "32", value_name = "N", help_heading = "Requests to backends")]
    pub requests_per_connection_max: u64,
    /// Requests of one tenant on this node that wait for an answer
    #[arg(long, default_value = "1000", value_name = "N", help_heading = "Requests to backends")]
    pub requests_per_tenant_max: u64,
    /// Requests that the stream of a tenant keeps in Redis, at least about; the oldest go first, taken by a backend or not
    #[arg(long, default_value = "10000", value_name = "N", help_heading = "Requests to backends")]
    pub requests_maxlen: u64,
    /// Connections to this node
    #[arg(long, default_value = "100000", value_name = "N", help_heading = "Limits")]
    pub connections_max: u64,
    /// Connections of one tenant to this node; 0 is no limit
    #[arg(long, default_value = "0", value_name = "N", help_heading = "Limits")]
    pub connections_per_tenant_max: u64,
    /// Connections of one user to this node; 0 is no limit
    #[arg(long, default_value = "0", value_name = "N", help_heading = "Limits")]
    pub connections_per_user_max: u64,
    /// Connections from one address to this node; 0 is no limit
    #[arg(long, default_value = "0", value_name = "N", help_heading = "Limits")]
    pub connections_per_address_max: u64,
    /// Connections from one address that have not authenticated yet; 0 is no limit
    #[arg(long, default_value = "256", value_name = "N", help_heading = "Limits")]
    pub unauthenticated_per_address_max: u64,
    /// Topics one connection may be subscribed to
    #[arg(long, default_value = "10000", value_name = "N", help_heading = "Limits")]
    pub subscriptions_per_connection_max: u64,
    /// Frames a client may send in a minute, refilled steadily
    #[arg(long, default_value = "600", value_name = "N", help_heading = "Limits")]
    pub frames_per_minute: u64,
    /// Frames a client may send at once
    #[arg(long, default_value = "200", value_name = "N", help_heading = "Limits")]
    pub frames_burst: u64,
    /// Events a client may publish in a minute, refilled steadily
    #[arg(long, default_value = "600", value_name = "N", help_heading = "Limits")]
    pub publishes_per_minute: u64,
    /// Events a client may publish at once
    #[arg(long, default_value = "200", value_name = "N", help_heading = "Limits")]
    pub publishes_burst: u64,
    /// Largest message from a client, all its fragments together
    #[arg(long, default_value = "65536", value_name = "BYTES", help_heading = "Limits")]
    pub message_bytes_max: u64,
    /// Largest event, as its publisher wrote it
    #[arg(long, default_value = "65536", value_name = "BYTES", help_heading = "Limits")]
    pub event_bytes_max: u64,
    /// Largest body of a request to the HTTP API
    #[arg(long, default_value = "1048576", value_name = "BYTES", help_heading = "Limits")]
    pub api_body_bytes_max: u64,
    /// Events in one request to the HTTP API
    #[arg(long, default_value = "1000", value_name = "N", help_heading = "Limits")]
    pub api_batch_events_max: u64,
    /// Requests of one API key in a minute, refilled steadily; 0 is no limit
    #[arg(long, default_value = "60000", value_name = "N", help_heading = "Limits")]
    pub api_requests_per_minute: u64,
    /// Requests of one API key at once
    #[arg(long, default_value = "2000", value_name = "N", help_heading = "Limits")]
    pub api_requests_burst: u64,
    /// Longest wait for the auth frame of a new connection
    #[arg(long, default_value = "5000", value_name = "MS", help_heading = "Limits")]
    pub auth_timeout_ms: u64,
    /// Longest wait for the headers of a request
    #[arg(long, default_value = "10000", value_name = "MS", help_heading = "Limits")]
    pub header_timeout_ms: u64,
    /// Longest wait for the close frame of a client
    #[arg(long, default_value = "2000", value_name = "MS", help_heading = "Limits")]
    pub close_timeout_ms: u64,
    /// A connection silent for this long in either direction is sent a ping; two missed and it is dead
    #[arg(long, default_value = "25000", value_name = "MS", help_heading = "Limits")]
    pub ping_ms: u64,
    /// New connections taken in a second
    #[arg(long, default_value = "5000", value_name = "N", help_heading = "Limits")]
    pub accept_per_s: u64,
    /// Clients a second that this node is ready to take over from nodes that drain or shed [default: 500, or accept_per_s if that is less]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub accept_budget_per_s: Option<u64>,
    /// Connections that wait in the kernel to be taken
    #[arg(long, default_value = "4096", value_name = "N", help_heading = "Limits")]
    pub listen_backlog: u64,
    /// human or json
    #[arg(long, default_value = "human", value_name = "FORMAT", help_heading = "Logs and metrics")]
    pub log_format: String,
    /// error, warn, info, debug, trace, or a filter such as info,fanfare_gateway=debug
    #[arg(long, default_value = "info", value_name = "LEVEL", help_heading = "Logs and metrics")]
    pub log_level: String,
    /// How often connections are summed up in the log; 0 is never
    #[arg(long, default_value = "10", value_name = "SECONDS", help_heading = "Logs and metrics")]
    pub log_summary_s: u64,
    /// Tenants with metrics of their own; the others are counted together
    #[arg(long, default_value = "100", value_name = "N", help_heading = "Logs and metrics")]
    pub metrics_tenants_max: u64,
    /// Event types with metrics of their own; the others are counted together
    #[arg(long, default_value = "100", value_name = "N", help_heading = "Logs and metrics")]
    pub metrics_types_max: u64,
}
