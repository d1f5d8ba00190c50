//! Stories of what a collector that fails costs a node, and of variables that can't be used.

use std::time::{Duration, Instant};

use fanfare_client::{Event, Publisher, Tenant, Topic};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use support::{SERVE, free_port, until};

/// Publishes so many events whose trace is recorded, and has them delivered.
async fn deliver(redis: &RedisProcess, client: &mut Client, count: usize) {
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    let (tenant, topic) = (Tenant::parse("acme").unwrap(), Topic::parse("channel:orders").unwrap());
    let event = Event::new("e").traceparent(traceparent("01"));
    for _ in 0..count {
        publisher.publish(&tenant, &topic, &event).await.unwrap();
    }
    for _ in 0..count {
        span_of(&client.expect("event").await["traceparent"]);
    }
}

/// A server that accepts whoever comes, and never says a word.
async fn silent_server() -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut holding = JoinSet::new();
    holding.spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    (endpoint, holding)
}

/// Ends the node and says how long that took.
async fn end(mut node: Node) -> Duration {
    let asked = Instant::now();
    node.signal("-TERM");
    assert!(node.ended().await.success());
    asked.elapsed()
}

#[tokio::test]
async fn a_collector_that_hangs_costs_spans_and_nothing_else() {
    let redis = RedisProcess::start();
    let (endpoint, _holding) = silent_server().await;
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5"),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("FANFARE_DRAIN_S", "1"),
    ];
    let node = Node::start_on(&redis.url(), &settings).await;
    let mut client = subscriber(&node).await;
    deliver(&redis, &mut client, 100).await;
    // At most a batch is on its way, and ten wait. Events that come together end theirs together.
    until("spans that find no room are counted", async || {
        let dropped = node.metric("fanfare_spans_dropped_total").await;
        (85.0..100.0).contains(&dropped)
    })
    .await;
    assert_eq!(node.metric("fanfare_spans_exported_total").await, 0.0);
    // One drains for a second with a client that stays, and waits for the collector for five.
    let took = end(node).await;
    assert!((Duration::from_secs(4)..Duration::from_secs(10)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_collector_that_times_out_or_refuses_is_told_once_and_counted() {
    let redis = RedisProcess::start();
    let (silent, _holding) = silent_server().await;
    let refusing = format!("http://127.0.0.1:{}", free_port());
    for (endpoint, timeout_ms, words) in
        [(silent, "200", "no answer within 200ms"), (refusing, "10000", "network error")]
    {
        let settings = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", timeout_ms),
            ("OTEL_BSP_SCHEDULE_DELAY", "10"),
            ("FANFARE_LOG_FORMAT", "json"),
        ];
        let node = Node::start_on(&redis.url(), &settings).await;
        let mut client = subscriber(&node).await;
        for round in [1.0, 2.0] {
            deliver(&redis, &mut client, 1).await;
            until_metric(&node, "fanfare_spans_dropped_total", round).await;
        }
        let told: Vec<_> = node.log_json().into_iter().filter(|line| line["message"] == "spans are dropped").collect();
        assert!(told.len() == 1 && told[0]["error"].as_str().unwrap().contains(words), "{told:?}");
        drop(client);
        let took = end(node).await;
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[tokio::test]
async fn the_last_spans_are_exported_before_the_end() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    // Without the end, nothing would be exported for an hour.
    let node = traced_node(&redis, &collector, &[("OTEL_BSP_SCHEDULE_DELAY", "3600000")]).await;
    let mut client = subscriber(&node).await;
    deliver(&redis, &mut client, 3).await;
    drop(client);
    let took = end(node).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(collector.spans().len(), 3);
}

#[tokio::test]
async fn the_collector_gets_the_headers_and_the_name_that_the_variables_say() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let settings = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20a%2520c"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", ""),
        ("OTEL_SERVICE_NAME", "chat"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=other"),
    ];
    let node = traced_node(&redis, &collector, &settings).await;
    let mut client = subscriber(&node).await;
    deliver(&redis, &mut client, 1).await;
    let span = collector.span("deliver channel").await;
    assert_eq!(
        (&span.resource["service.name"], &span.resource["deployment.environment.name"]),
        (&json!("chat"), &json!("test"))
    );
    assert_eq!(collector.authorization().as_deref(), Some("Basic a%20c"));
    assert!(!node.log().contains("Basic"));
}

#[tokio::test]
async fn a_variable_that_can_t_be_used_ends_the_start_with_its_name() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    for (variable, words) in [
        (
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            "OTEL_EXPORTER_OTLP_PROTOCOL = \"grpc\": not supported; allowed: http/protobuf",
        ),
        (
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            "OTEL_TRACES_SAMPLER = \"sometimes\": not supported; allowed: always_on,",
        ),
        (("OTEL_EXPORTER_OTLP_HEADERS", "bad name=1,ok=2"), "has a pair that is no header; give header names"),
        (("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem"), "/nowhere.pem"),
    ] {
        for arguments in [SERVE, &["config", "check"]] {
            let mut node = Node::spawn(arguments, &[endpoint, variable]);
            assert!(!node.ended().await.success());
            assert!(node.log().contains(words), "{}", node.log());
        }
    }
}
