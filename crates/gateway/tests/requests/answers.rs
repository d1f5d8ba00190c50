//! A backend answers: what it gets, what the client gets, and that nothing else waits for it meanwhile.

use fanfare_protocol::ErrorCode;
use serde_json::{Value, json};

use crate::support::{Client, Handshake};
use crate::{Stage, ask, done, error, outcome, token};

#[tokio::test]
async fn a_backend_gets_all_about_a_request_and_its_client_gets_the_data_byte_for_byte() {
    let mut stage = Stage::set(&[("FANFARE_NODE_ID", "node-1")]).await;
    let mut client = Handshake::to(&stage.node).bearer(&token("acme", "ana", &["dashboard.*"])).open().await;
    let welcome = client.expect("welcome").await;
    assert!(welcome["features"].as_array().unwrap().contains(&json!("requests")), "{welcome}");
    let now_ms = || u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let earliest = now_ms() + 5_000;
    client
        .send_text(r#"{"op":"request","id":-4,"method":"dashboard.refresh","data":{"b": 1.10,"a":[1e2,"\u00e4"]},"timeout_ms":5000}"#)
        .await;
    let entry = stage.backend.take().await;
    let names: Vec<_> = entry.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["request", "method", "data", "user", "connection", "reply_to", "deadline_ms"]);
    assert_eq!(entry.field("method"), "dashboard.refresh");
    assert_eq!(entry.field("data"), r#"{"b": 1.10,"a":[1e2,"\u00e4"]}"#);
    assert_eq!(entry.field("user"), "ana");
    assert_eq!(entry.field("connection"), welcome["connection"]);
    assert_eq!(entry.field("reply_to"), "fanfare:acme:replies:node-1");
    let id = entry.field("request");
    assert!(id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{id}");
    let deadline: u64 = entry.field("deadline_ms").parse().unwrap();
    assert!((earliest..=now_ms() + 5_000).contains(&deadline), "{deadline}");

    let data = r#"{"z": 1.50,"a":[null,"\u00e4", 12345678901234567890]}"#;
    assert_eq!(stage.backend.reply(&entry, data).await, 1);
    assert_eq!(client.text().await, format!(r#"{{"op":"reply","id":-4,"data":{data}}}"#));
    assert_eq!(stage.node.metric(&outcome("reply")).await, 1.0);
    assert_eq!(stage.node.metric("fanfare_request_seconds_count").await, 1.0);
    assert_eq!(stage.node.metric("fanfare_requests_open").await, 0.0);
    stage.client.expect_nothing().await;
}

#[tokio::test]
async fn messagepack_is_translated_on_the_way_there_and_back() {
    let mut stage = Stage::set(&[]).await;
    let mut client = Client::connect_msgpack(&stage.node, &token("acme", "ana", &["**"])).await;
    // {"op":"request","id":1,"method":"m","data":{"n":1.5,"b":<2 bytes>,7:nil}}
    let mut frame = b"\x84\xa2op\xa7request\xa2id\x01\xa6method\xa1m\xa4data\x83\xa1n\xcb".to_vec();
    frame.extend(1.5_f64.to_be_bytes());
    frame.extend(b"\xa1b\xc4\x02\x00\x01\x07\xc0");
    client.send_frame(0x82, &frame).await;
    let entry = stage.backend.take().await;
    assert_eq!(entry.field("data"), r#"{"n":1.5,"b":"AAE=","7":null}"#);
    stage.backend.reply(&entry, r#"{"list":[1,-2,"x"],"n":0.5}"#).await;
    let expected = json!({ "op": "reply", "id": 1, "data": { "list": [1, -2, "x"], "n": 0.5 } });
    assert_eq!(client.message().await, expected);

    ask(&mut client, 2, "m").await;
    let entry = stage.backend.take().await;
    assert_eq!(entry.field("data"), "null");
    stage.backend.refuse(&entry, &json!({ "code": "forbidden", "message": "not yours" })).await;
    assert_eq!(client.message().await, error(2, "forbidden", "not yours"));
}

#[tokio::test]
async fn the_callers_trace_goes_along_if_it_is_one() {
    let mut stage = Stage::set(&[]).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (given, expected) in [(json!(trace), Some(trace)), (json!("00-nonsense"), None), (Value::Null, None)] {
        stage.client.send(&json!({ "op": "request", "id": 1, "method": "m", "traceparent": given })).await;
        let entry = stage.backend.take().await;
        let found = entry.fields.iter().find(|(name, _)| name == "traceparent").map(|(_, value)| value.as_str());
        assert_eq!(found, expected);
        stage.backend.reply(&entry, "\"done\"").await;
        assert_eq!(stage.client.message().await, done(1));
    }
}

#[tokio::test]
async fn a_backends_error_has_a_code_that_clients_know() {
    let mut stage = Stage::set(&[]).await;
    let known = ErrorCode::ALL.map(|code| (code.as_str(), code.as_str()));
    for (given, expected) in known.into_iter().chain([("sold_out", "internal"), ("", "internal")]) {
        ask(&mut stage.client, 1, "shop.buy").await;
        let entry = stage.backend.take().await;
        stage.backend.refuse(&entry, &json!({ "code": given, "message": "no more of them", "retry": false })).await;
        assert_eq!(stage.client.message().await, error(1, expected, "no more of them"), "{given}");
    }
    assert_eq!(stage.node.metric(&outcome("error")).await, 13.0);

    // A message that is a whole book is cut, between two characters.
    for (given, expected) in [(json!(null), String::new()), (json!("é".repeat(600)), "é".repeat(512))] {
        ask(&mut stage.client, 2, "shop.buy").await;
        let entry = stage.backend.take().await;
        stage.backend.refuse(&entry, &json!({ "code": "forbidden", "message": given })).await;
        assert_eq!(stage.client.message().await, error(2, "forbidden", &expected));
    }
}

#[tokio::test]
async fn nothing_else_of_a_connection_waits_for_an_answer_and_answers_come_in_their_own_order() {
    let mut stage = Stage::set(&[]).await;
    ask(&mut stage.client, 1, "slow").await;
    let slow = stage.backend.take().await;
    stage.client.subscribe("channel:orders").await;
    stage.client.expect_nothing().await;
    assert_eq!(stage.node.metric("fanfare_requests_open").await, 1.0);
    ask(&mut stage.client, 2, "fast").await;
    let fast = stage.backend.take().await;
    stage.backend.reply(&fast, "\"done\"").await;
    assert_eq!(stage.client.message().await, done(2));
    stage.node.publish("acme", "channel:orders", r#"{"type":"a"}"#).await;
    stage.client.expect_event("channel:orders").await;
    stage.backend.reply(&slow, "\"done\"").await;
    assert_eq!(stage.client.message().await, done(1));
}

#[tokio::test]
async fn requests_of_a_connection_stand_in_the_stream_in_the_order_in_which_it_asked() {
    let mut stage = Stage::set(&[("FANFARE_FRAMES_BURST", "1000")]).await;
    for _ in 0..10 {
        for id in 0..30 {
            ask(&mut stage.client, id, &format!("m.{id}")).await;
        }
        let mut entries = Vec::new();
        for id in 0..30 {
            let entry = stage.backend.take().await;
            assert_eq!(entry.field("method"), format!("m.{id}"));
            entries.push(entry);
        }
        for entry in &entries {
            stage.backend.reply(entry, "\"done\"").await;
        }
        for _ in 0..30 {
            stage.client.expect("reply").await;
        }
    }
}

#[tokio::test]
async fn the_first_answer_may_come_as_soon_as_the_request_stands_in_the_stream() {
    // Each round begins with a channel that has to be subscribed first.
    let mut stage = Stage::set(&[("FANFARE_UNSUBSCRIBE_DELAY_MS", "0")]).await;
    for _ in 0..50 {
        assert_eq!(stage.reply("m").await, done(1));
    }
}
