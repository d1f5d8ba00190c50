//! Stories of events: from a publisher's context over the node's spans to the frame that a client gets.

use fanfare_client::{Event, Publisher, Tenant, Topic};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::*;
use support::Handshake;

fn acme() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn orders() -> Topic {
    Topic::parse("channel:orders").unwrap()
}

#[tokio::test]
async fn an_event_is_traced_from_its_publisher_to_the_frame_of_each_client() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let node = traced_node(&redis, &collector, &[("FANFARE_NODE_ID", "n1"), ("FANFARE_WORKERS", "3")]).await;
    // Several, so that several shards deliver.
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(subscriber(&node).await);
    }
    clients.push(Client::connect_msgpack(&node, &token("acme", "43")).await);
    clients[5].subscribe("channel:orders").await;

    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    let at = unix_ms() - 40;
    let event = Event::new("order.updated").data(&json!({ "id": 7 })).id("e-1").traceparent(traceparent("01"));
    let event = event.at(UNIX_EPOCH + std::time::Duration::from_millis(at));
    publisher.publish(&acme(), &orders(), &event).await.unwrap();

    let mut told = Vec::new();
    for client in &mut clients {
        told.push(client.expect("event").await);
    }
    let deliver = collector.span("deliver channel").await;
    for frame in told {
        assert_eq!(frame["event"]["traceparent"], traceparent("01"), "the envelope is as it was");
        assert_eq!(span_of(&frame["traceparent"]), deliver.id);
    }
    deliver.assert_child_of(TRACE, CALLER);
    let transit = collector.span("transit channel").await;
    transit.assert_child_of(TRACE, CALLER);
    assert_eq!((transit.kind, transit.start_ns), (SpanKind::Internal, at * 1_000_000));
    assert!(transit.us() >= 40_000 && transit.end_ns.abs_diff(deliver.start_ns) < 1_000_000, "{transit:?}");

    let queue_us = deliver.attribute("fanfare.queue_us").as_u64().unwrap();
    let write_us = deliver.attribute("fanfare.write_us").as_u64().unwrap();
    assert!(queue_us + write_us <= deliver.us() + 1_000, "{deliver:?}");
    for (name, expected) in [
        ("messaging.system", json!("fanfare")),
        ("messaging.operation.name", json!("deliver")),
        ("messaging.operation.type", json!("process")),
        ("messaging.destination.name", json!("channel:orders")),
        ("messaging.destination.template", json!("channel")),
        ("messaging.message.id", json!("e-1")),
        ("fanfare.tenant", json!("acme")),
        ("fanfare.event.type", json!("order.updated")),
        ("fanfare.durable", json!(false)),
        ("fanfare.topic.kind", json!("channel")),
        ("fanfare.recipients", json!(6)),
        ("fanfare.node", json!("n1")),
    ] {
        assert_eq!(deliver.attribute(name), &expected, "{name}");
    }
    assert!(deliver.attribute("messaging.message.body.size").as_u64().unwrap() > 100);
    assert_eq!(deliver.kind, SpanKind::Consumer);
    assert_eq!(
        (&deliver.resource["service.name"], &deliver.resource["service.instance.id"]),
        (&json!("fanfare"), &json!("n1"))
    );
    until_metric(&node, "fanfare_spans_exported_total", 2.0).await;
    assert_eq!(node.metric("fanfare_spans_dropped_total").await, 0.0);
}

#[tokio::test]
async fn a_durable_event_is_traced_when_it_is_delivered_and_not_when_it_is_read_again() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let node = traced_node(&redis, &collector, &[]).await;
    let mut other = subscriber(&node).await;
    let mut client = Client::connect(&node, &token("acme", "43")).await;
    client.subscribe("channel:orders").await;
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    let event = Event::new("kept").traceparent(traceparent("01"));
    publisher.publish_durable(&acme(), &orders(), &event, &fanfare_client::Keep::default()).await.unwrap();
    let frame = other.expect("event").await;
    let deliver = collector.span("deliver channel").await;
    assert_eq!(span_of(&frame["traceparent"]), deliver.id);
    assert_eq!(
        (deliver.attribute("fanfare.durable"), deliver.attribute("fanfare.recipients")),
        (&json!(true), &json!(2))
    );
    assert!(
        collector.spans().iter().all(|span| span.name != "transit channel"),
        "it doesn't say when it was published"
    );
    // Who comes back for it gets the event, and no span of a delivery that was long ago.
    let position = frame["position"].as_str().unwrap().split_once('-').unwrap().0;
    client.send(&json!({ "op": "history", "id": 2, "topic": "channel:orders", "limit": 10 })).await;
    let history = client.skip_to("history").await;
    assert!(history["events"][0]["position"].as_str().unwrap().starts_with(position));
    assert_eq!(history["events"][0].get("traceparent"), None);
}

#[tokio::test]
async fn a_trace_that_a_node_begins_has_one_root() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let node = traced_node(&redis, &collector, &[]).await;
    let mut client = subscriber(&node).await;
    redis.command(&["PUBLISH", "fanfare:acme:channel:orders", &format!(r#"{{"type":"e","at":{}}}"#, unix_ms() - 40)]);
    let told = client.expect("event").await;
    let deliver = collector.span("deliver channel").await;
    assert_eq!(told["traceparent"], format!("00-{}-{}-01", deliver.trace, deliver.id));
    assert_eq!((deliver.parent.as_str(), collector.spans().len()), ("", 1));
}

#[tokio::test]
async fn an_id_is_only_told_when_it_is_short() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let node = traced_node(&redis, &collector, &[]).await;
    let mut client = subscriber(&node).await;
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    for bytes in [200, 201] {
        let event = Event::new("e").id("i".repeat(bytes)).traceparent(traceparent("01"));
        publisher.publish(&acme(), &orders(), &event).await.unwrap();
        client.expect("event").await;
    }
    let delivers = collector.named("deliver channel", 2).await;
    let told = |index: usize| delivers[index].attributes.get("messaging.message.id").and_then(Value::as_str);
    assert_eq!((told(0).map(str::len), told(1)), (Some(200), None));
}

#[tokio::test]
async fn who_is_left_out_is_no_recipient() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let node = traced_node(&redis, &collector, &[]).await;
    let mut others = [subscriber(&node).await, subscriber(&node).await];
    let protocol = format!("fanfare.token.{}", token("acme", "43"));
    let mut client = Handshake::to(&node).header("Sec-WebSocket-Protocol", &protocol).open().await;
    let connection = client.expect("welcome").await["connection"].as_str().unwrap().to_owned();
    client.subscribe("channel:orders").await;
    let event = Event::new("e").except(connection).traceparent(traceparent("01"));
    Publisher::connect(&redis.url()).await.unwrap().publish(&acme(), &orders(), &event).await.unwrap();
    let deliver = collector.span("deliver channel").await;
    assert_eq!(deliver.attribute("fanfare.recipients"), &json!(2));
    for other in &mut others {
        assert_eq!(span_of(&other.expect("event").await["traceparent"]), deliver.id);
    }
    client.expect_nothing().await;
}

#[tokio::test]
async fn two_nodes_have_a_span_each() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let one = traced_node(&redis, &collector, &[("FANFARE_NODE_ID", "n1")]).await;
    let two = traced_node(&redis, &collector, &[("FANFARE_NODE_ID", "n2")]).await;
    let (mut first, mut second) = (subscriber(&one).await, subscriber(&two).await);
    let event = Event::new("e").traceparent(traceparent("01"));
    Publisher::connect(&redis.url()).await.unwrap().publish(&acme(), &orders(), &event).await.unwrap();
    let frames = [first.expect("event").await, second.expect("event").await];
    let delivers = collector.named("deliver channel", 2).await;
    for (frame, node) in frames.iter().zip(["n1", "n2"]) {
        let deliver = delivers.iter().find(|span| *span.attribute("fanfare.node") == json!(node)).unwrap();
        deliver.assert_child_of(TRACE, CALLER);
        assert_eq!(span_of(&frame["traceparent"]), deliver.id);
        assert_eq!(deliver.attribute("fanfare.recipients"), &json!(1));
    }
}

#[tokio::test]
async fn a_trace_that_is_not_recorded_leaves_no_trace() {
    let (redis, collector) = (RedisProcess::start(), Collector::start().await);
    let node = traced_node(&redis, &collector, &[("OTEL_TRACES_SAMPLER", "parentbased_always_off")]).await;
    let mut client = subscriber(&node).await;
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    let unsampled = Event::new("unsampled").traceparent(traceparent("00"));
    let bad = Event::new("bad").traceparent("00-no-trace-01");
    for event in [unsampled, Event::new("none").without_trace(), bad] {
        publisher.publish(&acme(), &orders(), &event).await.unwrap();
        let frame = client.expect("event").await;
        assert_eq!(frame.get("traceparent"), None, "{frame}");
    }
    // What is recorded comes out after all that isn't.
    let sampled = Event::new("sampled").traceparent(traceparent("01"));
    publisher.publish(&acme(), &orders(), &sampled).await.unwrap();
    let deliver = collector.span("deliver channel").await;
    assert_eq!(deliver.attribute("fanfare.event.type"), &json!("sampled"));
    assert_eq!(collector.spans().len(), 1);
}

#[tokio::test]
async fn without_an_endpoint_nothing_changes_on_the_wire() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[("OTEL_TRACES_SAMPLER", "always_on")]).await;
    let mut client = subscriber(&node).await;
    let event = Event::new("e").traceparent(traceparent("01"));
    Publisher::connect(&redis.url()).await.unwrap().publish(&acme(), &orders(), &event).await.unwrap();
    let expected = format!(
        r#"{{"op":"event","topic":"channel:orders","event":{{"type":"e","traceparent":"{}"}}}}"#,
        traceparent("01")
    );
    assert_eq!(client.text().await, expected);
}
