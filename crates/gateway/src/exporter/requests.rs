//! What is told of clients' requests to backends.

use opentelemetry::KeyValue;

use super::Instruments;

/// Buckets of the time to an answer, in seconds: from 1 ms, which is Redis twice, to the minute that a client waits at most.
const BUCKETS: [f64; 14] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

impl Instruments {
    pub(super) fn requests(&self) {
        self.gauge("fanfare_requests_open", "Requests of clients that wait for a backend's answer", |node| {
            node.requests.open_count() as u64
        });
        let help = "Requests of clients that ended, by what became of them";
        self.counters("fanfare_requests_total", help, |node, tell| {
            for (outcome, count) in node.metrics.requests.ended.read() {
                tell(&[KeyValue::new("outcome", outcome)], count);
            }
        });
        let help = "Answers of backends that reached nobody, by reason";
        self.counters("fanfare_answers_dropped_total", help, |node, tell| {
            for (reason, count) in node.metrics.requests.answers_dropped.read() {
                tell(&[KeyValue::new("reason", reason)], count);
            }
        });
        let histogram = self
            .meter
            .f64_histogram("fanfare_request_seconds")
            .with_description("From a client's request to the backend's answer")
            .with_boundaries(BUCKETS.to_vec())
            .build();
        // A second exporter of the same node would leave the histogram to the first.
        let _ = self.node.metrics.requests.seconds.set(histogram);
    }
}
