//! What a client, an address, a tenant, and all of them together may use.

use std::time::Duration;

use super::checker::Checker;
use crate::machine::Machine;
use crate::settings::Settings;

/// Limits; `None` is no limit.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections to this node.
    pub connections_max: u32,
    /// Connections of one tenant to this node.
    pub connections_per_tenant_max: Option<u32>,
    /// Connections of one user to this node.
    pub connections_per_user_max: Option<u32>,
    /// Connections from one address to this node.
    pub connections_per_address_max: Option<u32>,
    /// Connections from one address that have not authenticated yet.
    pub unauthenticated_per_address_max: Option<u32>,
    /// Topics of one connection.
    pub subscriptions_per_connection_max: u32,
    /// Frames a client may send in a minute.
    pub frames_per_minute: u32,
    /// Frames a client may send at once.
    pub frames_burst: u32,
    /// Events a client may publish in a minute.
    pub publishes_per_minute: u32,
    /// Events a client may publish at once.
    pub publishes_burst: u32,
    /// Largest message from a client, all its fragments together.
    pub message_bytes_max: usize,
    /// Largest event, as its publisher wrote it.
    pub event_bytes_max: usize,
    /// Largest body of a request to the HTTP API.
    pub api_body_bytes_max: usize,
    /// Events in one request to the HTTP API.
    pub api_batch_events_max: u32,
    /// Requests of one API key in a minute.
    pub api_requests_per_minute: Option<u32>,
    /// Requests of one API key at once.
    pub api_requests_burst: u32,
    /// Longest wait for the `auth` frame.
    pub auth_timeout: Duration,
    /// Longest wait for the headers of a request.
    pub header_timeout: Duration,
    /// Longest wait for a client's close frame.
    pub close_timeout: Duration,
    /// New connections taken in a second.
    pub accept_per_s: u32,
    /// Clients that this node is ready to take over from others in a second.
    pub accept_budget_per_s: u32,
    /// Connections that wait in the kernel.
    pub listen_backlog: u32,
}

/// What may wait to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxConfig {
    /// For one client.
    pub bytes_max: usize,
    /// For all clients of this node together.
    pub node_bytes_max: usize,
}

/// Clients a second that a node is ready to take over unless it is told otherwise: about 30 ms of CPU at 56 µs each.
const ACCEPT_BUDGET_PER_S: u32 = 500;

const MESSAGE_BYTES: std::ops::RangeInclusive<usize> = 1024..=16 << 20;

pub(super) fn check(settings: &Settings, check: &mut Checker) -> Limits {
    let accept_per_s = check.count("accept_per_s", settings.accept_per_s, 1..=10_000_000);
    Limits {
        connections_max: check.count("connections_max", settings.connections_max, 1..=u32::MAX),
        connections_per_tenant_max: check.limit("connections_per_tenant_max", settings.connections_per_tenant_max),
        connections_per_user_max: check.limit("connections_per_user_max", settings.connections_per_user_max),
        connections_per_address_max: check.limit("connections_per_address_max", settings.connections_per_address_max),
        unauthenticated_per_address_max: check
            .limit("unauthenticated_per_address_max", settings.unauthenticated_per_address_max),
        subscriptions_per_connection_max: check.count(
            "subscriptions_per_connection_max",
            settings.subscriptions_per_connection_max,
            1..=10_000_000,
        ),
        frames_per_minute: check.count("frames_per_minute", settings.frames_per_minute, 1..=60_000_000),
        frames_burst: check.count("frames_burst", settings.frames_burst, 1..=60_000_000),
        publishes_per_minute: check.count("publishes_per_minute", settings.publishes_per_minute, 1..=60_000_000),
        publishes_burst: check.count("publishes_burst", settings.publishes_burst, 1..=60_000_000),
        message_bytes_max: check.bytes("message_bytes_max", settings.message_bytes_max, MESSAGE_BYTES),
        event_bytes_max: check.bytes("event_bytes_max", settings.event_bytes_max, MESSAGE_BYTES),
        api_body_bytes_max: check.bytes("api_body_bytes_max", settings.api_body_bytes_max, 1024..=64 << 20),
        api_batch_events_max: check.count("api_batch_events_max", settings.api_batch_events_max, 1..=100_000),
        api_requests_per_minute: check.limit("api_requests_per_minute", settings.api_requests_per_minute),
        api_requests_burst: check.count("api_requests_burst", settings.api_requests_burst, 1..=60_000_000),
        auth_timeout: check.ms("auth_timeout_ms", settings.auth_timeout_ms, 10..=600_000),
        header_timeout: check.ms("header_timeout_ms", settings.header_timeout_ms, 10..=600_000),
        close_timeout: check.ms("close_timeout_ms", settings.close_timeout_ms, 10..=600_000),
        accept_per_s,
        accept_budget_per_s: accept_budget(settings, accept_per_s, check),
        listen_backlog: check.count("listen_backlog", settings.listen_backlog, 1..=65_535),
    }
}

/// No more than the listener takes.
fn accept_budget(settings: &Settings, accept_per_s: u32, check: &mut Checker) -> u32 {
    let Some(given) = settings.accept_budget_per_s else { return ACCEPT_BUDGET_PER_S.min(accept_per_s) };
    let budget = check.count("accept_budget_per_s", given, 1..=10_000_000);
    if budget > accept_per_s {
        let fix = format!("make it at most {accept_per_s}, which is accept_per_s, or raise that");
        check.problem("accept_budget_per_s", budget, "more than this node takes in a second", &fix);
    }
    budget
}

pub(super) fn check_outbox(
    settings: &Settings,
    limits: &Limits,
    machine: &Machine,
    check: &mut Checker,
) -> OutboxConfig {
    let bytes_max = check.bytes("outbox_bytes_max", settings.outbox_bytes_max, 4096..=1 << 32);
    // A client that is up to date must be able to take the largest event, in either encoding, with its frame.
    let event_was_fine = u64::try_from(limits.event_bytes_max) == Ok(settings.event_bytes_max);
    if event_was_fine && bytes_max < 2 * limits.event_bytes_max {
        let fix = format!("make it at least {}, twice event_bytes_max", 2 * limits.event_bytes_max);
        check.problem("outbox_bytes_max", bytes_max, "too small for the largest event", &fix);
    }
    let node_bytes_max = match check.bytes("outbox_node_bytes_max", settings.outbox_node_bytes_max, 0..=1 << 44) {
        0 => usize::try_from(machine.memory_bytes / 4).unwrap_or(usize::MAX).max(bytes_max),
        given => given,
    };
    if node_bytes_max < bytes_max {
        let fix = "make it at least outbox_bytes_max";
        check.problem("outbox_node_bytes_max", node_bytes_max, "less than one client may have", fix);
    }
    OutboxConfig { bytes_max, node_bytes_max }
}
