//! The methods that a worker answers, and how one is run: its panics caught, its time bounded, its answer written.
//! Deliberately without Redis.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::{Request, RequestError};
use crate::trace;

type Handled = Result<Box<RawValue>, RequestError>;
type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Handled> + Send + Sync>;

#[derive(Clone, Default)]
pub(crate) struct Methods {
    named: HashMap<String, Handler>,
    /// For all others.
    fallback: Option<Handler>,
}

/// `{"request":…,"data":…}` or `{"request":…,"error":{…}}`.
#[derive(Serialize)]
struct Answer<'a> {
    request: &'a str,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome<'a> {
    Data(&'a RawValue),
    Error { code: &'a str, message: &'a str },
}

impl Methods {
    pub(crate) fn add(&mut self, name: String, handler: Handler) {
        self.named.insert(name, handler);
    }

    pub(crate) fn set_fallback(&mut self, handler: Handler) {
        self.fallback = Some(handler);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.fallback.is_none()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Handler> {
        self.named.get(name).or(self.fallback.as_ref()).cloned()
    }
}

impl std::fmt::Debug for Methods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.named.keys()).finish()
    }
}

/// Makes a handler of a function: its answer is written here, so that all have one type.
pub(crate) fn handler<F, A, T>(function: F) -> Handler
where
    F: Fn(Request) -> A + Send + Sync + 'static,
    A: Future<Output = Result<T, RequestError>> + Send + 'static,
    T: Serialize,
{
    let function = Arc::new(function);
    Arc::new(move |request| {
        let function = Arc::clone(&function);
        // All of the function runs within the future, which has its trace and whose panics are caught.
        async move {
            let data = function(request).await?;
            serde_json::value::to_raw_value(&data)
                .map_err(|error| RequestError::internal(format!("its answer can't be written as JSON: {error}")))
        }
        .boxed()
    })
}

/// Runs a handler. Returns the answer's bytes.
pub(crate) async fn run(handler: Handler, request: &Request, limit: Duration, answer_bytes_max: usize) -> Vec<u8> {
    let handling = AssertUnwindSafe(handler(request.clone())).catch_unwind();
    let handling = async {
        match timeout(limit, handling).await {
            Ok(outcome) => outcome.unwrap_or_else(|_| Err(RequestError::internal("its handler panicked"))),
            Err(_) => Err(RequestError::new("timeout", format!("the backend did not finish within {limit:?}"))),
        }
    };
    let outcome = trace::traced(request, handling).await;
    if let Err(error) = &outcome
        && let Some(hidden) = error.hidden()
    {
        tracing::error!(method = request.method(), request = request.id(), error = hidden, "a request failed");
    }
    let answer = write(request, outcome.as_deref());
    if answer.len() <= answer_bytes_max {
        return answer;
    }
    let bytes = answer.len();
    tracing::error!(
        method = request.method(),
        request = request.id(),
        bytes,
        answer_bytes_max,
        "an answer is too large"
    );
    write(request, Err(&RequestError::new("too_large", "the backend's answer is too large")))
}

fn write(request: &Request, outcome: Result<&RawValue, &RequestError>) -> Vec<u8> {
    let outcome = match outcome {
        Ok(data) => Outcome::Data(data),
        Err(error) => Outcome::Error { code: error.code(), message: error.message() },
    };
    // Texts and what is JSON already can always be written.
    serde_json::to_vec(&Answer { request: request.id(), outcome }).unwrap_or_default()
}
