//! Redis goes and comes back: durable events are recovered as far as the history has them, and the rest is told.

use std::collections::{BTreeSet, HashSet};

use fanfare_protocol::Position;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::support::sentinel::Watched;
use crate::support::{Client, Node, Proxy, RedisProcess, position, token, until};
use crate::{AT_ONCE, ORDERS, STREAM, Stage, after, expect_number, number, numbered, since, told};

/// What is kept survives the server.
const ON_DISK: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// What a client was told of [`ORDERS`], until enough has come.
#[derive(Debug, Default)]
struct Account {
    numbers: Vec<u64>,
    positions: Vec<Position>,
    /// `<lost> <reason>` of each gap, and how many durable events came before it.
    gaps: Vec<(String, usize)>,
    ephemeral: Vec<String>,
}

impl Account {
    /// Takes messages until the event with this number.
    async fn until(client: &mut Client, last: u64) -> Account {
        let mut account = Account::default();
        while account.numbers.last() != Some(&last) {
            account.take(&client.message().await);
        }
        account
    }

    /// Takes messages until so many gaps have come.
    async fn go_on(&mut self, client: &mut Client, gaps: usize) {
        while self.gaps.len() < gaps {
            self.take(&client.message().await);
        }
    }

    fn take(&mut self, message: &Value) {
        let is_ours = message["topic"] == ORDERS;
        match message["op"].as_str() {
            Some("event") if message["position"].is_string() => {
                self.numbers.push(number(&message["event"]));
                self.positions.push(position(message));
            }
            Some("event") => self.ephemeral.push(message["event"]["type"].as_str().unwrap().to_owned()),
            Some("gap") if is_ours => {
                let word = |name: &str| message[name].as_str().unwrap().to_owned();
                self.gaps.push((format!("{} {}", word("lost"), word("reason")), self.numbers.len()));
            }
            Some("gap") => {}
            _ => panic!("{message}"),
        }
    }

    /// The kinds of gaps, in any order.
    fn gap_kinds(&self) -> BTreeSet<&str> {
        self.gaps.iter().map(|(gap, _)| gap.as_str()).collect()
    }
}

/// A node, a subscriber that has had event 1, and a backend.
async fn stage(arguments: &[&str], settings: &[(&str, &str)]) -> (Stage, Client, Position, Backend) {
    let redis = RedisProcess::start_with(arguments);
    let node = Node::start_on(&redis.url(), &[&[AT_ONCE], settings].concat()).await;
    let mut backend = Backend::of(&redis).await;
    let stage = Stage { node, redis: Some(redis) };
    let (mut client, begin) = stage.subscriber().await;
    backend.keep_number(1).await;
    let first = expect_number(&mut client, 1).await;
    assert_eq!(first, after(begin, 1));
    (stage, client, first, backend)
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_is_another_history() {
    let (mut stage, mut client, first, _) = stage(&[], &[]).await;
    let redis = stage.redis.as_mut().unwrap();
    redis.kill();
    redis.start_again();
    let mut account = Account::default();
    account.go_on(&mut client, 2).await;
    assert_eq!(account.gap_kinds(), ["all epoch", "ephemeral backplane"].into());
    let mut backend = Backend::of(redis).await;
    let second = backend.keep_number(2).await;
    assert!(second.epoch > first.epoch && second.seq == 1, "{first} and then {second}");
    let account = Account::until(&mut client, 2).await;
    assert_eq!((account.numbers, account.positions, account.gaps), (vec![2], vec![second], vec![]));
    // Who was away meanwhile is told the same.
    let mut other = stage.client().await;
    assert_eq!(told(&since(&mut other, ORDERS, first).await), (Some("epoch"), vec![2], false));
}

#[tokio::test]
async fn a_redis_that_comes_back_with_its_data_has_what_was_missed() {
    let (mut stage, mut client, first, mut backend) = stage(ON_DISK, &[]).await;
    // The node hears nothing of these, and then Redis dies.
    let kill: &[&str] = &["CLIENT", "KILL", "TYPE", "pubsub"];
    let [second, third] = [2, 3].map(numbered);
    let keep = |envelope| ["FCALL", "fanfare_publish", "1", STREAM, envelope];
    backend.all(&[kill, &keep(&second), &keep(&third)]).await;
    let redis = stage.redis.as_mut().unwrap();
    redis.kill();
    redis.start_again();
    until("its data is loaded", async || redis.command(&["PING"]) == "PONG").await;
    let mut backend = Backend::of(redis).await;
    let fourth = backend.keep_number(4).await;
    backend.keep_number(5).await;
    assert!(fourth.epoch > first.epoch && fourth.seq == 1, "{first} and then {fourth}");
    let mut account = Account::until(&mut client, 5).await;
    assert_eq!(account.numbers, [2, 3, 4, 5]);
    assert_eq!(account.positions, [after(first, 1), after(first, 2), fourth, after(fourth, 1)]);
    // What was lost with the end of the old history nobody can know.
    while account.gap_kinds() != ["all epoch", "ephemeral backplane"].into() {
        account.take(&client.message().await);
    }
    let all: Vec<_> = account.gaps.iter().filter(|(gap, _)| gap == "all epoch").collect();
    assert!(all.len() == 1 && all[0].1 == 2, "between the histories: {:?}", account.gaps);
    // The same for who comes back only now.
    let mut other = stage.client().await;
    assert_eq!(told(&since(&mut other, ORDERS, first).await), (Some("epoch"), vec![2, 3, 4, 5], false));
}

#[tokio::test]
async fn what_comes_while_the_subscription_is_cut_is_recovered() {
    let (stage, mut client, first, mut backend) = stage(&[], &[]).await;
    let mut last = 1;
    for round in 1..=5 {
        let [one, two] = [last + 1, last + 2].map(numbered);
        // In one go, so that the node has no time to come back in between.
        let answers = backend
            .all(&[
                &["CLIENT", "KILL", "TYPE", "pubsub"],
                &["FCALL", "fanfare_publish", "1", STREAM, &one],
                &["PUBLISH", STREAM, r#"{"type":"lost"}"#],
                &["FCALL", "fanfare_publish", "1", STREAM, &two],
            ])
            .await;
        assert_eq!((answers[0].as_str(), answers[2].as_str()), ("1", "0"), "nobody listens");
        last += 2;
        let mut account = Account::until(&mut client, last).await;
        account.go_on(&mut client, 1).await;
        assert_eq!(account.numbers, [last - 1, last]);
        assert_eq!(account.positions, [after(first, last - 2), after(first, last - 1)]);
        assert_eq!(account.gap_kinds(), ["ephemeral backplane"].into(), "round {round}");
        assert!(account.ephemeral.is_empty());
    }
    assert_eq!(stage.node.metric("fanfare_history_holes_total").await, 0.0);
    // It is on an unbroken subscription again.
    backend.ephemeral("there").await;
    while client.message().await["event"]["type"] != "there" {}
}

#[tokio::test]
async fn a_node_that_reads_too_slowly_for_redis_catches_up() {
    const EVENTS: u64 = 900;
    let settings = [("FANFARE_OUTBOX_BYTES_MAX", "33554432"), ("FANFARE_REDIS_RESPONSE_TIMEOUT_MS", "20000")];
    let (stage, mut client, first, mut backend) = stage(&[], &settings).await;
    backend.command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1048576 0 0"]).await;
    stage.node.signal("-STOP");
    let filler = "x".repeat(20_000);
    for n in 2..=EVENTS {
        backend.keep(&json!({ "type": "n", "data": n, "filler": filler }).to_string()).await;
    }
    let listeners = backend.command(&["PUBLISH", STREAM, r#"{"type":"lost"}"#]).await;
    stage.node.signal("-CONT");
    assert_eq!(listeners, "0", "Redis has cut it off");
    let mut account = Account::until(&mut client, EVENTS).await;
    account.go_on(&mut client, 1).await;
    assert_eq!(account.numbers, (2..=EVENTS).collect::<Vec<_>>());
    assert_eq!(account.positions.last(), Some(&after(first, EVENTS - 1)));
    assert_eq!(account.gap_kinds(), ["ephemeral backplane"].into());
}

#[tokio::test]
async fn a_redis_that_stalls_and_goes_on_has_lost_nothing() {
    let (stage, mut client, first, _) = stage(&[], &[("FANFARE_REDIS_RESPONSE_TIMEOUT_MS", "20000")]).await;
    let redis = stage.redis.as_ref().unwrap();
    redis.freeze();
    for n in 2..=10 {
        let event = json!({ "type": "n", "data": n });
        client.send(&json!({ "op": "publish", "id": n, "topic": ORDERS, "event": event, "durable": true })).await;
    }
    // Meanwhile it serves, while its own PINGs wait for an answer.
    for _ in 0..10 {
        assert_eq!(stage.node.get("/readyz").await.status, 200);
    }
    redis.thaw();
    let (mut numbers, mut published) = (Vec::new(), 0);
    while numbers.len() < 9 || published < 9 {
        let message = client.message().await;
        match message["op"].as_str() {
            Some("event") => {
                numbers.push(number(&message["event"]));
                assert_eq!(position(&message), after(first, numbers.len() as u64));
            }
            Some("published") => published += 1,
            _ => panic!("{message}"),
        }
    }
    assert_eq!(numbers, (2..=10).collect::<Vec<_>>());
    client.expect_nothing().await;
    assert_eq!(stage.node.metric("fanfare_gaps_sent_total").await, 0.0);
}

#[tokio::test]
async fn a_client_that_was_too_slow_comes_back_to_what_it_did_not_get() {
    let (stage, mut client, first, mut backend) = stage(&[], &[("FANFARE_OUTBOX_BYTES_MAX", "131072")]).await;
    client.stop_reading();
    let filler = "x".repeat(60_000);
    let mut last = 1;
    until("its outbox overflows", async || {
        last += 1;
        backend.keep(&json!({ "type": "n", "data": last, "filler": filler }).to_string()).await;
        stage.node.metric(r#"fanfare_limit_reached_total{limit="outbox_bytes_max"}"#).await > 0.0
    })
    .await;
    client.read_on();
    let (mut numbers, mut seen) = (Vec::new(), first);
    loop {
        let message = client.message().await;
        if message["op"] == "disconnect" {
            assert_eq!(message["code"], 4413);
            break;
        }
        numbers.push(number(&message["event"]));
        seen = position(&message);
    }
    assert!(numbers.len() < usize::try_from(last).unwrap() - 1, "something was left");
    let mut client = stage.client().await;
    loop {
        let answer = since(&mut client, ORDERS, seen).await;
        let (reason, events, more) = told(&answer);
        assert_eq!(reason, None);
        seen = answer["events"].as_array().unwrap().last().map_or(seen, position);
        numbers.extend(events);
        if !more {
            break;
        }
    }
    assert_eq!(numbers, (2..=last).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_subscribes_while_only_the_connection_that_reads_is_away_waits_for_it() {
    let redis = RedisProcess::start();
    let proxy = Proxy::to(redis.port()).await;
    let stage = Stage { node: Node::start_on(&proxy.url(), &[]).await, redis: Some(redis) };
    let mut client = stage.client().await;
    // It asks for this before it is used, and the subscription never does.
    proxy.cut_on(Some("fanfare_version"));
    stage.redis.as_ref().unwrap().command(&["CLIENT", "KILL", "TYPE", "normal"]);
    until("it is away", async || stage.node.publish("acme", "channel:else", &numbered(0)).await.status == 503).await;
    assert_eq!(stage.node.get("/readyz").await.status, 200);
    client.send(&json!({ "op": "subscribe", "id": 1, "topic": ORDERS })).await;
    until("the node has the frame", async || stage.node.metric("fanfare_frames_received_total").await >= 1.0).await;
    proxy.cut_on(None);
    assert_eq!(position(&client.expect("subscribed").await).seq, 0);
    until("it is back", async || stage.node.publish("acme", "channel:else", &numbered(0)).await.status == 200).await;
    stage.keep(ORDERS, 1).await;
    expect_number(&mut client, 1).await;
}

#[tokio::test]
async fn a_failover_to_a_replica_that_misses_the_last_events_is_another_history() {
    const REPLICATED: u64 = 3;
    const ACKNOWLEDGED: u64 = 500;
    let mut watched = Watched::start();
    let settings = [AT_ONCE, ("FANFARE_OUTBOX_BYTES_MAX", "67108864"), ("FANFARE_REDIS_RESPONSE_TIMEOUT_MS", "20000")];
    let node = Node::start_on(&watched.url(), &settings).await;
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    let begin = position(&client.subscribe(ORDERS).await);
    let mut backend = Backend::of(&watched.primary).await;
    let mut issued = HashSet::new();
    for n in 1..=REPLICATED {
        issued.insert(backend.keep_number(n).await);
    }
    until("the replica has these", async || watched.replica.command(&["XLEN", STREAM]) == REPLICATED.to_string()).await;

    // More than all buffers on the way to a replica that reads nothing take, so the last ones never leave the primary.
    watched.replica.freeze();
    let filler = "x".repeat(60_000);
    for n in REPLICATED + 1..=ACKNOWLEDGED {
        issued.insert(backend.keep(&json!({ "type": "n", "data": n, "filler": filler }).to_string()).await);
    }
    let account = Account::until(&mut client, ACKNOWLEDGED).await;
    assert_eq!((account.numbers.len() as u64, account.gaps.len()), (ACKNOWLEDGED, 0));
    assert!(account.positions.iter().all(|position| issued.contains(position)));
    let lost = after(begin, ACKNOWLEDGED);
    assert_eq!(account.positions.last(), Some(&lost));
    watched.primary.kill();
    watched.replica.thaw();
    watched.sentinel.loses_patience();
    watched.until_failed_over();

    let mut account = Account::default();
    account.go_on(&mut client, 2).await;
    assert_eq!(account.gap_kinds(), ["all epoch", "ephemeral backplane"].into());
    let left: u64 = watched.replica.command(&["XLEN", STREAM]).parse().unwrap();
    assert!((REPLICATED..ACKNOWLEDGED).contains(&left), "{left} of {ACKNOWLEDGED}: the replica misses none");
    until("the node is ready", async || node.get("/readyz").await.status == 200).await;
    let news: Vec<_> = (ACKNOWLEDGED + 1..=ACKNOWLEDGED + 5).collect();
    let mut positions = Vec::new();
    for n in &news {
        let position = node.keep("acme", ORDERS, &numbered(*n)).await;
        assert!(issued.insert(position), "{position} is another event's");
        assert!(position.epoch > begin.epoch, "{begin} and then {position}");
        positions.push(position);
    }
    while account.numbers.len() < news.len() {
        account.take(&client.message().await);
    }
    assert_eq!((account.numbers, account.positions, account.gaps.len()), (news.clone(), positions, 2));
    // Who comes back with a position that was lost is told so, and gets nothing in its place but what came since.
    let mut other = Client::connect(&node, &token("acme", "2")).await;
    assert_eq!(told(&since(&mut other, ORDERS, lost).await), (Some("epoch"), news, false));
}
