//! What is counted of clients' requests to backends.

use std::fmt::Display;
use std::sync::OnceLock;
use std::time::Duration;

use fanfare_backplane::ReadError;
use fanfare_protocol::{Method, Tenant};
use opentelemetry::metrics::Histogram;

use super::{Labelled, Metrics};
use crate::traces::LogTrace;

/// Counters of requests.
#[derive(Debug, Default)]
pub struct RequestCounts {
    /// Requests that ended, by what became of them.
    pub ended: Labelled<&'static str>,
    /// Answers that reached nobody, by reason.
    pub answers_dropped: Labelled<&'static str>,
    /// From the client's frame to the backend's answer, in seconds; set by who exports it.
    pub seconds: OnceLock<Histogram<f64>>,
}

impl RequestCounts {
    /// `took`: until a backend answered.
    pub(crate) fn ended(&self, outcome: &'static str, took: Option<Duration>) {
        self.ended.add(outcome, 1);
        if let (Some(took), Some(histogram)) = (took, self.seconds.get()) {
            histogram.record(took.as_secs_f64(), &[]);
        }
    }
}

impl Metrics {
    /// Counts an answer that reached nobody. Late and repeated ones come of slow backends, the others of mistakes or worse.
    pub(crate) fn answer_dropped(&self, reason: &'static str, tenant: &str, error: &dyn Display) {
        self.requests.answers_dropped.add(reason, 1);
        if matches!(reason, "late" | "repeated") {
            tracing::debug!(tenant, reason, "a backend's answer is dropped");
        } else if let Some(suppressed) = self.refused_log.pass(reason) {
            tracing::warn!(tenant, reason, %error, suppressed, "a backend's answer is dropped");
        }
    }

    /// Not counted: it is the operator's to mend, so the log says it.
    pub(crate) fn answers_refused(&self, tenant: &str, error: &str) {
        if let Some(suppressed) = self.refused_log.pass("answers") {
            tracing::error!(tenant, error, suppressed, "the backplane refuses the channel for backends' answers");
        }
    }

    /// The same.
    pub(crate) fn request_refused(&self, tenant: &Tenant, error: &str, trace: LogTrace) {
        if let Some(suppressed) = self.refused_log.pass("request") {
            tracing::error!(
                tenant = tenant.as_str(),
                error,
                suppressed,
                trace_id = trace.trace_id(),
                span_id = trace.span_id(),
                "the backplane refuses a client's request"
            );
        }
    }

    /// It is counted by what became of it; the line tells whose it was.
    pub(crate) fn request_unanswered(
        &self,
        (tenant, method): (&Tenant, &Method),
        outcome: &'static str,
        trace: LogTrace,
    ) {
        if let Some(suppressed) = self.refused_log.pass(outcome) {
            tracing::warn!(
                tenant = tenant.as_str(),
                method = method.as_str(),
                outcome,
                suppressed,
                trace_id = trace.trace_id(),
                span_id = trace.span_id(),
                "a client's request was not answered"
            );
        }
    }

    /// Whether a backend took a request can't be told.
    pub(crate) fn request_unclear(&self, tenant: &Tenant, error: &ReadError, trace: LogTrace) {
        if let Some(suppressed) = self.refused_log.pass("groups") {
            let tenant = tenant.as_str();
            let (trace_id, span_id) = (trace.trace_id(), trace.span_id());
            tracing::warn!(tenant, %error, suppressed, trace_id, span_id, "can't ask whether a backend took a request");
        }
    }
}
