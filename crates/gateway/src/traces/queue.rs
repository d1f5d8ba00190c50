//! Where spans that have ended wait for the exporter. Bounded; whoever ends a span never waits, and what doesn't fit is
//! counted and gone.

use std::sync::Arc;

use opentelemetry_sdk::trace::SpanData;
use tokio::sync::mpsc;

use crate::metrics::Metrics;

/// The entrance; a clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: mpsc::Sender<Box<SpanData>>,
    metrics: Arc<Metrics>,
}

impl Queue {
    /// With room for so many spans, and its exit.
    pub(super) fn new(spans_max: usize, metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Box<SpanData>>) {
        let (sender, receiver) = mpsc::channel(spans_max);
        (Self { sender, metrics }, receiver)
    }

    /// Takes a span, or counts it.
    pub(super) fn add(&self, span: Box<SpanData>) {
        if self.sender.try_send(span).is_err() {
            self.metrics.spans.dropped(1);
        }
    }
}
