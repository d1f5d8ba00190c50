//! `fanfare serve`: a configuration becomes a running node, and a signal ends it.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fanfare_backplane::{Backplane, Inbox, InboxLimits};
use fanfare_core::admission::AdmissionLimits;
use fanfare_core::rate::FrameRate;
use rustls::sign::CertifiedKey;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use crate::admin::Admin;
use crate::api::{Api, ApiLimits};
use crate::api_keys::ApiKeys;
use crate::auth::Verifier;
use crate::client_api::ClientApi;
use crate::config::{BackplaneConfig, Config, TlsConfig};
use crate::dev::Dev;
use crate::exporter::Exporter;
use crate::http_port::HttpPort;
use crate::lifecycle::Phase;
use crate::listener::{self, ListenerConfig};
use crate::metrics::Metrics;
use crate::node::{Node, NodeConfig};
use crate::readiness::Readiness;
use crate::routes::Routes;
use crate::traces::Traces;
use crate::watched_file::WatchedFile;
use crate::{dead_peer, drain, open_files, report, shed, summary, tls};

/// Runs a node until a signal ends it.
pub async fn run(config: Config) -> anyhow::Result<()> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let connections_max = connections_max(config.limits.connections_max as usize);
    let clients = listener::bind(config.network.listen, config.limits.listen_backlog)?;
    let admin = listener::bind(config.network.admin_listen, config.limits.listen_backlog)?;
    let api = config.network.api_listen.map(|api| listener::bind(api, config.limits.listen_backlog)).transpose()?;
    let certificate = match &config.network.tls {
        Some(files) => Some(watched_certificate(files, config.reload_interval).await?),
        None => None,
    };
    let tls = certificate.clone().map(|certificate| TlsAcceptor::from(tls::server_config(move || certificate.load())));
    let api_keys = ApiKeys::new(&config.api_keys, config.reload_interval).await?;
    let verifier = Verifier::new(&config.auth, config.reload_interval).await?;
    let metrics = Arc::new(Metrics::new(config.metrics.tenants_max, config.metrics.types_max));
    let backplane = backplane(&config.backplane);
    let traces = Traces::start(config.traces.as_ref(), &config.node_id, &metrics)?;
    let counted = (metrics, traces);
    let node = Node::start(&config.node_id, node_config(&config, connections_max), backplane, verifier, counted);
    // Before anybody can see that the node is ready: who ends it then gets a proper end.
    let stop_signals = StopSignals::catch()?;
    let listen = clients.local_addr()?;
    tracing::info!(node = &*node.id, %listen, connections_max, tls = tls.is_some(), "serving clients");
    let api_listen = serve_inside(&node, &config, Inside { admin, api, api_keys, certificate })?;
    if let Some(interval) = config.log.summary_interval {
        tokio::spawn(summary::run(Arc::clone(&node), interval));
    }
    let dev = config.dev.then(|| Dev::new(&config, api_listen)).transpose()?;
    if let Some(dev) = &dev {
        dev.announce(listen);
    }

    let trusted_proxies: Arc<[_]> = config.network.trusted_proxies.clone().into();
    let routes = Arc::new(Routes {
        node: Arc::clone(&node),
        client_api: ClientApi::new(&node, config.limits.header_timeout),
        origins: config.network.allowed_origins.clone(),
        trusted_proxies: Arc::clone(&trusted_proxies),
        dev,
    });
    let listener_config = ListenerConfig {
        accept_per_s: NonZeroU32::new(config.limits.accept_per_s).unwrap_or(NonZeroU32::MIN),
        header_timeout: config.limits.header_timeout,
        close_timeout: config.limits.close_timeout,
        unacknowledged_max: dead_peer::unacknowledged_max(config.ping_interval),
        trusted_proxies,
    };
    let accepting = tokio::spawn(listener::run(clients, listener_config, tls, routes));
    let serving = Arc::clone(&node);
    let closing = tokio::spawn(async move {
        serving.lifecycle.reached(Phase::Draining).await;
        accepting.abort();
    });

    stop_signals.first().await;
    drain::drain(&node, config.drain).await;
    node.traces.end().await;
    closing.await.context("the listener's end")
}

/// What operators and backends are served with.
struct Inside {
    admin: TcpListener,
    /// None where the API is on the admin port.
    api: Option<TcpListener>,
    api_keys: ApiKeys,
    /// What clients are shown.
    certificate: Option<Arc<WatchedFile<CertifiedKey>>>,
}

/// Serves operators and backends, on one port or on two, until the process ends. Returns where the API listens.
fn serve_inside(node: &Arc<Node>, config: &Config, inside: Inside) -> anyhow::Result<SocketAddr> {
    let Inside { admin, api, api_keys, certificate } = inside;
    let header_timeout = config.limits.header_timeout;
    let admin_routes = Arc::new(Admin {
        node: Arc::clone(node),
        readiness: Readiness::watch(Arc::clone(node)),
        exporter: Arc::new(Exporter::new(node, config.metrics, certificate)?),
    });
    let api_routes = Arc::new(Api::new(Arc::clone(node), api_keys, api_limits(config)));
    tokio::spawn(report::run(Arc::clone(node)));
    if config.shed.is_on {
        tokio::spawn(shed::run(Arc::clone(node), config.shed.above_percent));
    }
    let admin_listen = admin.local_addr()?;
    tracing::info!(listen = %admin_listen, "serving operators");
    let mut admin_port = HttpPort { admin: Some(admin_routes), api: None };
    let api_listen = match api {
        None => {
            admin_port.api = Some(api_routes);
            admin_listen
        }
        Some(listener) => {
            let listen = listener.local_addr()?;
            tracing::info!(%listen, "serving backends");
            let port = HttpPort { admin: None, api: Some(api_routes) };
            tokio::spawn(port.run(listener, header_timeout));
            listen
        }
    };
    tokio::spawn(admin_port.run(admin, header_timeout));
    Ok(api_listen)
}

/// SIGTERM is Kubernetes's, SIGINT a person's.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on they don't end the process by themselves.
    fn catch() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for the first one. A second one ends the process at once.
    async fn first(mut self) {
        self.next().await;
        tokio::spawn(async move {
            self.next().await;
            tracing::warn!("second signal: stopping at once");
            std::process::exit(1);
        });
    }
}

/// Raises the limit on open files, and lowers the limit on connections to what fits under it.
fn connections_max(wanted: usize) -> usize {
    match open_files::raise() {
        Ok(raised) => tracing::info!(before = raised.before, after = raised.after, "limit on open files"),
        Err(error) => tracing::warn!(%error, limit = open_files::current(), "cannot raise the limit on open files"),
    }
    let fitting = open_files::clamp_connections(wanted, open_files::current());
    if fitting < wanted {
        tracing::info!(
            connections_max = wanted,
            clamped_to = fitting,
            "connections_max lowered to what open files allow"
        );
    }
    fitting
}

fn backplane(config: &BackplaneConfig) -> (Backplane, Inbox) {
    match config {
        BackplaneConfig::Memory => Backplane::memory(InboxLimits::default()),
        BackplaneConfig::Redis(redis) => Backplane::redis((**redis).clone()),
    }
}

/// For native TLS; a renewed certificate serves new connections without a restart.
async fn watched_certificate(
    files: &TlsConfig,
    reload_interval: Duration,
) -> anyhow::Result<Arc<WatchedFile<CertifiedKey>>> {
    let paths = vec![files.certificate_file.clone(), files.key_file.clone()];
    let parse = |files: &[Vec<u8>]| match files {
        [certificate, key] => tls::load(certificate, key),
        _ => Err(tls::TlsError::UnusableKey),
    };
    Ok(WatchedFile::spawn(paths, reload_interval, parse).await?)
}

fn node_config(config: &Config, connections_max: usize) -> NodeConfig {
    let limits = &config.limits;
    let at_least_1 = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    let or_none = |limit: Option<u32>| limit.map_or(0, |limit| limit as usize);
    NodeConfig {
        admission: AdmissionLimits {
            node: connections_max,
            tenant: or_none(limits.connections_per_tenant_max),
            user: or_none(limits.connections_per_user_max),
            address: or_none(limits.connections_per_address_max),
            unauthenticated: or_none(limits.unauthenticated_per_address_max),
        },
        accept_budget_per_s: limits.accept_budget_per_s,
        subscriptions_max: limits.subscriptions_per_connection_max as usize,
        frame_rate: FrameRate {
            per_minute: at_least_1(limits.frames_per_minute),
            burst: at_least_1(limits.frames_burst),
        },
        publish_rate: FrameRate {
            per_minute: at_least_1(limits.publishes_per_minute),
            burst: at_least_1(limits.publishes_burst),
        },
        message_bytes_max: limits.message_bytes_max,
        event_bytes_max: limits.event_bytes_max,
        outbox_bytes_max: config.outbox.bytes_max,
        outbox_node_bytes_max: config.outbox.node_bytes_max,
        ping_ms: millis(config.ping_interval),
        auth_timeout_ms: millis(limits.auth_timeout),
        token_expiry_grace_ms: millis(config.auth.expiry_grace),
        close_timeout: limits.close_timeout,
        own_user_topic: config.auth.own_user_topic,
        unsubscribe_delay_ms: millis(config.unsubscribe_delay),
        gap_spread_ms: millis(config.gap_spread),
        gather_max: config.gather_max,
        recent_bytes_max: config.recent_bytes_max,
        rules: Arc::clone(&config.rules),
        requests: config.requests,
        presence_ttl: config.presence.ttl,
        presence_told_max: config.presence.told_max,
        shards: config.workers,
    }
}

fn api_limits(config: &Config) -> ApiLimits {
    let limits = &config.limits;
    let at_least_1 = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    let burst = at_least_1(limits.api_requests_burst);
    ApiLimits {
        body_timeout: limits.header_timeout,
        body_bytes_max: limits.api_body_bytes_max,
        batch_events_max: limits.api_batch_events_max as usize,
        rate: limits.api_requests_per_minute.map(|count| FrameRate { per_minute: at_least_1(count), burst }),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
