//! What is told of traces.

use super::Instruments;

impl Instruments {
    pub(super) fn spans(&self) {
        self.counter("fanfare_spans_exported_total", "Spans that the collector of traces took", |metrics| {
            metrics.spans.exported.get()
        });
        let help = "Spans that no collector took: the queue was full, or the export failed";
        self.counter("fanfare_spans_dropped_total", help, |metrics| metrics.spans.dropped.get());
    }
}
