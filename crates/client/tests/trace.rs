//! Stories of a trace that goes through a backend: from a client's request into its handler, and from there into what the
//! handler publishes; and of the span in which each event is sent.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::sync::LazyLock;

use fanfare_client::{Event, Publication, Publisher, Request, RequestError, Worker};
use opentelemetry::Value;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde_json::json;
use tokio::sync::oneshot;

use support::{Ask, Listener, REPLIES, RedisProcess, acme, in_time, orders};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// What the backend's SDK exports. There is one for the process.
fn exporter() -> InMemorySpanExporter {
    static EXPORTER: LazyLock<InMemorySpanExporter> = LazyLock::new(|| {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        opentelemetry::global::set_tracer_provider(provider);
        exporter
    });
    EXPORTER.clone()
}

#[tokio::test]
async fn a_requests_trace_goes_on_in_its_handler_and_in_what_that_publishes() {
    let exporter = exporter();
    let redis = RedisProcess::start();
    let mut listener = Listener::on(&redis, &["fanfare:acme:channel:orders", REPLIES]).await;
    let publisher = Publisher::connect(&redis.url()).await.unwrap();

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

    let mut spans = exporter.get_finished_spans().unwrap();
    spans.retain(|span| span.span_context.trace_id().to_string() == TRACE);
    let [send, span] = &spans[..] else { panic!("two spans are made: {spans:?}") };
    assert_eq!((span.name.as_ref(), &span.span_kind), ("dashboard.refresh", &SpanKind::Server));
    assert_eq!(
        (span.span_context.trace_id().to_string(), span.parent_span_id.to_string()),
        (TRACE.into(), SPAN.into())
    );
    assert_eq!(span.status, Status::error("forbidden"));
    assert_eq!((send.name.as_ref(), send.parent_span_id), ("send channel", span.span_context.span_id()));
    let expected = format!("00-{TRACE}-{}-01", send.span_context.span_id());
    assert_eq!(traced, json!({ "type": "b", "traceparent": expected }));
}

#[tokio::test]
async fn each_event_is_sent_in_a_span_that_its_envelope_names() {
    let exporter = exporter();
    let redis = RedisProcess::start();
    let mut listener = Listener::on(&redis, &["fanfare:acme:channel:orders"]).await;
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    let publish = async |event: &Event| publisher.publish(&acme(), &orders(), event).await;
    let ids = [format!("{:x}", std::process::id()), "two".into(), "three".into()];
    publish(&Event::new("first").id(&ids[0])).await.unwrap();
    let batch = [
        Publication::ephemeral(&acme(), &orders(), Event::new("second").id(&ids[1])),
        Publication::ephemeral(&acme(), &orders(), Event::new("").id(&ids[2])),
    ];
    let results = publisher.publish_all(&batch).await;
    assert!(results[0].is_ok() && results[1].is_err());

    let spans = exporter.get_finished_spans().unwrap();
    let of_id = |id: &String| {
        let has = |span: &&SpanData| attribute(span, "messaging.message.id") == Some(Value::from(id.clone()));
        spans.iter().find(has).unwrap_or_else(|| panic!("no span of {id}: {spans:?}"))
    };
    for id in &ids[..2] {
        let (span, told) = (of_id(id), listener.next_json().await);
        let context = &span.span_context;
        assert_eq!(told["traceparent"], format!("00-{}-{}-01", context.trace_id(), context.span_id()));
        assert_eq!(
            (span.name.as_ref(), &span.span_kind, &span.status),
            ("send channel", &SpanKind::Producer, &Status::Unset)
        );
        let body_bytes = i64::try_from(told.to_string().len()).unwrap();
        for (name, expected) in [
            ("messaging.system", Value::from("fanfare")),
            ("messaging.operation.name", "send".into()),
            ("messaging.operation.type", "send".into()),
            ("messaging.destination.name", "channel:orders".into()),
            ("messaging.destination.template", "channel".into()),
            ("messaging.message.body.size", body_bytes.into()),
            ("fanfare.tenant", "acme".into()),
            ("fanfare.event.type", told["type"].as_str().unwrap().to_owned().into()),
            ("fanfare.durable", false.into()),
        ] {
            assert_eq!(attribute(span, name), Some(expected), "{name}");
        }
    }
    let refused = of_id(&ids[2]);
    assert_eq!(attribute(refused, "error.type"), Some("invalid_type".into()));
    assert_eq!(refused.status, Status::error("invalid_type"));

    // One that says its trace keeps it.
    publish(&Event::new("t").traceparent("mine")).await.unwrap();
    assert_eq!(listener.next().await, r#"{"type":"t","traceparent":"mine"}"#);
}

fn attribute(span: &SpanData, name: &str) -> Option<Value> {
    span.attributes.iter().find(|attribute| attribute.key.as_str() == name).map(|attribute| attribute.value.clone())
}
