//! What is published reaches everybody it is meant for, on every node, and nobody else.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Node, RedisProcess, claims, sign, token, until};
use crate::{
    EVENT, event, frame, leave, publish, subscriber, subscribers, try_subscribe, two_nodes, until_count, welcomed,
};

#[tokio::test]
async fn an_event_on_a_channel_reaches_its_subscribers_on_both_nodes_and_only_those() {
    let redis = RedisProcess::start();
    let [a, b] = two_nodes(&redis, &[]).await;
    let orders = "channel:orders";
    let mut subscribed = [
        subscriber(&a, &token("acme", "1"), orders).await,
        subscriber(&a, &token("acme", "2"), orders).await,
        subscriber(&b, &token("acme", "3"), orders).await,
    ];
    let mut other_channel = subscriber(&a, &token("acme", "4"), "channel:orders.eu").await;
    let mut no_channel = Client::connect(&b, &token("acme", "5")).await;
    let mut other_tenant = subscriber(&b, &token("globex", "1"), orders).await;
    let mut unsubscribed = subscriber(&b, &token("acme", "6"), orders).await;
    unsubscribed.send(&json!({ "op": "unsubscribe", "id": 2, "topic": orders })).await;
    unsubscribed.expect("unsubscribed").await;

    assert_eq!(publish(&redis, "fanfare:acme:channel:orders", EVENT), 2);
    for client in &mut subscribed {
        assert_eq!(client.text().await, frame(orders, EVENT));
    }
    // What comes next to all the others is what was published next.
    publish(&redis, "fanfare:acme:tenant", &event("next"));
    for client in subscribed.iter_mut().chain([&mut other_channel, &mut no_channel, &mut unsubscribed]) {
        assert_eq!(client.expect_event("tenant").await, json!({ "type": "next" }));
    }
    publish(&redis, "fanfare:globex:tenant", &event("next"));
    assert_eq!(other_tenant.expect_event("tenant").await, json!({ "type": "next" }));
}

#[tokio::test]
async fn an_event_to_a_user_reaches_all_connections_of_that_user_on_both_nodes() {
    let redis = RedisProcess::start();
    let [a, b] = two_nodes(&redis, &[]).await;
    let mut own = [
        Client::connect(&a, &token("acme", "42")).await,
        Client::connect_msgpack(&a, &token("acme", "42")).await,
        Client::connect(&b, &token("acme", "42")).await,
    ];
    let mut others = [Client::connect(&a, &token("acme", "4")).await, Client::connect(&b, &token("acme", "421")).await];
    let mut namesake = Client::connect(&b, &token("globex", "42")).await;

    assert_eq!(publish(&redis, "fanfare:acme:user:42", EVENT), 2);
    for client in &mut own {
        assert_eq!(client.expect_event("user:42").await, serde_json::from_str::<Value>(EVENT).unwrap());
    }
    publish(&redis, "fanfare:acme:tenant", &event("next"));
    for client in own.iter_mut().chain(&mut others) {
        client.expect_event("tenant").await;
    }
    publish(&redis, "fanfare:globex:user:42", &event("theirs"));
    assert_eq!(namesake.expect_event("user:42").await, json!({ "type": "theirs" }));
}

#[tokio::test]
async fn an_event_to_a_tenant_reaches_everyone_of_it() {
    let redis = RedisProcess::start();
    let [a, b] = two_nodes(&redis, &[]).await;
    let mut acme = Vec::new();
    for user in ["1", "2", "3"] {
        acme.push(Client::connect(&a, &token("acme", user)).await);
        acme.push(Client::connect(&b, &token("acme", user)).await);
    }
    // Tenants whose names begin alike are still two.
    let mut others = Vec::new();
    for tenant in ["acm", "acme2", "globex"] {
        others.push((tenant, Client::connect(&a, &token(tenant, "1")).await));
    }
    publish(&redis, "fanfare:acme:tenant", EVENT);
    for client in &mut acme {
        assert_eq!(client.text().await, frame("tenant", EVENT));
    }
    for (tenant, client) in &mut others {
        publish(&redis, &format!("fanfare:{tenant}:tenant"), &event(tenant));
        assert_eq!(client.expect_event("tenant").await, json!({ "type": tenant }));
    }
}

#[tokio::test]
async fn two_prefixes_on_one_redis_are_two_worlds() {
    let redis = RedisProcess::start();
    let here = Node::start_on(&redis.url(), &[]).await;
    let there = Node::start_on(&redis.url(), &[("FANFARE_REDIS_PREFIX", "staging:fanfare")]).await;
    let mut near = Client::connect(&here, &token("acme", "42")).await;
    let mut far = Client::connect(&there, &token("acme", "42")).await;

    assert_eq!(publish(&redis, "fanfare:acme:user:42", &event("here")), 1);
    assert_eq!(publish(&redis, "staging:fanfare:acme:user:42", &event("there")), 1);
    assert_eq!(here.publish("acme", "tenant", &event("here too")).await.status, 200);
    assert_eq!(there.publish("acme", "tenant", &event("there too")).await.status, 200);
    for (client, place) in [(&mut near, "here"), (&mut far, "there")] {
        assert_eq!(client.expect_event("user:42").await["type"], place);
        assert_eq!(client.expect_event("tenant").await["type"], format!("{place} too"));
    }
}

#[tokio::test]
async fn what_a_client_publishes_reaches_the_other_node_and_comes_back_to_itself() {
    let redis = RedisProcess::start();
    let [a, b] = two_nodes(&redis, &[]).await;
    let mut publisher = subscriber(&a, &token("acme", "1"), "channel:chat").await;
    let mut listener = subscriber(&b, &token("acme", "2"), "channel:chat").await;
    let event = json!({ "type": "said", "data": { "text": "hello" } });
    publisher.send(&json!({ "op": "publish", "id": 5, "topic": "channel:chat", "event": event })).await;
    assert_eq!(listener.expect_event("channel:chat").await, event);
    // Its own event and the answer come from two sides, so either may be first.
    let mut told = [publisher.message().await, publisher.message().await];
    told.sort_by_key(|message| message["op"].to_string());
    let came_back = json!({ "op": "event", "topic": "channel:chat", "event": event });
    assert_eq!(told, [came_back, json!({ "op": "published", "id": 5 })]);
}

#[tokio::test]
async fn what_the_http_api_of_one_node_takes_reaches_the_clients_of_both() {
    let redis = RedisProcess::start();
    let [a, b] = two_nodes(&redis, &[]).await;
    let name = "channel:team:42/a.b-ü";
    let mut clients =
        [subscriber(&a, &token("acme", "1"), name).await, subscriber(&b, &token("acme", "2"), name).await];
    // `data` is the publisher's, to the byte: order, precision, escapes, spaces.
    let envelope = r#"{ "data": {"b":1,"a":9223372036854775808,"c":1.10,"d":"\u00fc\/"} , "type":"order.updated" }"#;
    let reply = a.publish("acme", "channel:team:42%2Fa.b-%C3%BC", envelope).await;
    assert_eq!((reply.status, reply.json()), (200, json!({ "published": true })));
    for client in &mut clients {
        assert_eq!(client.text().await, frame(name, envelope));
    }
}

#[tokio::test]
async fn a_thousand_events_at_once_arrive_in_order_on_both_nodes_in_both_encodings() {
    const EVENTS: u64 = 1_000;
    let redis = RedisProcess::start();
    let [a, b] = two_nodes(&redis, &[]).await;
    let mut clients = Vec::new();
    for node in [&a, &b] {
        clients.push(subscriber(node, &token("acme", "1"), "channel:orders").await);
        let mut client = Client::connect_msgpack(node, &token("acme", "2")).await;
        client.subscribe("channel:orders").await;
        clients.push(client);
    }
    // One server-side script is the fastest publisher there is.
    let script = "for i = 1, tonumber(ARGV[1]) do \
                  redis.call('PUBLISH', 'fanfare:acme:channel:orders', '{\"type\":\"n\",\"data\":' .. i .. '}') end";
    redis.command(&["EVAL", script, "0", &EVENTS.to_string()]);
    for client in &mut clients {
        for number in 1..=EVENTS {
            assert_eq!(client.expect_event("channel:orders").await, json!({ "type": "n", "data": number }));
        }
        client.expect_nothing().await;
    }
}

#[tokio::test]
async fn except_leaves_out_one_connection_on_the_node_that_has_it() {
    let redis = RedisProcess::start();
    let [a, b] = two_nodes(&redis, &[]).await;
    // The first connection of each node, so what they are called must tell the nodes apart.
    let (mut left_out, welcome) = welcomed(&a, &token("acme", "42")).await;
    let (mut other_node, other_welcome) = welcomed(&b, &token("acme", "42")).await;
    let mut same_node = Client::connect(&a, &token("acme", "42")).await;
    assert_ne!(welcome["connection"], other_welcome["connection"]);

    let envelope = json!({ "type": "moved", "except": welcome["connection"] }).to_string();
    assert_eq!(publish(&redis, "fanfare:acme:user:42", &envelope), 2);
    assert_eq!(b.publish("acme", "user:42", &envelope).await.status, 200);
    publish(&redis, "fanfare:acme:user:42", &event("to all"));
    for client in [&mut other_node, &mut same_node] {
        assert_eq!(client.text().await, frame("user:42", &envelope));
        assert_eq!(client.text().await, frame("user:42", &envelope));
        assert_eq!(client.expect_event("user:42").await["type"], "to all");
    }
    assert_eq!(left_out.expect_event("user:42").await["type"], "to all");
}

#[tokio::test]
async fn a_client_leaves_itself_out_and_nobody_else() {
    let redis = RedisProcess::start();
    let [a, b] = two_nodes(&redis, &[]).await;
    let (mut mover, welcome) = welcomed(&a, &token("acme", "1")).await;
    mover.subscribe("channel:cursors").await;
    let mut watcher = subscriber(&b, &token("acme", "2"), "channel:cursors").await;
    let event = json!({ "type": "moved", "except": welcome["connection"] });
    mover.send(&json!({ "op": "publish", "id": 1, "topic": "channel:cursors", "event": event })).await;
    mover.expect("published").await;
    assert_eq!(watcher.expect_event("channel:cursors").await, event);
    watcher.send(&json!({ "op": "publish", "id": 2, "topic": "channel:cursors", "event": event })).await;
    let refused = watcher.expect("error").await;
    let message = "except may only name the connection itself";
    let expected =
        json!({ "op": "error", "id": 2, "topic": "channel:cursors", "code": "forbidden", "message": message });
    assert_eq!(refused, expected);
    mover.expect_nothing().await;
}

#[tokio::test]
async fn a_position_before_the_envelope_is_told_beside_it() {
    let redis = RedisProcess::start();
    let [a, b] = two_nodes(&redis, &[]).await;
    let mut clients = [
        subscriber(&a, &token("acme", "1"), "channel:orders").await,
        subscriber(&b, &token("acme", "2"), "channel:orders").await,
    ];
    let channel = "fanfare:acme:channel:orders";
    let first = redis.command(&["FCALL", "fanfare_publish", "1", channel, EVENT]);
    // As a later version of the function library may write it.
    let second = first.replace("-1", "-2");
    redis.command(&["XADD", channel, &second, "e", EVENT]);
    publish(&redis, channel, &format!("@{second} later=1 name=a=b {EVENT}"));
    // One that nobody has given out.
    publish(&redis, channel, &format!("@{} {EVENT}", first.replace("-1", "-9")));
    // A position within the envelope is the publisher's own affair and vouches for nothing.
    publish(&redis, channel, r#"{"type":"t","position":"9-9"}"#);
    for client in &mut clients {
        for position in [&first, &second] {
            let expected =
                format!(r#"{{"op":"event","topic":"channel:orders","position":"{position}","event":{EVENT}}}"#);
            assert_eq!(client.text().await, expected);
        }
        assert_eq!(client.text().await, frame("channel:orders", r#"{"type":"t","position":"9-9"}"#));
    }
}

#[tokio::test]
async fn topics_that_the_token_names_are_subscribed_by_the_node() {
    let redis = RedisProcess::start();
    let [a, b] = two_nodes(&redis, &[]).await;
    let mut claims = claims("acme", "42");
    claims["channels"] = json!(["news"]);
    claims["subscribe"] = json!(["channel:team:7"]);
    for node in [&a, &b] {
        let (mut client, welcome) = welcomed(node, &sign(&claims)).await;
        let topics: Vec<_> = welcome["topics"].as_array().unwrap().iter().map(|topic| &topic["topic"]).collect();
        assert_eq!(topics, ["tenant", "user:42", "channel:team:7"]);
        assert_eq!(try_subscribe(&mut client, "channel:team:8").await["code"], "forbidden");
        publish(&redis, "fanfare:acme:channel:team:7", EVENT);
        assert_eq!(client.text().await, frame("channel:team:7", EVENT));
    }
}

#[tokio::test]
async fn a_topic_outlives_its_last_subscriber_for_a_while() {
    const DELAY: Duration = Duration::from_secs(6);
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[("FANFARE_UNSUBSCRIBE_DELAY_MS", "6000")]).await;
    let channel = "fanfare:acme:channel:orders";
    let mut first = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    let second = subscriber(&node, &token("acme", "2"), "channel:orders").await;
    assert_eq!(subscribers(&redis, channel), 1, "once for the node, not once for each client");

    leave(second).await;
    until_count(&node, "fanfare_subscriptions", 3).await;
    let before = Instant::now();
    first.send(&json!({ "op": "unsubscribe", "id": 2, "topic": "channel:orders" })).await;
    first.expect("unsubscribed").await;
    assert_eq!(subscribers(&redis, channel), 1);
    until("Redis is told", async || subscribers(&redis, channel) == 0).await;
    assert!(before.elapsed() >= DELAY, "{:?}", before.elapsed());
    assert_eq!(subscribers(&redis, "fanfare:acme:tenant"), 1);
}

#[tokio::test]
async fn a_client_that_comes_back_in_time_costs_redis_nothing() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[("FANFARE_UNSUBSCRIBE_DELAY_MS", "60000")]).await;
    leave(subscriber(&node, &token("acme", "1"), "channel:orders").await).await;
    let commands = || -> Vec<String> {
        let stats = redis.command(&["INFO", "commandstats"]);
        let calls = stats.lines().filter(|line| line.contains("subscribe:"));
        calls.map(|line| line.split(',').next().unwrap().to_owned()).collect()
    };
    let before = commands();
    assert!(before.iter().any(|line| line.starts_with("cmdstat_subscribe:calls=")), "{before:?}");
    for _ in 0..20 {
        let mut client = subscriber(&node, &token("acme", "1"), "channel:orders").await;
        publish(&redis, "fanfare:acme:channel:orders", EVENT);
        assert_eq!(client.text().await, frame("channel:orders", EVENT));
        leave(client).await;
        until_count(&node, "fanfare_subscriptions", 0).await;
    }
    assert_eq!(commands(), before);
}
