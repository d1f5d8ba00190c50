//! What is told of the HTTP API's failures.

use std::fmt::Display;

use super::Metrics;
use crate::traces::LogTrace;

impl Metrics {
    /// Requests are counted by their status already. `code` is what the backend was told.
    pub(crate) fn api_failed(&self, code: &'static str, error: &dyn Display, trace: LogTrace) {
        if let Some(suppressed) = self.api_log.pass(code) {
            let (trace_id, span_id) = (trace.trace_id(), trace.span_id());
            tracing::warn!(code, %error, suppressed, trace_id, span_id, "a request of the HTTP API failed");
        }
    }
}
