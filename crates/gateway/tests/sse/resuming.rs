//! A stream that comes back with the last id it saw misses nothing, or is told.

use serde_json::{Value, json};

use crate::event_stream::{EventStream, Get};
use crate::support::{Node, RedisProcess, position, token, until};
use crate::{FORGETFUL, ORDERS, STREAM, Seen, follower, numbered, numbers};

/// Comes back for [`ORDERS`]; returns the stream, `welcome` and `subscribed`.
async fn resume(node: &Node, last_id: &str) -> (EventStream, Value, Value) {
    let get = Get::sse(node, "topics=channel:orders").bearer(&token("acme", "1")).since(last_id);
    let mut stream = get.open().await;
    let welcome = stream.expect("welcome").await;
    let subscribed = stream.expect("subscribed").await;
    (stream, welcome, subscribed)
}

/// A node that nobody is connected to knows nothing of its topics any more.
async fn forgotten(node: &Node) {
    until("the topics are forgotten", async || node.metric("fanfare_topics").await == 0.0).await;
}

#[tokio::test]
async fn what_a_stream_missed_comes_from_any_node() {
    let redis = RedisProcess::start();
    let (one, two) = (Node::start_on(&redis.url(), &[]).await, Node::start_on(&redis.url(), &[]).await);
    let mut stream = follower(&one).await;
    for n in 1..=2 {
        one.keep("acme", ORDERS, &numbered(n)).await;
        stream.expect("event").await;
    }
    let mut last_id = stream.last_id.clone();
    drop(stream);
    for (node, missed) in [(&two, 3..=5), (&one, 6..=7)] {
        for n in missed.clone() {
            one.keep("acme", ORDERS, &numbered(n)).await;
            one.keep("acme", "user:1", &numbered(100 + n)).await;
        }
        let get = Get::sse(node, "topics=channel:orders").bearer(&token("acme", "1")).since(&last_id);
        let mut stream = get.open().await;
        let seen = Seen::until(&mut stream, missed.clone().count(), missed.clone().count()).await;
        assert_eq!(seen, Seen { orders: missed.clone().collect(), own: missed.map(|n| 100 + n).collect() });
        last_id.clone_from(&stream.last_id);
    }
    let (mut stream, _, subscribed) = resume(&one, &last_id).await;
    assert_eq!((numbers(&subscribed), &subscribed["recovered"]), (vec![], &json!(true)));
    let at = two.keep("acme", ORDERS, &numbered(9)).await;
    assert_eq!(position(&stream.expect("event").await), at);
}

#[tokio::test]
async fn a_stream_is_told_which_of_its_topics_carry_durable_events_alone() {
    let rules = r#"[{"pattern":"channel:orders","durable":"always"},{"pattern":"user:*","durable":"always"}]"#;
    let node = Node::start(&[("FANFARE_TOPICS", rules)]).await;
    let mut last_id = String::new();
    for recovered in [Value::Null, json!(true)] {
        let get = Get::sse(&node, "topics=channel:orders,channel:chat").bearer(&token("acme", "1")).since(&last_id);
        let mut stream = get.open().await;
        let welcome = stream.expect("welcome").await;
        let told = [&welcome["topics"][0], &welcome["topics"][1], &stream.message().await, &stream.message().await]
            .map(|state| (state["topic"].clone(), state["durable"].clone(), state["recovered"].clone()));
        let expected =
            [("tenant", Value::Null), ("user:1", json!(true)), (ORDERS, json!(true)), ("channel:chat", Value::Null)];
        assert_eq!(told, expected.map(|(topic, durable)| (json!(topic), durable, recovered.clone())));
        last_id.clone_from(&stream.last_id);
    }
}

#[tokio::test]
async fn every_id_on_the_way_is_one_to_go_on_from() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    let mut stream = Get::sse(&node, "topics=channel:orders").bearer(&token("acme", "1")).open().await;
    stream.expect("welcome").await;
    let welcomed = stream.last_id.clone();
    stream.expect("subscribed").await;
    let mut ids = vec![stream.last_id.clone()];
    for n in 1..=3 {
        node.keep("acme", ORDERS, &numbered(n)).await;
        stream.expect("event").await;
        ids.push(stream.last_id.clone());
    }
    for (seen, id) in (0..).zip(&ids) {
        let (_, _, subscribed) = resume(&node, id).await;
        assert_eq!(numbers(&subscribed), (seen + 1..=3).collect::<Vec<u64>>(), "{seen}");
    }
    // Before it was subscribed nothing was promised.
    let (_, _, subscribed) = resume(&node, &welcomed).await;
    assert_eq!(subscribed["recovered"], Value::Null);
    // In the address for those who can't set a header; a header is newer.
    let query = format!("topics=channel:orders&last_event_id={}", ids[0]);
    for (get, expected) in [(Get::sse(&node, &query), vec![1, 2, 3]), (Get::sse(&node, &query).since(&ids[2]), vec![3])]
    {
        let mut stream = get.bearer(&token("acme", "1")).open().await;
        stream.expect("welcome").await;
        assert_eq!(numbers(&stream.expect("subscribed").await), expected);
    }
}

#[tokio::test]
async fn other_topics_are_followed_by_opening_anew() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[FORGETFUL]).await;
    let open = async |topics: &str, id: &str| {
        let get = Get::sse(&node, &format!("topics={topics}")).bearer(&token("acme", "1")).since(id);
        let mut stream = get.open().await;
        stream.expect("welcome").await;
        stream
    };
    let mut stream = open("channel:a,channel:b", "").await;
    stream.expect("subscribed").await;
    stream.expect("subscribed").await;
    let id = stream.last_id.clone();
    drop(stream);
    forgotten(&node).await;
    for topic in ["channel:a", "channel:b", "channel:c"] {
        node.keep("acme", topic, &numbered(1)).await;
    }
    let mut stream = open("channel:b,channel:c", &id).await;
    let subscribed = stream.expect("subscribed").await;
    assert_eq!((&subscribed["topic"], numbers(&subscribed)), (&json!("channel:b"), vec![1]));
    let subscribed = stream.expect("subscribed").await;
    assert_eq!((&subscribed["topic"], &subscribed["recovered"]), (&json!("channel:c"), &Value::Null));
    // What it no longer follows, it no longer knows.
    let id = stream.last_id.clone();
    let mut stream = open("channel:a", &id).await;
    assert_eq!(stream.expect("subscribed").await["recovered"], Value::Null);
}

#[tokio::test]
async fn what_history_has_lost_is_told() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[FORGETFUL, ("FANFARE_RECENT_BYTES_MAX", "0")]).await;
    let stream = follower(&node).await;
    let id = stream.last_id.clone();
    drop(stream);
    forgotten(&node).await;
    for n in 1..=5 {
        node.keep("acme", ORDERS, &numbered(n)).await;
    }
    redis.command(&["XTRIM", STREAM, "MAXLEN", "2"]);
    let (stream, _, subscribed) = resume(&node, &id).await;
    assert_eq!((&subscribed["recovered"], &subscribed["reason"]), (&json!(false), &json!("expired")));
    assert_eq!(numbers(&subscribed), [4, 5]);
    drop(stream);
    forgotten(&node).await;
    redis.command(&["FLUSHALL"]);
    let (stream, _, subscribed) = resume(&node, &id).await;
    assert_eq!((&subscribed["recovered"], &subscribed["reason"]), (&json!(false), &json!("epoch")));
    // From here on it is complete again.
    let id = stream.last_id.clone();
    drop(stream);
    node.keep("acme", ORDERS, &numbered(6)).await;
    let mut stream = Get::sse(&node, "topics=channel:orders").bearer(&token("acme", "1")).since(&id).open().await;
    assert_eq!(Seen::until(&mut stream, 1, 0).await.orders, [6]);
}

#[tokio::test]
async fn a_gap_is_told_on_the_stream_that_is_open() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[("FANFARE_GAP_SPREAD_MS", "0")]).await;
    let mut stream = follower(&node).await;
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let mut topics = vec![];
    for _ in 0..3 {
        let gap = stream.expect("gap").await;
        assert_eq!((&gap["lost"], &gap["reason"]), (&json!("ephemeral"), &json!("backplane")));
        topics.push(gap["topic"].as_str().unwrap().to_owned());
    }
    topics.sort();
    assert_eq!(topics, [ORDERS, "tenant", "user:1"]);
    node.publish("acme", ORDERS, r#"{"type":"t"}"#).await;
    stream.expect("event").await;
}

/// The node asks on for the client, who can't.
#[tokio::test]
async fn what_does_not_fit_into_one_answer_comes_in_several_with_nothing_lost_or_out_of_order() {
    const MISSED: u64 = 300;
    const LIVE: u64 = 60;
    let redis = RedisProcess::start();
    let settings = [FORGETFUL, ("FANFARE_OUTBOX_BYTES_MAX", "131072"), ("FANFARE_RECENT_BYTES_MAX", "0")];
    let node = Node::start_on(&redis.url(), &settings).await;
    let large = |number: u64| json!({ "type": "n", "data": number, "filler": "x".repeat(1_000) }).to_string();
    let stream = follower(&node).await;
    let begun = stream.last_id.clone();
    drop(stream);
    forgotten(&node).await;
    for n in 1..=MISSED {
        node.keep("acme", ORDERS, &large(n)).await;
        node.keep("acme", "user:1", &large(n)).await;
    }
    let mut id = begun;
    let mut live = MISSED;
    let mut seen = Seen::default();
    // Whoever loses its connection on the way goes on from where it was.
    for messages in [1, 2, 3, 5, usize::MAX] {
        let get = Get::sse(&node, "topics=channel:orders").bearer(&token("acme", "1")).since(&id);
        let mut stream = get.open().await;
        for _ in 0..messages {
            let message = stream.message().await;
            seen.note(&message);
            if live < MISSED + LIVE {
                live += 1;
                node.keep("acme", ORDERS, &large(live)).await;
            }
            let is_complete = seen.orders.last() == Some(&(MISSED + LIVE)) && seen.own.last() == Some(&MISSED);
            if live == MISSED + LIVE && is_complete {
                break;
            }
        }
        id.clone_from(&stream.last_id);
    }
    assert_eq!(seen.orders, (1..=MISSED + LIVE).collect::<Vec<_>>());
    assert_eq!(seen.own, (1..=MISSED).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_whose_rest_can_not_be_had_ends_and_the_rest_is_not_lost() {
    const MISSED: u64 = 300;
    let mut redis = RedisProcess::start();
    let settings = [FORGETFUL, ("FANFARE_OUTBOX_BYTES_MAX", "131072"), ("FANFARE_RECENT_BYTES_MAX", "0")];
    let node = Node::start_on(&redis.url(), &settings).await;
    let stream = follower(&node).await;
    let begun = stream.last_id.clone();
    drop(stream);
    forgotten(&node).await;
    // More than fits into all buffers between a node and a client that doesn't read.
    for n in 1..=MISSED {
        node.keep("acme", ORDERS, &json!({ "type": "n", "data": n, "filler": "x".repeat(62_000) }).to_string()).await;
    }
    let mut stream = Get::sse(&node, "topics=channel:orders").bearer(&token("acme", "1")).since(&begun).open().await;
    stream.stop_reading();
    // One page waits, and the next one is asked for only when it was taken.
    let mut waited = 0;
    until("it is stuck", async || {
        waited = if node.metric("fanfare_outbox_waiting_bytes").await > 60_000.0 { waited + 1 } else { 0 };
        waited == 50
    })
    .await;
    redis.kill();
    until("the outage is noticed", async || node.get("/readyz").await.status == 503).await;
    stream.read_on();
    let mut seen = Seen::default();
    let told = loop {
        let message = stream.message().await;
        match message["op"].as_str().unwrap() {
            "disconnect" => break message,
            "error" => assert_eq!((&message["topic"], &message["code"]), (&json!(ORDERS), &json!("unavailable"))),
            _ => seen.note(&message),
        }
    };
    assert_eq!((&told["code"], &told["reconnect"]), (&json!(1011), &json!(true)));
    let last = seen.orders.len() as u64;
    assert!((1..MISSED).contains(&last), "{last}");
    assert_eq!(seen.orders, (1..=last).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_the_backplane_a_stream_stands_and_says_what_it_can_not_have() {
    let mut redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[("FANFARE_GAP_SPREAD_MS", "0")]).await;
    redis.kill();
    until("the outage is noticed", async || node.get("/readyz").await.status == 503).await;
    let mut stream = Get::sse(&node, "topics=channel:orders").bearer(&token("acme", "1")).open().await;
    stream.expect("welcome").await;
    let refused = stream.expect("error").await;
    assert_eq!((&refused["topic"], &refused["code"]), (&json!(ORDERS), &json!("unavailable")));
    redis.start_again();
    for _ in 0..2 {
        stream.expect("gap").await;
    }
    node.publish("acme", "user:1", r#"{"type":"t"}"#).await;
    assert_eq!(stream.expect("event").await["topic"], "user:1");
}
