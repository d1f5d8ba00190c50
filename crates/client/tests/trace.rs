//! Stories of a trace that goes through a backend: from a client's request into its handler, and from there into what the
//! handler publishes.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use fanfare_client::{Event, Publisher, Request, RequestError, Worker};
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use serde_json::json;
use tokio::sync::oneshot;

use support::{Ask, Listener, REPLIES, RedisProcess, acme, in_time, orders};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn a_requests_trace_goes_on_in_its_handler_and_in_what_that_publishes() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    opentelemetry::global::set_tracer_provider(provider.clone());

    let redis = RedisProcess::start();
    let mut listener = Listener::on(&redis, &["fanfare:acme:channel:orders", REPLIES]).await;
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    // Outside of any trace there is none to pass on.
    publisher.publish(&acme(), &orders(), &Event::new("a")).await.unwrap();
    assert_eq!(listener.next().await, r#"{"type":"a"}"#);

    let untraced = publisher.clone().without_trace();
    let method = move |_: Request| {
        let (publisher, untraced) = (publisher.clone(), untraced.clone());
        async move {
            publisher.publish(&acme(), &orders(), &Event::new("b")).await?;
            publisher.publish(&acme(), &orders(), &Event::new("c").without_trace()).await?;
            untraced.publish(&acme(), &orders(), &Event::new("d")).await?;
            Err::<(), _>(RequestError::new("forbidden", "not yours"))
        }
    };
    let worker = Worker::builder(&redis.url(), acme()).method("dashboard.refresh", method).build().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(worker.run(async { _ = stopped.await }));
    Ask::new("r1", &json!(1)).with("traceparent", format!("00-{TRACE}-{SPAN}-01")).add(&redis);
    let traced = listener.next_json().await;
    assert_eq!(listener.next().await, r#"{"type":"c"}"#);
    assert_eq!(listener.next().await, r#"{"type":"d"}"#);
    assert_eq!(listener.next_json().await["error"]["code"], "forbidden");
    stop.send(()).unwrap();
    in_time("the worker stops", worker).await.unwrap();

    let spans = exporter.get_finished_spans().unwrap();
    let [span] = &spans[..] else { panic!("one span is made: {spans:?}") };
    assert_eq!((span.name.as_ref(), &span.span_kind), ("dashboard.refresh", &SpanKind::Server));
    assert_eq!(
        (span.span_context.trace_id().to_string(), span.parent_span_id.to_string()),
        (TRACE.into(), SPAN.into())
    );
    assert_eq!(span.status, Status::error("forbidden"));
    let expected = format!("00-{TRACE}-{}-01", span.span_context.span_id());
    assert_eq!(traced, json!({ "type": "b", "traceparent": expected }));
}
