//! Many events in one request: a result for each, in order, whatever becomes of the others.

use serde_json::{Value, json};

use crate::support::{Client, Node, RedisProcess, Reply, position, token};
use crate::{EVENTS, assert_problem, post, problem};

const ALL: &str = "/v1/tenants/acme/events";

async fn post_json(node: &Node, target: &str, body: &Value) -> Reply {
    post(node, target, &[], body.to_string().as_bytes()).await
}

/// The results of a batch that was taken.
async fn results(node: &Node, target: &str, headers: &[(&str, &str)], body: &Value) -> Vec<Value> {
    let reply = post(node, target, headers, body.to_string().as_bytes()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["results"].as_array().unwrap().clone()
}

/// Code and reason of a result that is an error.
fn error(result: &Value) -> (&str, Option<&str>) {
    let error = &result["error"];
    (error["code"].as_str().unwrap(), error["reason"].as_str())
}

#[tokio::test]
async fn events_of_one_topic_come_in_their_order_and_bad_ones_are_left_out() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    client.subscribe("channel:news").await;
    let deep = serde_json::from_str(&format!("{}{}", "[".repeat(70), "]".repeat(70))).unwrap_or(json!(7));
    let bad =
        [json!({}), json!(7), json!({"type": 7}), json!({"type": "t", "at": "now"}), json!(null), json!("t"), deep];
    let mut events = Vec::new();
    for number in 0..50 {
        events.push(json!({"type": "good", "data": number}));
        events.extend(bad.get(number).cloned());
    }
    for query in ["", "?durable=true"] {
        let results = results(&node, &format!("{EVENTS}{query}"), &[], &json!({ "events": events })).await;
        assert_eq!(results.len(), events.len());
        let mut positions = Vec::new();
        for (event, result) in events.iter().zip(&results) {
            assert_eq!(result["topic"], "channel:news");
            if event["type"] == "good" {
                assert_eq!(result.get("error"), None, "{result}");
                positions.extend(result.get("position").map(|_| position(result).seq));
                assert_eq!(client.expect_event("channel:news").await, *event);
            } else {
                assert_eq!(error(result).0, "bad_frame", "{event}");
            }
        }
        assert!(if query.is_empty() { positions.is_empty() } else { positions == (1..=50).collect::<Vec<_>>() });
        let reasons: Vec<_> = results.iter().filter(|result| result.get("error").is_some()).map(error).collect();
        let expected =
            ["missing_type", "not_an_envelope", "wrong_type", "wrong_type", "not_an_envelope", "not_an_envelope"];
        assert_eq!(reasons[..6], expected.map(|reason| ("bad_frame", Some(reason))));
    }
    client.expect_nothing().await;
    let counted = node.metric(r#"fanfare_published_events_total{via="http"}"#).await;
    assert_eq!(counted.to_string(), "100");
}

#[tokio::test]
async fn events_of_many_topics_go_each_to_its_own() {
    let node = Node::start(&[]).await;
    let mut acme = Client::connect(&node, &token("acme", "42")).await;
    acme.subscribe("channel:a/b").await;
    let mut globex = Client::connect(&node, &token("globex", "42")).await;
    globex.subscribe("channel:a/b").await;
    let events = [
        json!({"topic": "tenant", "event": {"type": "first"}}),
        json!({"topic": "channel:a/b", "event": {"type": "second"}, "durable": true}),
        json!({"topic": "user:42", "event": {"type": "third"}, "durable": null, "id": null, "more": 1}),
        json!({"topic": "globex:tenant", "event": {"type": "elsewhere"}}),
        json!({"topic": "channel:a b", "event": {"type": "t"}}),
        json!({"topic": "tenant", "event": {"data": 1}}),
        json!({"topic": "tenant", "event": "text"}),
        json!({"topic": "tenant"}),
        json!({"event": {"type": "t"}}),
        json!({"topic": 7, "event": {"type": "t"}}),
        json!({"topic": "tenant", "event": {"type": "t"}, "durable": "yes"}),
        json!({"topic": "tenant", "event": {"type": "t"}, "durable": true, "id": 7}),
        json!({"topic": "tenant", "event": {"type": "t"}, "durable": true, "id": ""}),
        json!({"topic": "tenant", "event": {"type": "t"}, "durable": true, "id": "x".repeat(129)}),
        json!({"topic": "tenant", "event": {"type": "t"}, "id": "not durable"}),
        json!(["tenant", {"type": "t"}]),
        json!({"topic": "tenant", "event": {"type": "last"}}),
    ];
    let results = results(&node, ALL, &[], &json!({ "events": events })).await;
    assert_eq!(results.len(), events.len());
    let expected = [
        ("globex:tenant", "invalid_topic", None),
        ("channel:a b", "invalid_topic", None),
        ("tenant", "bad_frame", Some("missing_type")),
        ("tenant", "bad_frame", Some("not_an_envelope")),
        ("tenant", "bad_frame", None),
        ("", "bad_frame", None),
        ("", "bad_frame", None),
        ("tenant", "bad_frame", None),
        ("tenant", "bad_frame", None),
        ("tenant", "bad_frame", None),
        ("tenant", "bad_frame", None),
        ("tenant", "bad_frame", None),
        ("", "bad_frame", None),
    ];
    for (index, (topic, code, reason)) in expected.into_iter().enumerate() {
        let result = &results[index + 3];
        assert_eq!(result["topic"].as_str().unwrap_or_default(), topic, "{result}");
        assert_eq!(error(result), (code, reason), "{result}");
    }
    assert_eq!(results[0], json!({"topic": "tenant"}));
    assert_eq!(results[1]["topic"], "channel:a/b");
    assert_eq!(position(&results[1]).seq, 1);
    assert_eq!(results[2], json!({"topic": "user:42"}));
    assert_eq!(results[16], json!({"topic": "tenant"}));
    // Topics don't wait for each other.
    let mut told = Vec::new();
    for _ in 0..4 {
        let event = acme.expect("event").await;
        told.push((event["topic"].as_str().unwrap().to_owned(), event["event"]["type"].as_str().unwrap().to_owned()));
    }
    let of_tenant: Vec<_> = told.iter().filter(|(topic, _)| topic == "tenant").map(|(_, of)| of.as_str()).collect();
    assert_eq!(of_tenant, ["first", "last"]);
    assert!(
        told.contains(&("channel:a/b".into(), "second".into())) && told.contains(&("user:42".into(), "third".into()))
    );
    acme.expect_nothing().await;
    globex.expect_nothing().await;
}

#[tokio::test]
async fn a_repeated_batch_publishes_nothing_twice() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    client.subscribe("channel:news").await;
    let first = json!({"events": [{"type": "a"}, {"type": "b"}]});
    let durable = format!("{EVENTS}?durable=true");
    let key = [("Idempotency-Key", "order-7")];
    let once = results(&node, &durable, &key, &first).await;
    assert_eq!(results(&node, &durable, &key, &first).await, once);
    // Each event has the key with its index, so one by one they are known, too.
    let reply = post(&node, &durable, &[("Idempotency-Key", "order-7:1")], br#"{"type":"b"}"#).await;
    assert_eq!(reply.json()["position"], once[1]["position"]);
    let many = json!({"events": [
        {"topic": "channel:news", "event": {"type": "a"}},
        {"topic": "channel:news", "event": {"type": "c"}, "id": "own"},
        {"topic": "channel:news", "event": {"type": "c"}, "id": "own"},
        {"topic": "channel:news", "event": {"type": "d"}, "durable": false},
    ]});
    let told = results(&node, &format!("{ALL}?durable=true"), &key, &many).await;
    assert_eq!(told[0]["position"], once[0]["position"]);
    assert_eq!(told[1], told[2]);
    assert_eq!(position(&told[1]).seq, 3);
    // An ephemeral event can't be known again, and that is not passed over.
    assert_eq!(error(&told[3]), ("bad_frame", None));
    for expected in ["a", "b", "c"] {
        assert_eq!(client.expect_event("channel:news").await["type"], expected);
    }
    client.expect_nothing().await;
    let longest = "k".repeat(126);
    assert!(results(&node, &durable, &[("Idempotency-Key", &longest)], &first).await[1].get("error").is_none());
    let too_long = "k".repeat(127);
    let told = results(&node, &durable, &[("Idempotency-Key", &too_long)], &first).await;
    assert_eq!((error(&told[0]), error(&told[1])), (("bad_frame", None), ("bad_frame", None)));
    for target in [EVENTS, ALL] {
        for key in ["", &"k".repeat(129), "größe"] {
            let reply = post(&node, target, &[("Idempotency-Key", key)], first.to_string().as_bytes()).await;
            assert_problem(&reply, 400, "bad_frame");
        }
    }
}

#[tokio::test]
async fn a_batch_may_be_message_pack() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect_msgpack(&node, &token("acme", "1")).await;
    client.subscribe("channel:news").await;
    let header = [("Content-Type", "application/msgpack")];
    let one = json!({"events": [{"type": "a", "data": {"ü": [1]}}, {"data": 1}]});
    let many =
        json!({"events": [{"topic": "channel:news", "event": {"type": "a", "data": {"ü": [1]}}, "durable": true}, 7]});
    for (target, body) in [(EVENTS, one), (ALL, many)] {
        let reply = post(&node, target, &header, &rmp_serde::to_vec(&body).unwrap()).await;
        let results = reply.json()["results"].as_array().unwrap().clone();
        assert!(results.len() == 2 && results[0].get("error").is_none(), "{results:?}");
        assert_eq!(error(&results[1]).0, "bad_frame");
        assert_eq!(client.expect_event("channel:news").await, json!({"type": "a", "data": {"ü": [1]}}));
        // Nothing may follow the map.
        let trailing = [rmp_serde::to_vec(&body).unwrap(), vec![0xc0]].concat();
        assert_problem(&post(&node, target, &header, &trailing).await, 400, "bad_frame");
    }
}

#[tokio::test]
async fn what_is_no_batch_is_refused_as_a_whole() {
    let node = Node::start(&[("FANFARE_API_BATCH_EVENTS_MAX", "3")]).await;
    let event = json!({"topic": "tenant", "event": {"type": "t"}, "type": "t"});
    for (target, count, status) in [(EVENTS, 3, 200), (ALL, 3, 200), (EVENTS, 4, 413), (ALL, 4, 413)] {
        let reply = post_json(&node, target, &json!({ "events": vec![event.clone(); count] })).await;
        assert_eq!(reply.status, status, "{target}");
        if status == 413 {
            let detail = "the body has 4 events; at most 3 are taken at once (api_batch_events_max)";
            assert_eq!(problem(&reply), (413, "too_large".to_owned(), detail.to_owned()));
        }
    }
    for events in [json!([]), json!({}), json!("t"), json!(null), json!(7)] {
        for target in [EVENTS, ALL] {
            let reply = post_json(&node, target, &json!({ "events": events })).await;
            let detail = r#"the body must be {"events":[…]} with one item at least"#;
            assert_eq!(problem(&reply), (400, "bad_frame".to_owned(), detail.to_owned()), "{target} {events}");
        }
    }
    // Without a list, one path expects an event and the other nothing else.
    for body in ["", "{}", "[]", r#"{"type":"t"}"#, r#"{"events":[1"#, "\u{1}"] {
        assert_problem(&post(&node, ALL, &[], body.as_bytes()).await, 400, "bad_frame");
    }
    let reply = post_json(&node, ALL, &json!({"type": "t", "events": [event]})).await;
    assert_eq!(reply.status, 200);
    let reply = post_json(&node, EVENTS, &json!({"type": "t", "events": [event]})).await;
    assert_eq!(reply.json(), json!({"published": true}));
    for target in [EVENTS, ALL] {
        for media_type in ["text/plain", "application/json-lines", ""] {
            let reply = post(&node, target, &[("Content-Type", media_type)], br#"{"events":[]}"#).await;
            assert_problem(&reply, 415, "bad_frame");
        }
        assert_problem(&post(&node, &format!("{target}?durable=1"), &[], b"{}").await, 400, "bad_frame");
    }
}

#[tokio::test]
async fn a_topics_rule_holds_for_each_event() {
    let rules = r#"[[topics]]
pattern = "channel:fleeting:*"
durable = "never"
[[topics]]
pattern = "channel:kept"
durable = "always"
event_bytes_max = 64
"#;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fanfare.toml");
    std::fs::write(&file, rules).unwrap();
    let node = Node::start(&[("FANFARE_CONFIG", file.to_str().unwrap())]).await;
    let events = json!({"events": [
        {"topic": "channel:fleeting:a", "event": {"type": "t"}},
        {"topic": "channel:fleeting:a", "event": {"type": "t"}, "durable": true},
        {"topic": "channel:kept", "event": {"type": "t"}, "id": "a"},
        {"topic": "channel:kept", "event": {"type": "t", "data": "x".repeat(64)}},
    ]});
    let results = results(&node, ALL, &[], &events).await;
    assert_eq!(results[0], json!({"topic": "channel:fleeting:a"}));
    assert_eq!(error(&results[1]), ("bad_frame", None));
    assert_eq!(position(&results[2]).seq, 1);
    assert_eq!(error(&results[3]), ("too_large", Some("too_large")));
}

#[tokio::test]
async fn after_an_event_that_redis_does_not_take_no_later_one_of_its_topic_is_published() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    let kept = |topic: &str| json!({"topic": topic, "event": {"type": "t"}, "durable": true});
    let sent = |topic: &str| json!({"topic": topic, "event": {"type": "t"}});
    let events = json!({"events": [
        sent("channel:a"), kept("channel:a"), sent("channel:a"), kept("channel:a"), kept("channel:b"), sent("channel:b"),
    ]});
    redis.command(&["SET", "fanfare:acme:channel:a", "no stream"]);
    let results = results(&node, ALL, &[], &events).await;
    assert_eq!(results[0], json!({"topic": "channel:a"}));
    assert_eq!(error(&results[1]), ("internal", None));
    for result in &results[2..4] {
        assert_eq!(error(result), ("unavailable", None));
        assert_eq!(result["error"]["message"], "not published: an event of this topic before it was not taken");
    }
    assert_eq!(position(&results[4]).seq, 1);
    assert_eq!(results[5], json!({"topic": "channel:b"}));
}
