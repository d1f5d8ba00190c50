//! What operators ask: does the process live, does it deliver, may it have clients, what does it count. Open to whoever
//! reaches the port, so nothing here is secret and nothing can be changed.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use crate::exporter::{self, Exporter};
use crate::node::Node;
use crate::problem;
use crate::readiness::{NotReady, Readiness};

/// Health, readiness and metrics of a node.
pub struct Admin {
    /// The node.
    pub node: Arc<Node>,
    /// Whether it is ready.
    pub readiness: Arc<Readiness>,
    /// What it counts.
    pub exporter: Arc<Exporter>,
}

impl Admin {
    /// Answers a request; `None` when its path is none of these.
    pub async fn answer<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let mut answer = match request.uri().path() {
            "/healthz" | "/readyz" | "/readyz/node" | "/metrics" if !is_read => {
                problem::method_not_allowed("GET, HEAD")
            }
            "/healthz" => self.health(),
            "/readyz" => self.delivers(),
            "/readyz/node" => readiness(self.readiness.takes_clients()),
            "/metrics" => self.metrics().await,
            _ => return None,
        };
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(answer)
    }

    fn health(&self) -> Response<Full<Bytes>> {
        let uptime_s = self.node.clock.now().0 / 1_000;
        let body = json!({ "status": "ok", "connections": self.node.admission.connections(), "uptime_s": uptime_s });
        problem::json(StatusCode::OK, &body)
    }

    fn delivers(&self) -> Response<Full<Bytes>> {
        let delivery = self.node.backplane.delivery();
        match (self.readiness.delivers(), delivery) {
            (Ok(()), Some(delivery)) => {
                let lag_ms = u64::try_from(delivery.lag_now().as_millis()).unwrap_or(u64::MAX);
                problem::json(StatusCode::OK, &json!({ "status": "ready", "lag_ms": lag_ms }))
            }
            (ready, _) => readiness(ready),
        }
    }

    async fn metrics(&self) -> Response<Full<Bytes>> {
        let exporter = Arc::clone(&self.exporter);
        // With many tenants or open files this takes milliseconds that clients would wait for.
        let text = tokio::task::spawn_blocking(move || exporter.text()).await;
        match text.map_err(anyhow::Error::from).flatten() {
            Ok(text) => {
                let mut response = Response::new(Full::from(text));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(exporter::CONTENT_TYPE));
                response
            }
            Err(error) => problem::document(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string()),
        }
    }
}

fn readiness(ready: Result<(), NotReady>) -> Response<Full<Bytes>> {
    match ready {
        Ok(()) => problem::json(StatusCode::OK, &json!({ "status": "ready" })),
        Err(reason) => {
            let body = json!({ "status": "not_ready", "reason": reason.to_string() });
            problem::json(StatusCode::SERVICE_UNAVAILABLE, &body)
        }
    }
}
