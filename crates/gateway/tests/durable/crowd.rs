//! A thousand clients that come back at once cost Redis as much as one, and thousands of topics a handful of calls.

use std::collections::BTreeSet;

use serde_json::json;

use crate::backend::Backend;
use crate::support::{Client, Node, RedisProcess, position, token};
use crate::{ORDERS, after, expect_number, number, numbered, since, told};

const CLIENTS: usize = 1_000;
const MISSED: u64 = 20;

/// How often a function of the library was called.
fn calls(redis: &RedisProcess) -> u64 {
    let stats = redis.command(&["INFO", "commandstats"]);
    let calls =
        stats.lines().filter_map(|line| line.strip_prefix("cmdstat_fcall")?.split_once(":calls=")?.1.split(',').next());
    calls.map(|calls| calls.parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_come_back_at_once_cost_a_handful_of_reads() {
    let redis = RedisProcess::start();
    // They were on another node, so this one knows nothing of the topic.
    let node = Node::start_on(
        &redis.url(),
        &[
            ("FANFARE_OWN_USER_TOPIC", "false"),
            ("FANFARE_UNAUTHENTICATED_PER_ADDRESS_MAX", "0"),
            // With each ping the library's version is asked for, which is a call too.
            ("FANFARE_REDIS_PING_INTERVAL_MS", "600000"),
        ],
    )
    .await;
    let mut backend = Backend::of(&redis).await;
    let first = backend.keep_number(1).await;
    for n in 2..=1 + MISSED {
        backend.keep_number(n).await;
    }
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::connect(&node, &token("acme", "1")).await);
    }
    let before = calls(&redis);
    let returning = clients.into_iter().enumerate().map(|(index, mut client)| {
        // Not all have missed the same.
        let seen = after(first, index as u64 % MISSED);
        tokio::spawn(async move {
            let answer = since(&mut client, ORDERS, seen).await;
            let expected: Vec<_> = (seen.seq + 1..=1 + MISSED).collect();
            assert_eq!((told(&answer), position(&answer)), ((None, expected, false), after(first, MISSED)));
            client
        })
    });
    let mut clients_back = Vec::new();
    for returning in returning.collect::<Vec<_>>() {
        clients_back.push(returning.await.unwrap());
    }
    let spent = calls(&redis) - before;
    // Where the topic stands, what the first of them missed, and what one missed who was away for longer than all before:
    // the slower they come in, the more of those there may be, but never more than there are places to come back from.
    assert!((1..=MISSED + 2).contains(&spent), "{spent} calls for {CLIENTS} clients");
    backend.keep_number(MISSED + 2).await;
    for client in &mut clients_back {
        expect_number(client, MISSED + 2).await;
    }
}

const TOPICS: usize = 2_000;

#[tokio::test]
async fn thousands_of_topics_are_caught_up_with_a_handful_of_calls() {
    let redis = RedisProcess::start();
    let settings = [("FANFARE_GAP_SPREAD_MS", "0"), ("FANFARE_OWN_USER_TOPIC", "false")];
    let node = Node::start_on(&redis.url(), &settings).await;
    let mut backend = Backend::of(&redis).await;
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    for chunk in 0..TOPICS / 500 {
        let topics: Vec<_> = (0..500).map(|n| json!({ "topic": format!("channel:{}", chunk * 500 + n) })).collect();
        client.send(&json!({ "op": "subscribe", "id": 1, "topics": topics })).await;
        for _ in topics {
            client.expect("subscribed").await;
        }
    }
    let before = calls(&redis);
    // Half of the topics get an event while nobody listens.
    let channels: Vec<_> = (0..TOPICS / 2).map(|n| format!("fanfare:acme:channel:{}", n * 2)).collect();
    let envelope = numbered(7);
    let mut commands = vec![vec!["CLIENT", "KILL", "TYPE", "pubsub"]];
    commands.extend(channels.iter().map(|channel| vec!["FCALL", "fanfare_publish", "1", channel, &envelope]));
    backend.all(&commands.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
    let (mut events, mut gaps) = (BTreeSet::new(), 0);
    while events.len() < TOPICS / 2 || gaps <= TOPICS {
        let message = client.message().await;
        if message["op"] == "gap" {
            assert_eq!(message["lost"], "ephemeral", "{message}");
            gaps += 1;
        } else {
            assert_eq!((&message["op"], number(&message["event"])), (&json!("event"), 7), "{message}");
            assert!(events.insert(message["topic"].to_string()), "twice: {message}");
        }
    }
    client.expect_nothing().await;
    let spent = calls(&redis) - before - (TOPICS / 2) as u64;
    // A call asks for as many topics as may bring half an outbox each within 8 MiB, which are 16. On a busy machine
    // confirmations come little by little, and calls don't wait until they are full.
    assert!(spent <= TOPICS as u64 / 4, "{spent} calls for {TOPICS} topics");
}
