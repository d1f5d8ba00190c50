//! What stands on a Redis channel and is no event reaches nobody, is counted, and is logged once.

use serde_json::{Value, json};

use crate::support::{Client, Node, RedisProcess, token};
use crate::{EVENT, count, event, frame, publish_bytes, subscriber, until_count};

/// Payloads and why they are refused.
fn bad_payloads() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |levels: usize| format!(r#"{{"type":"t","data":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    let sized = |bytes: usize| format!(r#"{{"type":"t","data":"{}"}}"#, "x".repeat(bytes));
    let long_type = format!(r#"{{"type":"{}"}}"#, "t".repeat(201));
    let text = |payload: &str| payload.as_bytes().to_vec();
    vec![
        ("empty", Vec::new()),
        ("empty", text(" \n")),
        ("not_an_envelope", text("order 7 was updated")),
        ("not_an_envelope", text("[1,2]")),
        ("not_an_envelope", text("null")),
        ("not_an_envelope", vec![0xff, 0xfe, 0x00, 0x9c]),
        ("invalid_json", text(r#"{"type":"order.updated","data":{"#)),
        ("invalid_json", text(r#"{"type":"t"} and more"#)),
        ("invalid_utf8", b"{\"type\":\"t\",\"data\":\"\xff\"}".to_vec()),
        ("invalid_msgpack", vec![0x81, 0xa4, b't', b'y', b'p', b'e']),
        ("missing_type", text(r#"{"data":1}"#)),
        ("missing_type", vec![0x80]),
        ("invalid_type", text(r#"{"type":""}"#)),
        ("invalid_type", text(&long_type)),
        ("wrong_type", text(r#"{"type":7}"#)),
        ("wrong_type", text(r#"{"type":"t","at":"yesterday"}"#)),
        ("wrong_type", text(r#"{"type":"t","except":["1"]}"#)),
        ("duplicate_field", text(r#"{"type":"a","type":"b"}"#)),
        ("duplicate_field", text(r#"{"type":"a","data":1,"data":2}"#)),
        ("too_deep", text(&nested(64))),
        ("too_large", text(&sized(64 * 1024))),
        ("too_large", text(&sized(10 * 1024 * 1024))),
        ("invalid_position", text(r#"@ {"type":"t"}"#)),
        ("invalid_position", text(r#"@-1-1 {"type":"t"}"#)),
        ("invalid_position", text(r#"@1 {"type":"t"}"#)),
    ]
}

/// The counter of events that are not valid.
fn invalid(reason: &str, tenant: &str) -> String {
    format!(r#"fanfare_events_invalid_total{{reason="{reason}",tenant="{tenant}"}}"#)
}

#[tokio::test]
async fn what_is_no_event_reaches_nobody_and_is_counted_by_reason_and_tenant() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[("FANFARE_LOG_FORMAT", "json")]).await;
    let mut json_client = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    let mut msgpack_client = Client::connect_msgpack(&node, &token("acme", "2")).await;
    msgpack_client.subscribe("channel:orders").await;
    let mut bystander = Client::connect(&node, &token("globex", "1")).await;
    let payloads = bad_payloads();
    for (_, payload) in &payloads {
        publish_bytes(&redis, "fanfare:acme:channel:orders", payload);
    }
    publish_bytes(&redis, "fanfare:globex:tenant", b"{}");
    publish_bytes(&redis, "fanfare:acme:channel:orders", EVENT.as_bytes());
    publish_bytes(&redis, "fanfare:globex:tenant", event("good").as_bytes());
    assert_eq!(json_client.text().await, frame("channel:orders", EVENT));
    assert_eq!(msgpack_client.expect_event("channel:orders").await["data"], json!({ "id": 7 }));
    assert_eq!(bystander.expect_event("tenant").await["type"], "good");

    for (reason, _) in &payloads {
        let expected = payloads.iter().filter(|(other, _)| other == reason).count();
        assert_eq!(count(&node, &invalid(reason, "acme")).await, expected.to_string(), "{reason}");
    }
    assert_eq!(count(&node, &invalid("missing_type", "globex")).await, "1");
    assert_eq!(count(&node, r#"fanfare_events_received_total{type="order.updated"}"#).await, "1");
    expect_one_line_each(&node, payloads.iter().map(|(reason, _)| *reason));
}

/// One line for each reason, however often it happened: with the first key that it happened to.
fn expect_one_line_each<'a>(node: &Node, reasons: impl Iterator<Item = &'a str>) {
    let log = node.log_json();
    for reason in reasons {
        let message = "an event is not valid and reaches nobody";
        let lines: Vec<&Value> =
            log.iter().filter(|line| line["message"] == message && line["reason"] == reason).collect();
        assert_eq!(lines.len(), 1, "{reason}: {lines:?}");
        assert_eq!((&lines[0]["key"], &lines[0]["level"]), (&"acme:channel:orders".into(), &"WARN".into()));
    }
}

#[tokio::test]
async fn events_at_the_limits_are_good() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    let mut client = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    let deep = format!(r#"{{"type":"t","data":{}{}}}"#, "[".repeat(63), "]".repeat(63));
    let around = r#"{"type":"t","data":""}"#.len();
    let large = format!(r#"{{"type":"t","data":"{}"}}"#, "x".repeat(64 * 1024 - around));
    let long_type = event(&"t".repeat(200));
    for envelope in [&deep, &large, &long_type] {
        publish_bytes(&redis, "fanfare:acme:channel:orders", envelope.as_bytes());
        assert_eq!(client.text().await, frame("channel:orders", envelope));
    }
}

#[tokio::test]
async fn a_flood_of_bad_events_disturbs_nobody() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    let mut client = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    let script = "for i = 1, 5000 do redis.call('PUBLISH', 'fanfare:acme:channel:orders', 'bad ' .. i) \
                  if i % 1000 == 0 then redis.call('PUBLISH', 'fanfare:acme:channel:orders', ARGV[1]) end end";
    redis.command(&["EVAL", script, "0", EVENT]);
    for _ in 0..5 {
        assert_eq!(client.text().await, frame("channel:orders", EVENT));
    }
    until_count(&node, &invalid("not_an_envelope", "acme"), 5_000).await;
    assert_eq!(node.log().matches("an event is not valid and reaches nobody").count(), 1);
}
