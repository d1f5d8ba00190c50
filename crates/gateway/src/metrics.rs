//! What a node counts. Counters on the hot path are plain atomics, read when somebody asks; labels that come from
//! outside (tenants, event types) are capped, or any publisher could fill the node's memory and its monitoring's. How
//! they are told to Prometheus stands in [`crate::exporter`].

mod api;
mod counters;
mod requests;
mod spans;

use std::fmt::Display;
use std::sync::OnceLock;
use std::time::Duration;

use fanfare_backplane::ReadError;
use fanfare_core::Pushed;
use fanfare_core::admission::LimitReached;
use fanfare_protocol::{EnvelopeError, TopicKey};
use hyper::StatusCode;
use opentelemetry::metrics::Histogram;

pub use self::counters::{Capped, CappedPairs, Count, Labelled, OTHER};
pub use self::requests::RequestCounts;
pub use self::spans::SpanCounts;
use crate::connection::End;
use crate::log_limit::LogLimit;
use crate::traces::LogTrace;

/// A node's counters.
#[derive(Debug)]
pub struct Metrics {
    /// Upgrades and event streams that were answered with an HTTP status instead.
    pub upgrades_refused: Count,
    /// Upgrades and requests for event streams that became connections.
    pub connections_opened: Count,
    /// Event streams among the connections.
    pub streams: Count,
    /// Commands over HTTP, by status.
    pub commands: Labelled<u16>,
    /// Connections that ended, by close code; 1006 for those that just went.
    pub connections_ended: Labelled<u16>,
    /// Bytes from clients, frames' headers included.
    pub bytes_in: Count,
    /// Bytes to clients, frames' headers included.
    pub bytes_out: Count,
    /// Messages from clients.
    pub frames_in: Count,
    /// Frames that were refused because a client sent too many.
    pub rate_limited: Count,
    /// How often a limit was reached, by its setting. [`Metrics::overflowed`] stands apart.
    pub limits_reached: Labelled<&'static str>,
    /// Events handed to clients, once for each client.
    pub deliveries: Count,
    /// Clients that were closed because their outbox overflowed.
    pub overflowed: Count,
    /// Gap notices sent.
    pub gaps: Count,
    /// Clients that nodes cut off when their drain was over, as those nodes told.
    pub drain_forced_closes: Count,
    /// Clients sent away to nodes that have fewer.
    pub shed: Count,
    /// How often something was missing on a topic's channel and had to be read from its history.
    pub holes: Count,
    /// Durable events that were dropped since their position was known already.
    pub positions_repeated: Count,
    /// Durable events that were dropped since their topic never reached the position they claim.
    pub positions_unfounded: Count,
    /// Bytes of durable events kept for clients that come back.
    pub recent_bytes: Count,
    /// Topics on the node, those included that nobody is subscribed to any more.
    pub topics: Count,
    /// Subscriptions of all connections together.
    pub subscriptions: Count,
    /// Users in topics who are there by this node's connections.
    pub presence_members: Count,
    /// Users of whom Redis was told that they are there by this node.
    pub presence_joined: Count,
    /// Users of whom Redis was told that they are not there by this node any more.
    pub presence_left: Count,
    /// Frames to clients about who comes and goes.
    pub presence_told: Count,
    /// How long the last refresh of all users took, in milliseconds.
    pub presence_refresh_ms: Count,
    /// Valid events from the backplane, by type.
    pub events_in: Capped,
    /// The same events, by tenant.
    pub tenant_events_in: Capped,
    /// Bytes of valid events from the backplane.
    pub event_bytes_in: Count,
    /// Events that reach nobody because they are not valid, by reason and tenant.
    pub events_invalid: CappedPairs,
    /// Events that the HTTP API published.
    pub published_http: Count,
    /// Events that clients published.
    pub published_client: Count,
    /// Clients' requests to backends.
    pub requests: RequestCounts,
    /// Spans that ended.
    pub spans: SpanCounts,
    /// Requests to the HTTP API, by status.
    pub api_requests: Labelled<u16>,
    /// From the backplane to the last client's socket or outbox, in seconds; set by who exports it.
    pub fan_out_seconds: OnceLock<Histogram<f64>>,
    invalid_log: LogLimit<&'static str>,
    refused_log: LogLimit<&'static str>,
    api_log: LogLimit<&'static str>,
}

/// How an event came to be published by this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The HTTP API.
    Http,
    /// A client's `publish`.
    Client,
}

impl Metrics {
    /// All at 0. `tenants_max`, `types_max`: how many labels of each kind are kept apart.
    pub fn new(tenants_max: usize, types_max: usize) -> Self {
        Self {
            upgrades_refused: Count::default(),
            connections_opened: Count::default(),
            streams: Count::default(),
            commands: Labelled::default(),
            connections_ended: Labelled::default(),
            bytes_in: Count::default(),
            bytes_out: Count::default(),
            frames_in: Count::default(),
            rate_limited: Count::default(),
            limits_reached: Labelled::default(),
            deliveries: Count::default(),
            overflowed: Count::default(),
            gaps: Count::default(),
            drain_forced_closes: Count::default(),
            shed: Count::default(),
            holes: Count::default(),
            positions_repeated: Count::default(),
            positions_unfounded: Count::default(),
            recent_bytes: Count::default(),
            topics: Count::default(),
            subscriptions: Count::default(),
            presence_members: Count::default(),
            presence_joined: Count::default(),
            presence_left: Count::default(),
            presence_told: Count::default(),
            presence_refresh_ms: Count::default(),
            events_in: Capped::new(types_max),
            tenant_events_in: Capped::new(tenants_max),
            event_bytes_in: Count::default(),
            events_invalid: CappedPairs::new(tenants_max),
            published_http: Count::default(),
            published_client: Count::default(),
            requests: RequestCounts::default(),
            spans: SpanCounts::default(),
            api_requests: Labelled::default(),
            fan_out_seconds: OnceLock::new(),
            invalid_log: LogLimit::default(),
            refused_log: LogLimit::default(),
            api_log: LogLimit::default(),
        }
    }

    pub(crate) fn upgrade_refused(&self) {
        self.upgrades_refused.add(1);
    }

    pub(crate) fn connection_opened(&self) {
        self.connections_opened.add(1);
    }

    pub(crate) fn connection_ended(&self, end: End) {
        self.connections_ended.add(end.code(), 1);
    }

    pub(crate) fn stream_opened(&self) {
        self.connection_opened();
        self.streams.add(1);
    }

    pub(crate) fn stream_ended(&self, end: End) {
        self.streams.subtract(1);
        self.connection_ended(end);
    }

    pub(crate) fn command_answered(&self, status: StatusCode) {
        self.commands.add(status.as_u16(), 1);
    }

    pub(crate) fn heard(&self, bytes: u64) {
        self.bytes_in.add(bytes);
    }

    pub(crate) fn frame_in(&self) {
        self.frames_in.add(1);
    }

    pub(crate) fn rate_limited(&self) {
        self.rate_limited.add(1);
    }

    pub(crate) fn limit_reached(&self, setting: &'static str, times: u64) {
        self.limits_reached.add(setting, times);
    }

    /// Counts a refused place, and hands the refusal on.
    pub(crate) fn refused_place(&self, reached: LimitReached) -> LimitReached {
        self.limit_reached(reached.setting, 1);
        reached
    }

    pub(crate) fn delivered(&self, deliveries: u64, written_bytes: u64) {
        self.deliveries.add(deliveries);
        self.bytes_out.add(written_bytes);
    }

    /// Counts what an answer came to.
    pub(crate) fn answered(&self, pushed: Pushed) {
        if let Pushed::Written(bytes) | Pushed::Waiting(bytes) = pushed {
            self.bytes_out.add(bytes as u64);
        }
    }

    pub(crate) fn overflowed(&self, clients: u64) {
        self.overflowed.add(clients);
    }

    pub(crate) fn gaps(&self, told: u64) {
        self.gaps.add(told);
    }

    pub(crate) fn drain_forced_closes(&self, clients: u64) {
        self.drain_forced_closes.add(clients);
    }

    pub(crate) fn shed(&self) {
        self.shed.add(1);
    }

    /// Counts something that was missing on a topic's channel.
    pub(crate) fn hole(&self) {
        self.holes.add(1);
    }

    /// Counts durable events that were dropped: known already, or at a position that the topic never reached.
    pub(crate) fn positions_dropped(&self, repeated: u64, unfounded: u64) {
        self.positions_repeated.add(repeated);
        self.positions_unfounded.add(unfounded);
    }

    pub(crate) fn recent_bytes(&self, bytes: usize) {
        self.recent_bytes.set(bytes as u64);
    }

    pub(crate) fn topics(&self, count: usize) {
        self.topics.set(count as u64);
    }

    pub(crate) fn subscribed(&self, subscriptions: usize) {
        self.subscriptions.add(subscriptions as u64);
    }

    pub(crate) fn unsubscribed(&self, subscriptions: usize) {
        self.subscriptions.subtract(subscriptions as u64);
    }

    pub(crate) fn presence_members(&self, members: usize) {
        self.presence_members.set(members as u64);
    }

    /// Counts what Redis was told of users.
    pub(crate) fn presence_changed(&self, is_joined: bool, users: u64) {
        if is_joined {
            self.presence_joined.add(users);
        } else {
            self.presence_left.add(users);
        }
    }

    pub(crate) fn presence_told(&self, frames: u64) {
        self.presence_told.add(frames);
    }

    pub(crate) fn presence_refreshed(&self, took: Duration) {
        self.presence_refresh_ms.set(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    }

    /// Not counted: an outage has its own metric, and what the server refuses is the operator's to mend.
    pub(crate) fn presence_untold(&self, key: &TopicKey, error: &dyn Display) {
        if let Some(suppressed) = self.refused_log.pass("presence") {
            tracing::warn!(topic = key.as_str(), %error, suppressed, "who is there can't be kept or read");
        }
    }

    /// Once for each event, whoever gets it.
    pub(crate) fn event_in(&self, tenant: &str, event_type: &str, bytes: usize) {
        self.tenant_events_in.add(tenant);
        self.event_bytes_in.add(bytes as u64);
        self.events_in.add(event_type);
    }

    pub(crate) fn event_invalid(&self, key: &TopicKey, error: &EnvelopeError, trace: LogTrace) {
        let reason = error.reason();
        self.events_invalid.add(reason, key.tenant());
        if let Some(suppressed) = self.invalid_log.pass(reason) {
            let (key, trace_id) = (key.as_str(), trace.trace_id());
            tracing::warn!(key, reason, %error, suppressed, trace_id, "an event is not valid and reaches nobody");
        }
    }

    pub(crate) fn published(&self, via: Via) {
        match via {
            Via::Http => self.published_http.add(1),
            Via::Client => self.published_client.add(1),
        }
    }

    pub(crate) fn api_answered(&self, status: StatusCode) {
        self.api_requests.add(status.as_u16(), 1);
    }

    /// Not counted: an outage has its own metric, and what the server refuses is the operator's to mend.
    pub(crate) fn history_unreadable(&self, key: &TopicKey, error: &ReadError) {
        if let Some(suppressed) = self.refused_log.pass("history") {
            tracing::warn!(topic = key.as_str(), %error, suppressed, "a topic's history can't be read");
        }
    }

    /// Not counted: it is the operator's to mend, so the log says it.
    pub(crate) fn publish_refused(&self, key: &TopicKey, words: &str, trace: LogTrace) {
        if let Some(suppressed) = self.refused_log.pass("publish") {
            let (key, trace_id, span_id) = (key.as_str(), trace.trace_id(), trace.span_id());
            let said = "the backplane refuses a client's event";
            tracing::error!(key, error = words, suppressed, trace_id, span_id, "{said}");
        }
    }

    pub(crate) fn fan_out(&self, took: Duration) {
        if let Some(histogram) = self.fan_out_seconds.get() {
            histogram.record(took.as_secs_f64(), &[]);
        }
    }
}
