//! A receiver of traces by OTLP over HTTP (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>), in protobuf.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::until;

/// A collector that listens until it is dropped.
pub(crate) struct Collector {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _serving: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    spans: Vec<Exported>,
    authorization: Option<String>,
}

/// One span as it came, ids in hexadecimal.
#[derive(Clone, Debug)]
pub(crate) struct Exported {
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for a root.
    pub(crate) parent: String,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) attributes: BTreeMap<String, Value>,
    /// What the status says of an error; none when it is none.
    pub(crate) error: Option<String>,
    /// What it comes from.
    pub(crate) resource: BTreeMap<String, Value>,
}

impl Collector {
    /// Listens on a free port.
    pub(crate) async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut serving = JoinSet::new();
        let taken = Arc::clone(&seen);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&taken);
                let service = service_fn(move |request| take(Arc::clone(&seen), request));
                connections.spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Collector { address, seen, _serving: serving }
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans until now.
    pub(crate) fn spans(&self) -> Vec<Exported> {
        self.seen.lock().unwrap().spans.clone()
    }

    /// The header of the last request.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.seen.lock().unwrap().authorization.clone()
    }

    /// Waits for so many spans of this name.
    pub(crate) async fn named(&self, name: &str, count: usize) -> Vec<Exported> {
        let named = || self.spans().into_iter().filter(|span| span.name == name).collect::<Vec<_>>();
        until(&format!("{count} spans are named {name}"), async || named().len() >= count).await;
        let named = named();
        assert_eq!(named.len(), count, "{named:?}");
        named
    }

    /// Waits for the only span of this name.
    pub(crate) async fn span(&self, name: &str) -> Exported {
        self.named(name, 1).await.remove(0)
    }
}

impl Exported {
    /// An attribute that must be there.
    pub(crate) fn attribute(&self, name: &str) -> &Value {
        self.attributes.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    /// How long it lasted, in microseconds.
    pub(crate) fn us(&self) -> u64 {
        (self.end_ns - self.start_ns) / 1_000
    }

    /// It is a child of this span of this trace.
    pub(crate) fn assert_child_of(&self, trace: &str, parent: &str) {
        assert_eq!((&*self.trace, &*self.parent), (trace, parent), "{self:?}");
    }
}

async fn take(seen: Arc<Mutex<Seen>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let is_otlp = head.uri.path() == "/v1/traces" && head.headers["content-type"] == "application/x-protobuf";
    let Some(export) = ExportTraceServiceRequest::decode(body).ok().filter(|_| is_otlp) else {
        let refused = Response::builder().status(400).body(Full::default());
        return Ok(refused.unwrap());
    };
    let mut seen = seen.lock().unwrap();
    seen.authorization = head.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    for resource_spans in export.resource_spans {
        let resource = attributes(resource_spans.resource.unwrap_or_default().attributes);
        for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            seen.spans.push(exported(span, &resource));
        }
    }
    Ok(Response::new(Full::from(ExportTraceServiceResponse::default().encode_to_vec())))
}

fn exported(span: Span, resource: &BTreeMap<String, Value>) -> Exported {
    let kind = span.kind();
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    Exported {
        kind,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name,
        start_ns: span.start_time_unix_nano,
        end_ns: span.end_time_unix_nano,
        attributes: attributes(span.attributes),
        error: span.status.filter(|status| status.code() == StatusCode::Error).map(|status| status.message),
        resource: resource.clone(),
    }
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, Value> {
    let value = |attribute: KeyValue| {
        let value = match attribute.value.and_then(|value| value.value) {
            Some(any_value::Value::StringValue(text)) => json!(text),
            Some(any_value::Value::BoolValue(is)) => json!(is),
            Some(any_value::Value::IntValue(number)) => json!(number),
            other => panic!("{}: {other:?}", attribute.key),
        };
        (attribute.key, value)
    };
    attributes.into_iter().map(value).collect()
}
