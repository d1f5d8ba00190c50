//! A client pages through what a topic has kept.

use fanfare_protocol::Position;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::support::{Client, Node, RedisProcess, claims, position, sign, token};
use crate::{ORDERS, Stage, after, number, numbered};

/// Asks for a page, whatever the answer.
async fn ask(client: &mut Client, topic: &str, limit: u64, before: Option<Position>) -> Value {
    client.send(&json!({ "op": "history", "id": 6, "topic": topic, "limit": limit, "before": before })).await;
    client.message().await
}

/// Numbers, positions, and whether there are older ones.
fn page(answer: &Value, topic: &str) -> (Vec<u64>, Vec<Position>, bool) {
    assert_eq!(
        (&answer["op"], &answer["id"], &answer["topic"]),
        (&json!("history"), &json!(6), &json!(topic)),
        "{answer}"
    );
    let events = answer["events"].as_array().unwrap();
    let numbers = events.iter().map(|event| number(&event["event"])).collect();
    (numbers, events.iter().map(position).collect(), answer["more"].as_bool().unwrap())
}

#[tokio::test]
async fn pages_go_back_until_there_is_no_more() {
    for stage in Stage::all(&[]).await {
        for n in 1..=10 {
            stage.keep(ORDERS, n).await;
        }
        let clients = [stage.client().await, Client::connect_msgpack(&stage.node, &token("acme", "1")).await];
        for mut client in clients {
            let mut before = None;
            for (expected, more) in
                [(vec![8, 9, 10], true), (vec![5, 6, 7], true), (vec![2, 3, 4], true), (vec![1], false)]
            {
                let (numbers, positions, has_more) = page(&ask(&mut client, ORDERS, 3, before).await, ORDERS);
                assert_eq!((numbers, has_more), (expected, more));
                before = positions.first().copied();
            }
            assert_eq!(page(&ask(&mut client, ORDERS, 3, before).await, ORDERS), (vec![], vec![], false));
            let (numbers, _, more) = page(&ask(&mut client, ORDERS, 10, None).await, ORDERS);
            assert_eq!((numbers, more), ((1..=10).collect(), false));
            let (numbers, positions, more) =
                page(&ask(&mut client, ORDERS, i64::MAX.unsigned_abs(), None).await, ORDERS);
            assert_eq!((numbers.len(), more), (10, false));
            // A position that the topic never had is a place all the same.
            let beyond = Some(after(positions[9], 100));
            assert_eq!(page(&ask(&mut client, ORDERS, 1, beyond).await, ORDERS).0, [10]);
            assert_eq!(page(&ask(&mut client, ORDERS, 1, Some(Position::NONE)).await, ORDERS).0, [0; 0]);
            assert_eq!(
                page(&ask(&mut client, "channel:empty", 5, None).await, "channel:empty"),
                (vec![], vec![], false)
            );
        }
    }
}

#[tokio::test]
async fn a_page_has_a_thousand_events_and_half_an_outbox_at_most() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[("FANFARE_OUTBOX_BYTES_MAX", "131072")]).await;
    let mut backend = Backend::of(&redis).await;
    for n in 1..=900 {
        backend.keep_number(n).await;
    }
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    // Small events: their envelopes fit into half an outbox.
    let answer = ask(&mut client, ORDERS, 5_000, None).await;
    let (numbers, _, more) = page(&answer, ORDERS);
    assert_eq!((numbers.last(), more), (Some(&900), numbers[0] > 1));
    assert!(answer.to_string().len() < 131_072, "it fits into the outbox");
    for n in 1..=5 {
        let large = json!({ "type": "n", "data": n, "filler": "x".repeat(40_000) });
        redis.command(&["FCALL", "fanfare_publish", "1", "fanfare:acme:channel:large", &large.to_string()]);
    }
    let answer = ask(&mut client, "channel:large", 5, None).await;
    let (numbers, positions, more) = page(&answer, "channel:large");
    assert!(more && numbers.len() < 5 && numbers.last() == Some(&5), "{numbers:?}");
    let (numbers, _, _) =
        page(&ask(&mut client, "channel:large", 1, positions.first().copied()).await, "channel:large");
    assert_eq!(numbers, [5 - positions.len() as u64]);

    let wide = Node::start_on(&redis.url(), &[("FANFARE_OUTBOX_BYTES_MAX", "8388608")]).await;
    for n in 901..=1_050 {
        redis_keep(&mut backend, n).await;
    }
    let mut client = Client::connect(&wide, &token("acme", "1")).await;
    let (numbers, _, more) = page(&ask(&mut client, ORDERS, 5_000, None).await, ORDERS);
    assert_eq!((numbers.len(), numbers.last(), more), (1_000, Some(&1_050), true));
}

async fn redis_keep(backend: &mut Backend, number: u64) {
    let words = ["FCALL", "fanfare_publish", "1", crate::STREAM, &numbered(number), "maxlen", "5000"];
    backend.command(&words).await;
}

#[tokio::test]
async fn a_client_reads_what_it_may_subscribe_and_its_own_topics() {
    for stage in Stage::all(&[]).await {
        let mut claims = claims("acme", "42");
        claims["channels"] = json!(["open.*"]);
        claims["subscribe"] = json!(["channel:vip"]);
        let mut client = Client::connect(&stage.node, &sign(&claims)).await;
        for (topic, n) in [("tenant", 1), ("user:42", 2), ("channel:vip", 3), ("channel:open.1", 4)] {
            stage.keep(topic, n).await;
            if topic != "channel:open.1" {
                client.expect_event(topic).await;
            }
            assert_eq!(page(&ask(&mut client, topic, 9, None).await, topic).0, [n]);
        }
        let refused = |topic: &str, code: &str, message: &str| json!({ "op": "error", "id": 6, "topic": topic, "code": code, "message": message });
        let forbidden = "this token may not subscribe to this topic";
        for topic in ["user:43", "channel:closed", "channel:open.1.2"] {
            stage.keep(topic, 5).await;
            assert_eq!(ask(&mut client, topic, 9, None).await, refused(topic, "forbidden", forbidden));
        }
        let no_topic = "a topic is `tenant`, `user:<id>` or `channel:<name>`";
        assert_eq!(ask(&mut client, "orders", 9, None).await, refused("orders", "invalid_topic", no_topic));
        // Another tenant's topic of the same name is another topic.
        stage.node.keep("globex", "channel:open.2", &numbered(6)).await;
        assert_eq!(page(&ask(&mut client, "channel:open.2", 9, None).await, "channel:open.2").0, [0; 0]);
        client.expect_nothing().await;
    }
}

#[tokio::test]
async fn a_stored_event_that_is_not_valid_is_left_out_of_the_page() {
    let stage = Stage::on_redis(&[]).await;
    let mut backend = Backend::of(stage.redis.as_ref().unwrap()).await;
    backend.keep_number(1).await;
    backend.keep(r#"{"data":"no type"}"#).await;
    backend.keep_number(3).await;
    let mut client = stage.client().await;
    let (numbers, _, more) = page(&ask(&mut client, ORDERS, 3, None).await, ORDERS);
    assert_eq!((numbers, more), (vec![1, 3], false));
    let invalid = r#"fanfare_events_invalid_total{reason="missing_type",tenant="acme"}"#;
    assert_eq!(stage.node.metric(invalid).await, 1.0);
}

#[tokio::test]
async fn while_redis_is_away_a_history_is_unavailable() {
    let mut stage = Stage::on_redis(&[]).await;
    let mut client = stage.client().await;
    stage.redis.as_mut().unwrap().kill();
    crate::support::until("it is told", async || {
        let answer = ask(&mut client, ORDERS, 3, None).await;
        assert_eq!((&answer["op"], &answer["topic"]), (&json!("error"), &json!(ORDERS)), "{answer}");
        answer["code"] == "unavailable"
    })
    .await;
}
