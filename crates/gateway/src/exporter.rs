//! `/metrics`: what a node counts, in Prometheus' text format. OpenTelemetry instruments read the counters when somebody
//! asks; between scrapes they cost nothing. The names are written here as they appear.

mod requests;
mod spans;
mod upkeep;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fanfare_protocol::{CloseCode, Tenant};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Instrument, SdkMeterProvider, Stream};
use parking_lot::Mutex;
use prometheus::{Encoder as _, Registry, TextEncoder};
use rustls::sign::CertifiedKey;

use crate::clock::unix_ms;
use crate::config::MetricsConfig;
use crate::connection::End;
use crate::lifecycle::Phase;
use crate::metrics::{Metrics, OTHER};
use crate::node::Node;
use crate::process;
use crate::watched_file::WatchedFile;

/// The media type of [`Exporter::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Buckets of the fan-out's latency, in seconds: from 50 µs, which is one small fan-out, to the 10 s of a node in trouble.
const FAN_OUT_BUCKETS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Label values that don't come from outside: reasons, codes, settings.
const OWN_LABELS_MAX: usize = 64;

/// A node's metrics for Prometheus.
pub struct Exporter {
    registry: Registry,
    /// The instruments live as long as it does.
    _provider: SdkMeterProvider,
}

/// Makes instruments that read `node`.
struct Instruments {
    meter: Meter,
    node: Arc<Node>,
}

/// Tells one value of an instrument, with its labels.
type Tell<'a> = dyn FnMut(&[KeyValue], u64) + 'a;

impl Exporter {
    /// Instruments over the counters of `node`, and over the certificate that its clients are shown, where it has one.
    pub fn new(
        node: &Arc<Node>,
        config: MetricsConfig,
        certificate: Option<Arc<WatchedFile<CertifiedKey>>>,
    ) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_counter_suffixes()
            .without_units()
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .context("metrics")?;
        // The SDK's own cap would cut off what ours lets through. Ours is the one that says what was left out.
        let labels_max = config.tenants_max.max(config.types_max) + OWN_LABELS_MAX;
        let provider = SdkMeterProvider::builder()
            .with_reader(reader)
            .with_resource(Resource::builder_empty().build())
            .with_view(move |_: &Instrument| Stream::builder().with_cardinality_limit(labels_max).build().ok())
            .build();
        let instruments = Instruments { meter: provider.meter("fanfare"), node: Arc::clone(node) };
        instruments.connections(config.tenants_max);
        instruments.traffic();
        instruments.limits();
        instruments.events();
        instruments.histories();
        instruments.requests();
        instruments.spans();
        instruments.presence();
        instruments.state();
        instruments.functions();
        instruments.keys(certificate);
        instruments.process();
        Ok(Self { registry, _provider: provider })
    }

    /// All of them now.
    pub fn text(&self) -> anyhow::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl Instruments {
    fn connections(&self, tenants_max: usize) {
        let named = Mutex::new(HashSet::new());
        self.gauges("fanfare_connections", "Connections that have authenticated, by tenant", move |node, tell| {
            by_tenant(node, &mut named.lock(), tenants_max, tell);
        });
        self.gauge("fanfare_connections_unauthenticated", "Connections that have not authenticated yet", |node| {
            let mut known = 0;
            node.admission.by_tenant(|_, count| known += count);
            node.admission.connections().saturating_sub(known) as u64
        });
        self.gauge("fanfare_connections_max", "Connections that the node has room for", |node| {
            node.config.admission.node as u64
        });
        self.counter(
            "fanfare_connections_opened_total",
            "Upgrades and requests for event streams that became connections",
            |metrics| metrics.connections_opened.get(),
        );
        self.gauge("fanfare_event_streams", "Event streams (SSE) among the connections", |node| {
            node.metrics.streams.get()
        });
        self.counters("fanfare_connections_closed_total", "Connections that ended, by close code", |node, tell| {
            let ended = node.metrics.connections_ended.read();
            // All from 0 on: whoever watches a series that begins with its first count doesn't see that one.
            for code in CloseCode::ALL.map(CloseCode::as_u16).into_iter().chain([End::Gone.code()]) {
                tell(&[KeyValue::new("code", code.to_string())], ended.get(&code).copied().unwrap_or(0));
            }
        });
        self.counter(
            "fanfare_upgrades_refused_total",
            "Upgrades and event streams refused with an HTTP status",
            |metrics| metrics.upgrades_refused.get(),
        );
    }

    fn traffic(&self) {
        self.counter("fanfare_received_bytes_total", "Bytes received from clients", |metrics| metrics.bytes_in.get());
        self.counter("fanfare_sent_bytes_total", "Bytes sent to clients", |metrics| metrics.bytes_out.get());
        self.counter("fanfare_frames_received_total", "Messages received from clients", |metrics| {
            metrics.frames_in.get()
        });
        self.gauge("fanfare_outbox_waiting_bytes", "Bytes waiting to be sent, all clients together", |node| {
            node.budget.used_bytes() as u64
        });
        self.counters("fanfare_published_events_total", "Events this node published, by who asked", |node, tell| {
            tell(&[KeyValue::new("via", "http")], node.metrics.published_http.get());
            tell(&[KeyValue::new("via", "client")], node.metrics.published_client.get());
        });
        self.counters("fanfare_client_commands_total", "Commands of clients over HTTP, by status", |node, tell| {
            for (status, count) in node.metrics.commands.read() {
                tell(&[KeyValue::new("status", status.to_string())], count);
            }
        });
        self.counters("fanfare_api_requests_total", "Requests to the HTTP API, by status", |node, tell| {
            for (status, count) in node.metrics.api_requests.read() {
                tell(&[KeyValue::new("status", status.to_string())], count);
            }
        });
    }

    fn limits(&self) {
        self.counter(
            "fanfare_rate_limited_frames_total",
            "Messages refused because a client sent too many",
            |metrics| metrics.rate_limited.get(),
        );
        self.counters("fanfare_limit_reached_total", "Refusals and closes by a limit, by its setting", |node, tell| {
            for (setting, count) in node.metrics.limits_reached.read() {
                tell(&[KeyValue::new("limit", setting)], count);
            }
            tell(&[KeyValue::new("limit", "outbox_bytes_max")], node.metrics.overflowed.get());
        });
    }

    fn events(&self) {
        self.gauge("fanfare_subscriptions", "Subscriptions of all connections", |node| {
            node.metrics.subscriptions.get()
        });
        self.gauge("fanfare_topics", "Topics this node gets from the backplane", |node| node.metrics.topics.get());
        self.counters("fanfare_events_received_total", "Valid events from the backplane, by type", |node, tell| {
            let types = &node.metrics.events_in;
            types.read(|event_type, count| tell(&[KeyValue::new("type", event_type.to_owned())], count));
        });
        self.counters("fanfare_tenant_events_total", "Valid events from the backplane, by tenant", |node, tell| {
            let tenants = &node.metrics.tenant_events_in;
            tenants.read(|tenant, count| tell(&[KeyValue::new("tenant", tenant.to_owned())], count));
        });
        self.counter("fanfare_event_bytes_received_total", "Bytes of valid events from the backplane", |metrics| {
            metrics.event_bytes_in.get()
        });
        let help = "Events from the backplane that reach nobody because they are not valid, by reason and tenant";
        self.counters("fanfare_events_invalid_total", help, |node, tell| {
            node.metrics.events_invalid.read(|reason, tenant, count| {
                tell(&[KeyValue::new("reason", reason), KeyValue::new("tenant", tenant.to_owned())], count);
            });
        });
        self.counter("fanfare_deliveries_total", "Events handed to clients, once for each client", |metrics| {
            metrics.deliveries.get()
        });
        self.counter("fanfare_gaps_sent_total", "Gap notices sent to clients", |metrics| metrics.gaps.get());
        let histogram = self
            .meter
            .f64_histogram("fanfare_fan_out_seconds")
            .with_description("From the backplane to the last client's socket or outbox")
            .with_boundaries(FAN_OUT_BUCKETS.to_vec())
            .build();
        // A second exporter of the same node would leave the histogram to the first.
        let _ = self.node.metrics.fan_out_seconds.set(histogram);
    }

    fn histories(&self) {
        let help = "How often something missing on a topic's channel was read from its history";
        self.counter("fanfare_history_holes_total", help, |metrics| metrics.holes.get());
        let help = "Durable events dropped: a position known already, or one that the topic never reached";
        self.counters("fanfare_positions_dropped_total", help, |node, tell| {
            tell(&[KeyValue::new("reason", "repeated")], node.metrics.positions_repeated.get());
            tell(&[KeyValue::new("reason", "unfounded")], node.metrics.positions_unfounded.get());
        });
        self.gauge("fanfare_recent_bytes", "Durable events kept for clients that come back, in bytes", |node| {
            node.metrics.recent_bytes.get()
        });
    }

    fn presence(&self) {
        let help = "Users who are there by this node's connections, counted in each topic";
        self.gauge("fanfare_presence_members", help, |node| node.metrics.presence_members.get());
        let help = "Users of whom this node told Redis that they are there, or are not any more";
        self.counters("fanfare_presence_changes_total", help, |node, tell| {
            tell(&[KeyValue::new("change", "joined")], node.metrics.presence_joined.get());
            tell(&[KeyValue::new("change", "left")], node.metrics.presence_left.get());
        });
        self.counter("fanfare_presence_told_total", "Frames to clients about who comes and goes", |metrics| {
            metrics.presence_told.get()
        });
        let node = Arc::clone(&self.node);
        self.meter
            .f64_observable_gauge("fanfare_presence_refresh_seconds")
            .with_description("How long the last refresh of all users on Redis took")
            .with_callback(move |observer| {
                let took = Duration::from_millis(node.metrics.presence_refresh_ms.get());
                observer.observe(took.as_secs_f64(), &[]);
            })
            .build();
    }

    fn state(&self) {
        self.gauge("fanfare_backplane_up", "Whether the backplane delivers to this node (1) or not (0)", |node| {
            u64::from(node.backplane.state().borrow().is_up())
        });
        let node = Arc::clone(&self.node);
        self.meter
            .f64_observable_gauge("fanfare_backplane_lag_seconds")
            .with_description("How long what is published takes to come back to this node, or is waited for")
            .with_callback(move |observer| {
                if let Some(delivery) = node.backplane.delivery() {
                    observer.observe(delivery.lag_now().as_secs_f64(), &[]);
                }
            })
            .build();
        self.gauge("fanfare_draining", "Whether the node is shutting down (1) or not (0)", |node| {
            u64::from(node.lifecycle.phase() > Phase::Serving)
        });
        let help = "Clients a second that this node is ready to take over from other nodes";
        self.gauge("fanfare_accept_budget_per_second", help, |node| u64::from(node.config.accept_budget_per_s));
        let help = "Clients that other nodes cut off when their drain was over, as they told";
        self.counter("fanfare_drain_forced_closes_total", help, |metrics| metrics.drain_forced_closes.get());
        let help = "Clients sent away because other nodes have fewer";
        self.counter("fanfare_shed_total", help, |metrics| metrics.shed.get());
        self.gauges("fanfare_build_info", "Always 1; the label tells the version", |_, tell| {
            tell(&[KeyValue::new("version", env!("CARGO_PKG_VERSION"))], 1);
        });
    }

    /// The names that Prometheus' own client libraries use.
    fn process(&self) {
        self.gauge("process_open_fds", "Open files", |_| process::open_files());
        self.gauge("process_resident_memory_bytes", "Memory in use (RSS)", |_| process::resident_bytes());
        self.meter
            .f64_observable_counter("process_cpu_seconds_total")
            .with_description("CPU time, user and system")
            .with_callback(|observer| observer.observe(process::cpu_time().as_secs_f64(), &[]))
            .build();
        let clock = &self.node.clock;
        let started_at = Duration::from_millis(unix_ms().saturating_sub(clock.now().0));
        self.meter
            .f64_observable_gauge("process_start_time_seconds")
            .with_description("When the node started, Unix time")
            .with_callback(move |observer| observer.observe(started_at.as_secs_f64(), &[]))
            .build();
    }

    fn counter(&self, name: &'static str, help: &'static str, read: impl Fn(&Metrics) -> u64 + Send + Sync + 'static) {
        self.counters(name, help, move |node, tell| tell(&[], read(&node.metrics)));
    }

    fn counters(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn(&Node, &mut Tell<'_>) + Send + Sync + 'static,
    ) {
        let node = Arc::clone(&self.node);
        let tell = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
            read(&node, &mut |labels, value| observer.observe(value, labels));
        };
        self.meter.u64_observable_counter(name).with_description(help).with_callback(tell).build();
    }

    fn gauge(&self, name: &'static str, help: &'static str, read: impl Fn(&Node) -> u64 + Send + Sync + 'static) {
        self.gauges(name, help, move |node, tell| tell(&[], read(node)));
    }

    /// The SDK would repeat a gauge's last value for ever once its label has gone, the sum of an up-down counter not.
    fn gauges(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn(&Node, &mut Tell<'_>) + Send + Sync + 'static,
    ) {
        let node = Arc::clone(&self.node);
        let tell = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<i64>| {
            read(&node, &mut |labels, value| observer.observe(i64::try_from(value).unwrap_or(i64::MAX), labels));
        };
        self.meter.i64_observable_up_down_counter(name).with_description(help).with_callback(tell).build();
    }
}

/// Connections by tenant. A tenant that has a label keeps it as long as it has connections, so no series flickers.
fn by_tenant(node: &Node, named: &mut HashSet<Tenant>, tenants_max: usize, tell: &mut Tell<'_>) {
    let mut tenants = Vec::new();
    node.admission.by_tenant(|tenant, count| tenants.push((tenant.clone(), count as u64)));
    let present: HashSet<_> = tenants.iter().map(|(tenant, _)| tenant.clone()).collect();
    named.retain(|tenant| present.contains(tenant));
    let mut other = 0;
    for (tenant, count) in tenants {
        if named.contains(&tenant) || (named.len() < tenants_max && tenant.as_str() != OTHER) {
            tell(&[KeyValue::new("tenant", tenant.as_str().to_owned())], count);
            named.insert(tenant);
        } else {
            other += count;
        }
    }
    if other > 0 {
        tell(&[KeyValue::new("tenant", OTHER)], other);
    }
}
