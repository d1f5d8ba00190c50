//! Stories of what is asked of a node: to publish, over HTTP or as a client, and to ask a backend.

use std::sync::LazyLock;

use fanfare_client::{Event, Publisher, Request, RequestError, Tenant, Topic, Worker};
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tokio::sync::oneshot;

use super::*;
use support::{API_KEY, Reply, claims, in_time, request, sign};

/// Posts an event with the caller's `traceparent` in a header.
async fn post(node: &Node, path: &str, body: &str, flags: &str) -> Reply {
    let (bearer, caller) = (format!("Bearer {API_KEY}"), traceparent(flags));
    let headers = [("Authorization", bearer.as_str()), ("traceparent", caller.as_str())];
    request(node.admin, "POST", &format!("/v1/tenants/acme/{path}"), &headers, body.as_bytes()).await
}

#[tokio::test]
async fn what_a_backend_publishes_over_http_goes_on_in_the_requests_trace() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let node = traced_node(&redis, &collector, &[]).await;
    let mut client = subscriber(&node).await;
    let reply = post(&node, "topics/channel:orders/events", r#"{"data":{"b":1.10,"a":2},"type":"e"}"#, "01").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let publish = collector.span("publish channel").await;
    publish.assert_child_of(TRACE, CALLER);
    assert_eq!((publish.kind, publish.attribute("fanfare.via")), (SpanKind::Server, &json!("http")));
    assert_eq!(publish.attribute("fanfare.event.type"), &json!("e"));
    let deliver = collector.span("deliver channel").await;
    deliver.assert_child_of(TRACE, &publish.id);
    // Only its trace was added to the envelope.
    let expected = format!(
        r#"{{"op":"event","topic":"channel:orders","event":{{"traceparent":"00-{TRACE}-{}-01","data":{{"b":1.10,"a":2}},"type":"e"}},"traceparent":"00-{TRACE}-{}-01"}}"#,
        publish.id, deliver.id
    );
    assert_eq!(client.text().await, expected);

    // One that says its trace keeps it. One whose caller's trace is not recorded names that, so that no node begins another.
    let own = r#"{"type":"own","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-aaaaaaaaaaaaaaaa-00"}"#;
    for (envelope, flags) in [(own, "01"), (r#"{"type":"unsampled"}"#, "00")] {
        assert_eq!(post(&node, "topics/channel:orders/events", envelope, flags).await.status, 200);
    }
    assert_eq!(client.text().await, format!(r#"{{"op":"event","topic":"channel:orders","event":{own}}}"#));
    let frame = client.expect("event").await;
    let unsampled = json!({ "traceparent": traceparent("00"), "type": "unsampled" });
    assert_eq!((&frame["event"], frame.get("traceparent")), (&unsampled, None));
    collector.named("publish channel", 2).await;
}

#[tokio::test]
async fn it_is_decided_once_whether_an_event_is_recorded_and_all_nodes_obey() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let settings = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
    let one = traced_node(&redis, &collector, &settings).await;
    let two = traced_node(&redis, &collector, &settings).await;
    let (mut first, mut second) = (subscriber(&one).await, subscriber(&two).await);
    let bearer = format!("Bearer {API_KEY}");
    let mut recorded = 0;
    for number in 0..60 {
        if number % 2 == 0 {
            let path = "/v1/tenants/acme/topics/channel:orders/events";
            let headers = [("Authorization", bearer.as_str())];
            assert_eq!(request(one.admin, "POST", path, &headers, br#"{"type":"e"}"#).await.status, 200);
        } else {
            let publish = json!({ "op": "publish", "topic": "channel:orders", "event": { "type": "e" } });
            second.send(&publish).await;
        }
        let frames = [first.skip_to("event").await, second.skip_to("event").await];
        let said = frames[0]["event"]["traceparent"].as_str().unwrap();
        let is_recorded = said.ends_with("-01");
        for frame in &frames {
            assert_eq!(frame.get("traceparent").is_some(), is_recorded, "{frame}");
        }
        recorded += usize::from(is_recorded);
    }
    assert!((1..60).contains(&recorded), "some are and some are not");
    let publishes = collector.named("publish channel", recorded).await;
    for deliver in collector.named("deliver channel", 2 * recorded).await {
        assert!(publishes.iter().any(|publish| (&publish.trace, &publish.id) == (&deliver.trace, &deliver.parent)));
    }
}

#[tokio::test]
async fn many_events_of_one_request_have_one_span() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let node = traced_node(&redis, &collector, &[]).await;
    let mut client = subscriber(&node).await;
    let body = r#"{"events":[{"topic":"channel:orders","event":{"type":"a"}},{"topic":"user:42","event":{"type":"b"}},{"topic":"user:42","event":{"type":""}}]}"#;
    let reply = post(&node, "events", body, "01").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let publish = collector.span("publish").await;
    publish.assert_child_of(TRACE, CALLER);
    assert_eq!(publish.attribute("messaging.batch.message_count"), &json!(3));
    assert_eq!(publish.attribute("fanfare.failures"), &json!(1));
    for name in ["deliver channel", "deliver user"] {
        collector.span(name).await.assert_child_of(TRACE, &publish.id);
    }
    for _ in 0..2 {
        span_of(&client.expect("event").await["traceparent"]);
    }
}

#[tokio::test]
async fn what_a_client_publishes_is_traced_in_both_encodings() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let node = traced_node(&redis, &collector, &[("OTEL_TRACES_SAMPLER", "always_on")]).await;
    let mut client = Client::connect_msgpack(&node, &token("acme", "42")).await;
    client.subscribe("channel:orders").await;
    let event = json!({ "type": "said", "traceparent": traceparent("01") });
    client.send(&json!({ "op": "publish", "id": 1, "topic": "channel:orders", "event": event })).await;
    let frame = client.skip_to("event").await;
    assert_eq!(frame["event"], event);
    let publish = collector.span("publish channel").await;
    publish.assert_child_of(TRACE, CALLER);
    assert_eq!((publish.kind, publish.attribute("fanfare.via")), (SpanKind::Server, &json!("client")));
    let deliver = collector.span("deliver channel").await;
    deliver.assert_child_of(TRACE, CALLER);
    assert_eq!(span_of(&frame["traceparent"]), deliver.id);

    // Without one, the event gets that of the span in which it is published.
    client.send(&json!({ "op": "publish", "id": 2, "topic": "channel:orders", "event": { "type": "said" } })).await;
    let frame = client.skip_to("event").await;
    let publish = &collector.named("publish channel", 2).await[1];
    assert_eq!(publish.parent, "", "a root");
    let expected = json!({ "type": "said", "traceparent": format!("00-{}-{}-01", publish.trace, publish.id) });
    assert_eq!(frame["event"], expected);
    collector.named("deliver channel", 2).await[1].assert_child_of(&publish.trace, &publish.id);
}

/// What a backend's SDK exports. There is one for the process.
fn backend_spans() -> InMemorySpanExporter {
    static EXPORTER: LazyLock<InMemorySpanExporter> = LazyLock::new(|| {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        opentelemetry::global::set_tracer_provider(provider);
        exporter
    });
    EXPORTER.clone()
}

/// A client that may ask for anything.
async fn asker(node: &Node) -> Client {
    let mut claims = claims("acme", "42");
    claims["methods"] = json!(["**"]);
    Client::connect(node, &sign(&claims)).await
}

#[tokio::test]
async fn a_backends_own_span_is_the_parent_of_the_nodes() {
    let spans = backend_spans();
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let node = traced_node(&redis, &collector, &[("OTEL_TRACES_SAMPLER", "parentbased_always_off")]).await;
    let mut client = subscriber(&node).await;
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    let (tenant, topic) = (Tenant::parse("acme").unwrap(), Topic::parse("channel:orders").unwrap());
    publisher.publish(&tenant, &topic, &Event::new("sent by a library")).await.unwrap();
    let deliver = collector.span("deliver channel").await;
    let send = spans.get_finished_spans().unwrap().into_iter().find(|span| {
        let is_type = |attribute: &KeyValue| attribute.key.as_str() == "fanfare.event.type";
        span.attributes.iter().any(|attribute| is_type(attribute) && attribute.value.as_str() == "sent by a library")
    });
    let send = send.unwrap().span_context;
    deliver.assert_child_of(&send.trace_id().to_string(), &send.span_id().to_string());
    let frame = client.expect("event").await;
    assert_eq!(frame["traceparent"], format!("00-{}-{}-01", deliver.trace, deliver.id));
}

#[tokio::test]
async fn a_requests_trace_leads_to_its_worker_and_back() {
    let spans = backend_spans();
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let node = traced_node(&redis, &collector, &[]).await;
    let mut client = asker(&node).await;
    let refresh = |request: Request| async move { Ok(json!(request.traceparent())) };
    let fail = |_| async { Err::<(), _>(RequestError::new("forbidden", "not yours")) };
    let builder = Worker::builder(&redis.url(), Tenant::parse("acme").unwrap());
    let worker = builder.method("dashboard.refresh", refresh).method("dashboard.fail", fail).build().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(worker.run(async { _ = stopped.await }));

    let mut ask = async |id: u64, method: &str, traceparent: Value| {
        client.send(&json!({ "op": "request", "id": id, "method": method, "traceparent": traceparent })).await;
        client.message().await
    };
    let reply = ask(1, "dashboard.refresh", json!(traceparent("01"))).await;
    let request = collector.span("request dashboard.refresh").await;
    request.assert_child_of(TRACE, CALLER);
    assert_eq!(span_of(&reply["data"]), request.id);
    assert_eq!((request.kind, request.attribute("fanfare.outcome")), (SpanKind::Client, &json!("reply")));
    assert_eq!((request.attribute("rpc.method"), request.error.as_deref()), (&json!("dashboard.refresh"), None));
    // The worker's own span is its child, and has the same request.
    let handled = spans.get_finished_spans().unwrap();
    let handled = handled.iter().find(|span| span.name == "dashboard.refresh").unwrap();
    assert_eq!(handled.parent_span_id.to_string(), request.id);
    assert_eq!(handled.attributes[0].value.to_string(), *request.attribute("fanfare.request").as_str().unwrap());

    assert_eq!(ask(2, "dashboard.fail", json!(traceparent("01"))).await["code"], "forbidden");
    let failed = collector.span("request dashboard.fail").await;
    assert_eq!((failed.error.as_deref(), failed.attribute("fanfare.outcome")), (Some("forbidden"), &json!("error")));
    // A trace that is not recorded goes on to the worker all the same.
    let reply = ask(3, "dashboard.refresh", json!(traceparent("00"))).await;
    assert_eq!(reply["data"], traceparent("00"));
    collector.named("request dashboard.refresh", 1).await;
    stop.send(()).unwrap();
    in_time("the worker stops", worker).await.unwrap();
}

#[tokio::test]
async fn a_line_of_the_log_names_the_trace_that_it_belongs_to() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let node = traced_node(&redis, &collector, &[("FANFARE_LOG_FORMAT", "json")]).await;
    let line = async |message: &str| {
        node.logged(message).await;
        let is_it = |line: &Value| line["message"] == message;
        node.log_json().into_iter().find(is_it).unwrap()
    };
    // Nobody answers this request.
    let mut client = asker(&node).await;
    let ask = json!({ "op": "request", "id": 1, "method": "m", "timeout_ms": 2_000, "traceparent": traceparent("01") });
    client.send(&ask).await;
    assert_eq!(client.message().await["code"], "no_backend");
    let unanswered = collector.span("request m").await;
    assert_eq!(
        (unanswered.error.as_deref(), unanswered.attribute("error.type")),
        (Some("no_backend"), &json!("no_backend"))
    );
    let told = line("a client's request was not answered").await;
    assert_eq!((&told["trace_id"], &told["span_id"]), (&json!(TRACE), &json!(unanswered.id)));
    assert_eq!(
        (&told["outcome"], &told["tenant"], &told["method"]),
        (&json!("no_backend"), &json!("acme"), &json!("m"))
    );

    // An event that is none, of which the trace can be read all the same.
    let _subscribed = subscriber(&node).await;
    let bad = format!(r#"{{"type":7,"traceparent":"{}"}}"#, traceparent("00"));
    redis.command(&["PUBLISH", "fanfare:acme:channel:orders", &bad]);
    let told = line("an event is not valid and reaches nobody").await;
    assert_eq!((&told["trace_id"], told.get("span_id")), (&json!(TRACE), None));

    // Redis is gone.
    drop(redis);
    let reply = post(&node, "topics/channel:orders/events", r#"{"type":"e"}"#, "01").await;
    assert!(reply.status >= 500, "{reply:?}");
    let publish = collector.span("publish channel").await;
    let told = line("a request of the HTTP API failed").await;
    assert_eq!((&told["trace_id"], &told["span_id"]), (&json!(TRACE), &json!(publish.id)));
    assert_eq!((publish.error, &told["code"]), (Some(reply.code()), &json!(reply.code())));
}

#[tokio::test]
async fn a_stored_event_that_is_none_is_logged_with_its_trace() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let node = traced_node(&redis, &collector, &[("FANFARE_LOG_FORMAT", "json")]).await;
    let first = node.keep("acme", "channel:orders", r#"{"type":"e"}"#).await;
    let bad = format!(r#"{{"traceparent":"{}"}}"#, traceparent("00"));
    redis.command(&["FCALL", "fanfare_publish", "1", "fanfare:acme:channel:orders", &bad]);
    let mut client = Client::connect(&node, &token("acme", "42")).await;
    client.send(&json!({ "op": "subscribe", "id": 1, "topic": "channel:orders", "since": first.to_string() })).await;
    client.skip_to("subscribed").await;
    node.logged("an event is not valid and reaches nobody").await;
    let told = node.log_json().into_iter().find(|line| line["reason"] == "missing_type").unwrap();
    assert_eq!(told["trace_id"], json!(TRACE));
}

#[tokio::test]
async fn who_goes_before_the_answer_makes_no_error() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let node = traced_node(&redis, &collector, &[]).await;
    let mut client = asker(&node).await;
    client.send(&json!({ "op": "request", "id": 1, "method": "m", "traceparent": traceparent("01") })).await;
    until_metric(&node, "fanfare_requests_open", 1.0).await;
    drop(client);
    let request = collector.span("request m").await;
    assert_eq!((request.attribute("fanfare.outcome"), &request.error), (&json!("gone"), &None));
    assert_eq!(request.attributes.get("error.type"), None);
}
