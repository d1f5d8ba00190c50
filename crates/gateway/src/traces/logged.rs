//! The trace that a line of the log belongs to: `trace_id`, and `span_id` where the operation has a span.

use fanfare_protocol::Traceparent;
use tracing::field::{DisplayValue, display};

use super::Span;

/// A trace, in a line's words.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogTrace {
    trace: Option<u128>,
    span: Option<u64>,
}

impl LogTrace {
    /// Of an operation in this span, or else of what its caller said.
    pub(crate) fn of(span: Option<&Span>, caller: Option<Traceparent>) -> Self {
        match span {
            Some(span) => {
                let context = span.context();
                Self { trace: Some(context.trace_id()), span: span.is_recorded().then(|| context.span_id()) }
            }
            None => caller.into(),
        }
    }

    /// 32 hexadecimal digits.
    pub(crate) fn trace_id(self) -> Option<DisplayValue<String>> {
        self.trace.map(|trace| display(format!("{trace:032x}")))
    }

    /// 16 hexadecimal digits.
    pub(crate) fn span_id(self) -> Option<DisplayValue<String>> {
        self.span.map(|span| display(format!("{span:016x}")))
    }
}

/// The caller's span is none of ours.
impl From<Option<Traceparent>> for LogTrace {
    fn from(caller: Option<Traceparent>) -> Self {
        Self { trace: caller.map(|caller| caller.trace_id()), span: None }
    }
}
