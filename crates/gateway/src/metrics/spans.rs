//! What is counted of spans.

use super::Count;

/// What became of spans that ended.
#[derive(Debug, Default)]
pub struct SpanCounts {
    /// Taken by the collector.
    pub exported: Count,
    /// Not: the queue was full, or the export failed.
    pub dropped: Count,
}

impl SpanCounts {
    pub(crate) fn exported(&self, spans: u64) {
        self.exported.add(spans);
    }

    pub(crate) fn dropped(&self, spans: u64) {
        self.dropped.add(spans);
    }
}
