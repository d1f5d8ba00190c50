//! What a node does, told as spans of OpenTelemetry: which operations are traced is decided here, once for each, before
//! anything is made of it. What isn't sampled costs a comparison or a random number, and no allocation.
//!
//! | module | what it holds |
//! |---|---|
//! | `config` | what the standard's variables say |
//! | `sampler` | which traces are recorded |
//! | `span` | one span, which ends when it is dropped |
//! | `delivery` | an event's way through this node |
//! | `operation` | what was asked of this node: to publish, to ask a backend |
//! | `attributes` | the words of the conventions |
//! | `logged` | the trace of a line in the log |
//! | `queue` | where ended spans wait, in bounds |
//! | `exporter` | the thread that hands them to the collector |
//!
//! Deliberately without the SDK's tracer: a span costs it a microsecond, sampled or not. And nothing here is done for each
//! delivery, or for a connection.

mod attributes;
mod config;
mod delivery;
mod exporter;
mod logged;
mod operation;
mod queue;
mod sampler;
mod span;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use fanfare_protocol::Traceparent;
use opentelemetry::trace::SpanKind;

pub use self::config::TracesConfig;
pub use self::delivery::{Deliveries, Delivery};
use self::exporter::Exporter;
pub use self::logged::LogTrace;
pub(crate) use self::operation::header;
use self::queue::Queue;
use self::sampler::{Decision, Sampler};
pub use self::span::Span;
use crate::metrics::Metrics;

/// How long the end of a node waits for a collector.
const END_MAX: Duration = Duration::from_secs(5);

/// A node's traces; a clone shares them.
#[derive(Clone, Debug)]
pub struct Traces(Option<Arc<Tracing>>);

#[derive(Debug)]
struct Tracing {
    sampler: Sampler,
    queue: Queue,
    exporter: Exporter,
    node: Arc<str>,
}

impl Traces {
    /// Starts to export; without a configuration nothing is ever traced.
    ///
    /// # Errors
    /// When a certificate can't be used, or there is no thread to be had.
    pub fn start(config: Option<&TracesConfig>, node_id: &str, metrics: &Arc<Metrics>) -> anyhow::Result<Self> {
        let Some(config) = config else { return Ok(Self(None)) };
        let (queue, exporter) = exporter::start(config, node_id, metrics).context("traces")?;
        tracing::info!(endpoint = config.endpoint_printed(), sampler = %config.sampler, "exporting traces");
        Ok(Self(Some(Arc::new(Tracing { sampler: config.sampler, queue, exporter, node: node_id.into() }))))
    }

    /// Waits until what has ended is with the collector, but not long. What ends later is dropped.
    pub async fn end(&self) {
        if let Some(tracing) = &self.0
            && !tracing.exporter.end(END_MAX).await
        {
            tracing::warn!(waited_s = END_MAX.as_secs(), "the last spans did not reach the collector");
        }
    }
}

impl Tracing {
    /// A span that begins now. None where nothing is recorded and nobody need be told.
    fn span(
        &self,
        kind: SpanKind,
        parent: Option<Traceparent>,
        name: impl FnOnce() -> Cow<'static, str>,
    ) -> Option<Span> {
        match self.sampler.decide(parent) {
            Decision::Recorded(trace) => {
                Some(Span::begin(&self.queue, kind, (trace, parent), name(), SystemTime::now()))
            }
            Decision::Unrecorded(trace) => trace.map(|trace| Span::unrecorded(trace, parent)),
        }
    }
}
