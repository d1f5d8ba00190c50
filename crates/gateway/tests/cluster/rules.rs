//! Rules for topics, as nodes on a real Redis keep them: what is kept and how, how long an event may be, who may subscribe.

use serde_json::{Value, json};

use crate::outages::{AT_ONCE, expect_gaps};
use crate::support::{API_KEY, Client, Node, RedisProcess, claims, position, request, sign, token, until};
use crate::{EVENT, frame, publish, subscriber, subscribers, try_subscribe, two_nodes, until_count, welcomed};

const TOPIC: &str = "channel:orders.7";
const CHANNEL: &str = "fanfare:acme:channel:orders.7";

/// `channel:orders.*` with one more key.
fn orders(key: &str, value: impl Into<Value>) -> String {
    let mut rule = json!({ "pattern": "channel:orders.*" });
    rule[key] = value.into();
    json!([rule]).to_string()
}

async fn node_with(redis: &RedisProcess, rules: &str) -> Node {
    Node::start_on(&redis.url(), &[AT_ONCE, ("FANFARE_TOPICS", rules)]).await
}

/// Publishes over HTTP with more in the query or the headers than [`Node::publish`] has.
async fn post(node: &Node, query: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let bearer = format!("Bearer {API_KEY}");
    let headers = [&[("Authorization", bearer.as_str())], headers].concat();
    let path = format!("/v1/tenants/acme/topics/{TOPIC}/events{query}");
    let reply = request(node.admin, "POST", &path, &headers, body.as_bytes()).await;
    (reply.status, reply.json())
}

/// Publishes as a client and returns the answer, which the client's own copy of the event may precede.
async fn publish_as(client: &mut Client, durable: Option<bool>) -> Value {
    let event = json!({ "type": "order.updated", "data": { "id": 7 } });
    client.send(&json!({ "op": "publish", "id": 1, "topic": TOPIC, "event": event, "durable": durable })).await;
    loop {
        let message = client.message().await;
        if message["op"] != "event" {
            return message;
        }
    }
}

#[tokio::test]
async fn a_topic_of_durable_events_alone_is_caught_up_without_a_gap() {
    let redis = RedisProcess::start();
    let node = node_with(&redis, &orders("durable", "always")).await;
    let mut client = subscriber(&node, &token("acme", "1"), TOPIC).await;
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    redis.command(&["FCALL", "fanfare_publish", "1", CHANNEL, EVENT]);
    // The gaps of the other topics and the event come in any order; nothing else does.
    let mut told = Vec::new();
    while told.len() < 3 {
        let message = client.message().await;
        told.push((message["op"].to_string(), message["topic"].to_string(), message["lost"].to_string()));
    }
    told.sort();
    let expected = [("event", TOPIC, ""), ("gap", "tenant", "ephemeral"), ("gap", "user:1", "ephemeral")];
    let quoted = |text: &str| if text.is_empty() { "null".to_owned() } else { json!(text).to_string() };
    assert_eq!(told, expected.map(|(op, topic, lost)| (quoted(op), quoted(topic), quoted(lost))));
    client.expect_nothing().await;
}

#[tokio::test]
async fn what_nodes_publish_to_a_topic_of_durable_events_alone_is_durable_by_itself() {
    let redis = RedisProcess::start();
    let node = node_with(&redis, &orders("durable", "always")).await;
    let mut client = subscriber(&node, &token("acme", "1"), TOPIC).await;
    // Nobody can refuse it on Redis: it reaches nobody and is counted.
    assert_eq!(publish(&redis, CHANNEL, EVENT), 1);
    until_count(&node, r#"fanfare_events_invalid_total{reason="not_durable",tenant="acme"}"#, 1).await;
    let mut positions = Vec::new();
    for query in ["", "?durable=false", "?durable=true"] {
        let (status, answer) = post(&node, query, &[], EVENT).await;
        assert_eq!(status, 200, "{answer}");
        positions.push(position(&answer));
        let event = client.expect("event").await;
        assert_eq!((position(&event), &event["event"]["data"]["id"]), (positions[positions.len() - 1], &json!(7)));
    }
    let repeated = [("Idempotency-Key", "order-7")];
    let (first, second) = (post(&node, "", &repeated, EVENT).await, post(&node, "", &repeated, EVENT).await);
    assert_eq!((first.0, &first), (200, &second));
    client.expect_event(TOPIC).await;
    for durable in [None, Some(false), Some(true)] {
        positions.push(position(&publish_as(&mut client, durable).await));
    }
    assert!(positions.windows(2).all(|pair| pair[0].seq < pair[1].seq), "{positions:?}");
    assert_eq!(redis.command(&["XLEN", CHANNEL]), "7");
}

#[tokio::test]
async fn other_topics_take_ephemeral_events_and_get_their_gap() {
    let redis = RedisProcess::start();
    let node = node_with(&redis, &orders("durable", "always")).await;
    let mut client = subscriber(&node, &token("acme", "1"), "channel:chat").await;
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    expect_gaps(&mut client, &["tenant", "user:1", "channel:chat"]).await;
    until("it is subscribed again", async || subscribers(&redis, "fanfare:acme:channel:chat") == 1).await;
    publish(&redis, "fanfare:acme:channel:chat", EVENT);
    assert_eq!(client.expect_event("channel:chat").await["type"], "order.updated");
    assert_eq!(node.publish("acme", "channel:chat", EVENT).await.json(), json!({ "published": true }));
}

#[tokio::test]
async fn a_topic_without_durable_events_refuses_to_keep_any_through_nodes() {
    let redis = RedisProcess::start();
    let node = node_with(&redis, &orders("durable", "never")).await;
    let mut client = subscriber(&node, &token("acme", "1"), TOPIC).await;
    let message = "the topic takes ephemeral events alone: publish it without durable";
    let (status, problem) = post(&node, "?durable=true", &[], EVENT).await;
    assert_eq!((status, &problem["code"], &problem["message"]), (400, &json!("bad_frame"), &json!(message)));
    let (status, problem) = post(&node, "", &[("Idempotency-Key", "order-7")], EVENT).await;
    assert_eq!((status, &problem["code"]), (400, &json!("bad_frame")));
    let refused = json!({ "op": "error", "id": 1, "topic": TOPIC, "code": "bad_frame", "message": message });
    assert_eq!(publish_as(&mut client, Some(true)).await, refused);
    assert_eq!(post(&node, "?durable=false", &[], EVENT).await, (200, json!({ "published": true })));
    assert_eq!(client.text().await, frame(TOPIC, EVENT));
    assert_eq!(publish_as(&mut client, None).await, json!({ "op": "published", "id": 1 }));
    assert_eq!(redis.command(&["EXISTS", CHANNEL]), "0");
}

#[tokio::test]
async fn what_nodes_keep_is_kept_as_the_rule_says() {
    let redis = RedisProcess::start();
    let rules = json!([{ "pattern": "channel:orders.*", "maxlen": 3, "ttl_ms": 60_000 }]);
    let node = node_with(&redis, &rules.to_string()).await;
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    for _ in 0..300 {
        redis.command(&["FCALL", "fanfare_publish", "1", CHANNEL, EVENT]);
    }
    let kept = || redis.command(&["XLEN", CHANNEL]).parse::<u32>().unwrap();
    let ttl_ms = || redis.command(&["PTTL", CHANNEL]).parse::<u64>().unwrap();
    assert!(kept() == 300 && ttl_ms() > 1_000_000, "as its publisher says");
    // What the stream keeps beyond `maxlen` is Redis's to choose, but less than it had.
    assert_eq!(post(&node, "?durable=true", &[], EVENT).await.0, 200);
    let after_http = kept();
    assert!((3..200).contains(&after_http), "{after_http}");
    redis.command(&["DEL", CHANNEL, &format!("{{{CHANNEL}}}:head")]);
    assert_eq!(publish_as(&mut client, Some(true)).await["op"], "published");
    assert!((1..120_000).contains(&ttl_ms()), "Redis adds a little to the minute: {}", ttl_ms());
}

#[tokio::test]
async fn an_event_may_be_as_long_as_the_rule_says_wherever_it_comes_from() {
    let redis = RedisProcess::start();
    let rules = orders("event_bytes_max", 100);
    let [node, lenient] = [node_with(&redis, &rules).await, Node::start_on(&redis.url(), &[]).await];
    let mut client = subscriber(&node, &token("acme", "1"), TOPIC).await;
    let of_bytes = |bytes: usize| {
        let empty = json!({ "type": "t", "data": "" }).to_string();
        json!({ "type": "t", "data": "x".repeat(bytes - empty.len()) }).to_string()
    };
    let (fits, too_long) = (of_bytes(100), of_bytes(101));
    for (envelope, status) in [(&too_long, 413), (&fits, 200)] {
        let (found, answer) = post(&node, "", &[], envelope).await;
        assert_eq!(found, status, "{answer}");
    }
    assert_eq!(client.expect_event(TOPIC).await["type"], "t");
    for (envelope, op) in [(&too_long, "error"), (&fits, "published")] {
        let event: Value = serde_json::from_str(envelope).unwrap();
        client.send(&json!({ "op": "publish", "id": 1, "topic": TOPIC, "event": event })).await;
        let answer = client.skip_to(op).await;
        if op == "error" {
            let message = "the event has 101 bytes; at most 100 are allowed";
            assert_eq!((&answer["code"], &answer["message"]), (&json!("too_large"), &json!(message)));
        }
    }
    // From Redis: an ephemeral one is left out, of a durable one the place is told.
    let mut other = Client::connect(&node, &token("acme", "2")).await;
    let before = position(&other.subscribe(TOPIC).await);
    publish(&redis, CHANNEL, &too_long);
    lenient.keep("acme", TOPIC, &too_long).await;
    let gap = other.expect("gap").await;
    assert_eq!((&gap["topic"], &gap["lost"], &gap["reason"]), (&json!(TOPIC), &json!("all"), &json!("invalid")));
    lenient.keep("acme", TOPIC, &fits).await;
    assert_eq!(other.expect_event(TOPIC).await["type"], "t");
    until_count(&node, r#"fanfare_events_invalid_total{reason="too_large",tenant="acme"}"#, 2).await;
    other.send(&json!({ "op": "history", "id": 2, "topic": TOPIC, "limit": 10 })).await;
    assert_eq!(other.expect("history").await["events"].as_array().unwrap().len(), 1);
    // So it is for a node that reads the topic's history.
    let another = node_with(&redis, &rules).await;
    let mut back = Client::connect(&another, &token("acme", "2")).await;
    back.send(&json!({ "op": "subscribe", "id": 1, "topic": TOPIC, "since": before })).await;
    let subscribed = back.expect("subscribed").await;
    assert_eq!((&subscribed["recovered"], &subscribed["reason"]), (&json!(false), &json!("invalid")));
    assert_eq!(subscribed["events"].as_array().unwrap().len(), 1);
    // Other topics keep the limit of all.
    assert_eq!(node.publish("acme", "channel:orders", &too_long).await.status, 200);
}

#[tokio::test]
async fn a_channel_for_everybody_needs_no_claim_and_one_for_nobody_has_none() {
    let redis = RedisProcess::start();
    let rules = json!([
        { "pattern": "channel:open.*", "subscribe": "tenant" },
        { "pattern": "channel:audit.**", "subscribe": "nobody" },
        { "pattern": "**", "subscribe": "claims" },
    ]);
    let settings = [("FANFARE_TOPICS", rules.to_string())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let [node, other_node] = two_nodes(&redis, &settings).await;
    let mut nothing = claims("acme", "1");
    nothing["channels"] = json!([]);
    let mut everything = claims("acme", "2");
    everything["subscribe"] = json!(["channel:audit.log", "channel:open.a", "channel:vip"]);

    let mut client = Client::connect(&node, &sign(&nothing)).await;
    client.subscribe("channel:open.a").await;
    let refused = |topic: &str, id: i64| {
        let message = "this token may not subscribe to this topic";
        json!({ "op": "error", "id": id, "topic": topic, "code": "forbidden", "message": message })
    };
    // What is used, what isn't, and what no rule names look the same.
    publish(&redis, "fanfare:acme:channel:audit.log", EVENT);
    for topic in ["channel:audit.log", "channel:audit.unused", "channel:vip", "user:2"] {
        assert_eq!(try_subscribe(&mut client, topic).await, refused(topic, 8));
        client.send(&json!({ "op": "history", "id": 5, "topic": topic, "limit": 1 })).await;
        assert_eq!(client.message().await, refused(topic, 5));
    }
    // Whatever the token says: neither by itself nor when asked.
    let (mut all, welcome) = welcomed(&other_node, &sign(&everything)).await;
    let topics: Vec<&Value> = welcome["topics"].as_array().unwrap().iter().map(|topic| &topic["topic"]).collect();
    assert_eq!(topics, ["tenant", "user:2", "channel:open.a", "channel:vip"]);
    assert_eq!(try_subscribe(&mut all, "channel:audit.log").await, refused("channel:audit.log", 8));
    assert_eq!(publish(&redis, "fanfare:acme:channel:audit.log", EVENT), 0, "no node listens");
    // A renewed token takes nothing away that the rule gives.
    client.send(&json!({ "op": "auth", "token": sign(&nothing) })).await;
    client.expect("renewed").await;
    // Another tenant's channel of that name stays another's.
    let mut stranger = claims("globex", "1");
    stranger["channels"] = json!([]);
    let mut stranger = Client::connect(&other_node, &sign(&stranger)).await;
    stranger.subscribe("channel:open.a").await;
    assert_eq!(publish(&redis, "fanfare:acme:channel:open.a", EVENT), 2);
    for client in [&mut client, &mut all] {
        assert_eq!(client.text().await, frame("channel:open.a", EVENT));
    }
    stranger.expect_nothing().await;
}

#[tokio::test]
async fn a_topic_that_follows_another_one_has_its_own_rule() {
    let redis = RedisProcess::start();
    let rules = orders("durable", "always");
    let settings = [("FANFARE_UNSUBSCRIBE_DELAY_MS", "0"), ("FANFARE_TOPICS", rules.as_str())];
    let node = Node::start_on(&redis.url(), &settings).await;
    let mut client = subscriber(&node, &token("acme", "1"), TOPIC).await;
    publish(&redis, CHANNEL, EVENT);
    until_count(&node, r#"fanfare_events_invalid_total{reason="not_durable",tenant="acme"}"#, 1).await;
    client.send(&json!({ "op": "unsubscribe", "id": 2, "topic": TOPIC })).await;
    client.expect("unsubscribed").await;
    // The node forgets the topic, and takes what it had for it for the next one.
    until("nobody listens", async || subscribers(&redis, CHANNEL) == 0).await;
    for (topic, reaches) in [("channel:chat", true), (TOPIC, false)] {
        client.subscribe(topic).await;
        publish(&redis, &format!("fanfare:acme:{topic}"), EVENT);
        if reaches {
            assert_eq!(client.text().await, frame(topic, EVENT));
        }
    }
    until_count(&node, r#"fanfare_events_invalid_total{reason="not_durable",tenant="acme"}"#, 2).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn rules_of_a_file_stop_a_node_that_could_not_keep_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fanfare.toml");
    std::fs::write(&path, "drain_s = 1\n\n[[topics]]\npattern = 'channel:**'\nmaxlen = 0\n").unwrap();
    let path = path.to_str().unwrap();
    let mut node = Node::spawn(&["serve", "--config", path], &[]);
    assert_eq!(node.ended().await.code(), Some(1));
    let expected = format!(
        "fanfare: the configuration can't be used: topics, rule 1, maxlen = \"0\" ({path}:3): too small; give a number \
         from 1 to 999999999999999\n"
    );
    assert_eq!(node.log(), expected);
}
