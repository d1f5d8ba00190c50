//! Stories of traces, at a node's sockets and at a real receiver of OTLP over HTTP: which spans a node exports, how they hang
//! together with those of others, what clients see of them, and what a collector that fails costs.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::float_cmp, reason = "what is counted is a whole number")]

mod collector;
mod deliveries;
mod failures;
mod operations;
#[path = "../support/mod.rs"]
mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use collector::Collector;
use support::{Client, Node, RedisProcess, token};

/// The trace and the span of somebody who asks or publishes.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The caller's context; `flags` are `01` for a trace that is recorded.
fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// Now, in Unix milliseconds.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A node on this Redis that exports at once.
async fn traced_node(redis: &RedisProcess, collector: &Collector, settings: &[(&str, &str)]) -> Node {
    let endpoint = collector.endpoint();
    let traced = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "10")];
    Node::start_on(&redis.url(), &[&traced, settings].concat()).await
}

/// A client of user 42 that is subscribed to `channel:orders`.
async fn subscriber(node: &Node) -> Client {
    let mut client = Client::connect(node, &token("acme", "42")).await;
    client.subscribe("channel:orders").await;
    client
}

/// The span of a `traceparent` of [`TRACE`] that is recorded.
fn span_of(traceparent: &Value) -> String {
    let text = traceparent.as_str().unwrap_or_else(|| panic!("no traceparent: {traceparent}"));
    let (start, span) = text.strip_suffix("-01").unwrap().rsplit_once('-').unwrap();
    assert_eq!(start, format!("00-{TRACE}"));
    span.to_owned()
}

/// Waits until a series of `/metrics` has this value.
async fn until_metric(node: &Node, series: &str, value: f64) {
    support::until(&format!("{series} is {value}"), async || node.metric(series).await == value).await;
}
