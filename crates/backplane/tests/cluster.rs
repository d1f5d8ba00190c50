//! A node on a real Redis Cluster: its topics come from all primaries, and go with their slots.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::{HashMap, HashSet};

use std::time::Duration;

use bytes::Bytes;
use fanfare_backplane::{Backplane, Keep, Read, ReadLimits, RedisConfig, State, Tail};
use fanfare_protocol::{Position, TopicKey};

use support::cluster::{ClusterProcess, first_owner, slot_of};
use support::node::{Node, Told, config, message, topic};
use support::redis_server::{RedisProcess, free_port, wait_until};

const LIMITS: ReadLimits = ReadLimits { events_max: 10_000, bytes_max: 10_000_000 };

fn channel(topic: &TopicKey) -> String {
    format!("fanfare:{}", topic.as_str())
}

fn slot(topic: &TopicKey) -> usize {
    slot_of(&channel(topic))
}

/// Topics whose slots are so, the first ones by their number.
fn topics_where(is_so: impl Fn(usize) -> bool, count: usize) -> Vec<TopicKey> {
    let all = (0..).map(|number| topic(&format!("acme:channel:{number}")));
    all.filter(|topic| is_so(slot(topic))).take(count).collect()
}

/// One topic of each primary.
fn one_of_each() -> [TopicKey; 3] {
    [0, 1, 2].map(|node| topics_where(|slot| first_owner(slot) == node, 1).remove(0))
}

async fn settled(config: RedisConfig, topics: &[TopicKey]) -> Node {
    let mut node = Node::new(Backplane::redis(config));
    node.want(topics).await;
    node.until_state(State::is_up).await;
    node
}

fn envelope(number: usize) -> Bytes {
    Bytes::from(format!(r#"{{"type":"numbered","data":{number}}}"#))
}

async fn read(node: &Node, topic: &TopicKey, after: Option<Position>) -> Tail {
    node.backplane.read(&[Read { topic: topic.clone(), after }], LIMITS).await.remove(0).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_come_from_every_primary_and_many_of_one_slot() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let crowded = slot(&topic("acme:channel:0"));
    assert_eq!(cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", "fanfare:acme:channel:0"]), crowded.to_string());
    let spread = topics_where(|slot| slot != crowded, 3_000);
    let topics = [topics_where(|slot| slot == crowded, 20), spread].concat();
    let mut node = settled(config(&cluster.url()), &topics).await;
    let publisher = settled(config(&cluster.url()), &[]).await;
    let mut expected = HashSet::new();
    for topic in &topics {
        publisher.publish(topic, topic.as_str()).await;
        expected.insert((topic.as_str().to_owned(), Bytes::from(topic.as_str().to_owned())));
    }
    while !expected.is_empty() {
        let Told::Message(topic, payload) = node.next().await else { panic!("not a message") };
        assert!(expected.remove(&(topic, payload)));
    }

    // Whatever a backend sends on any primary by its slot; a plain PUBLISH reaches nobody.
    for topic in one_of_each() {
        let primary = &cluster.nodes[first_owner(slot(&topic))];
        assert_eq!(primary.command(&["PUBLISH", &channel(&topic), "nowhere"]), "0");
        assert_eq!(primary.command(&["FCALL", "fanfare_send", "1", &channel(&topic), "sent"]), "1");
        assert_eq!(node.next().await, message(&topic, "sent"));
        let position = primary.command(&["FCALL", "fanfare_publish", "1", &channel(&topic), r#"{"type":"kept"}"#]);
        assert_eq!(node.next().await, message(&topic, format!(r#"@{position} {{"type":"kept"}}"#)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_comes_after_everything_that_any_primary_sent() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let topics = one_of_each();
    let mut node = settled(config(&cluster.url()), &topics).await;
    let publisher = settled(config(&cluster.url()), &[]).await;
    for number in 1..=50 {
        let mut missing: HashSet<_> = topics.iter().map(|topic| topic.as_str().to_owned()).collect();
        for topic in &topics {
            publisher.publish(topic, "before").await;
        }
        node.backplane.fence(number);
        loop {
            match node.next().await {
                Told::Message(topic, _) => assert!(missing.remove(&topic)),
                Told::Fence(passed) => {
                    assert_eq!((passed, missing.len()), (number, 0));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_address_is_told_with_the_fix() {
    let error_of = async |url: &str| {
        let node = Node::new(Backplane::redis(config(url)));
        let state = node.until_state(|state| *state != State::Connecting { error: None }).await;
        let State::Connecting { error: Some(error) } = state else { panic!("not an error: {state:?}") };
        error
    };
    let single = RedisProcess::start();
    let error = error_of(&format!("redis+cluster://127.0.0.1:{}", single.port())).await;
    assert!(error.contains("it is no node of a Redis Cluster: use redis:// for a single server"), "{error}");
    let port = free_port();
    let error = error_of(&format!("redis+cluster://127.0.0.1:{port}")).await;
    let expected =
        format!("no node of the cluster answers; are their addresses right? 127.0.0.1:{port}: connection refused");
    assert!(error.contains(&expected), "{error}");
    let alone = RedisProcess::start_with(&["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]);
    let error = error_of(&format!("redis+cluster://127.0.0.1:{}", alone.port())).await;
    assert!(error.contains("make the cluster with `redis-cli --cluster create`"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_killed_interrupts_only_its_own_topics() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let topics = one_of_each();
    let mut node = settled(config(&cluster.url()), &topics).await;
    for round in 0..5 {
        let hit = round % 3;
        cluster.nodes[hit].command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(node.next().await, Told::Lost(topics[hit].clone()));
        assert_eq!(node.next().await, Told::Confirmed(topics[hit].clone()));
        node.until_state(State::is_up).await;
        for topic in &topics {
            node.publish(topic, "after").await;
            assert_eq!(node.next().await, message(topic, "after"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_comes_although_a_primary_is_lost_on_the_way() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let topics = one_of_each();
    let mut hasty = config(&cluster.url());
    hasty.response_timeout = Duration::from_millis(500);
    let mut node = settled(hasty, &topics).await;
    cluster.nodes[1].freeze();
    node.backplane.fence(7);
    assert_eq!(node.next().await, Told::Lost(topics[1].clone()));
    assert_eq!(node.next().await, Told::Fence(7));
    node.backplane.fence(8);
    assert_eq!(node.next().await, Told::Fence(8));
    let port = cluster.nodes[1].port().to_string();
    let state = node.until_state(|state| matches!(state, State::Down { .. })).await;
    assert!(matches!(&state, State::Down { error } if error.contains(&port)), "{state:?}");
    cluster.nodes[1].thaw();
    assert_eq!(node.next().await, Told::Confirmed(topics[1].clone()));
    node.until_state(State::is_up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_takes_its_topics_along_and_no_others() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let moves = topic("acme:channel:moves");
    let (slot, from) = (slot(&moves), first_owner(slot(&moves)));
    let same = topics_where(|other| other == slot, 2);
    let others = topics_where(|other| other != slot, 300);
    let moving = [std::slice::from_ref(&moves), &same[..]].concat();
    let mut node = settled(config(&cluster.url()), &[&moving[..], &others[..]].concat()).await;
    let publisher = settled(config(&cluster.url()), &[]).await;
    let moving: HashSet<_> = moving.into_iter().collect();
    // Once around.
    for (from, to) in [(from, (from + 1) % 3), ((from + 1) % 3, (from + 2) % 3), ((from + 2) % 3, from)] {
        cluster.move_slot(slot, from, to);
        let (mut lost, mut confirmed) = (HashSet::new(), HashSet::new());
        while confirmed != moving {
            match node.next().await {
                Told::Lost(topic) => assert!(lost.insert(topic)),
                Told::Confirmed(topic) => assert!(lost.contains(&topic) && confirmed.insert(topic)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(lost, moving);
        node.until_state(State::is_up).await;
        assert_eq!(cluster.subscribers(to, &channel(&moves)), 1);
        assert_eq!(cluster.subscribers(from, &channel(&moves)), 0);
        for topic in [&moves, &same[0], &same[1], &others[0], &others[299]] {
            publisher.publish(topic, "after").await;
            assert_eq!(node.next().await, message(topic, "after"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probes_slot_may_move_without_anything_being_lost() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let mut config = config(&cluster.url());
    config.node_id = Some("n-1".to_owned());
    let topics = one_of_each();
    let mut node = settled(config, &topics).await;
    let channels = cluster.nodes[0].command(&["PUBSUB", "SHARDCHANNELS", "fanfare:node:n-1:probe{*"]);
    let tag = channels.split(['{', '}']).nth(1).expect("one channel");
    cluster.move_slot(slot_of(tag), 0, 1);
    wait_until("another channel is probed", || {
        let now = cluster.nodes[0].command(&["PUBSUB", "SHARDCHANNELS", "fanfare:node:n-1:probe{*"]);
        !now.is_empty() && now != channels
    });
    let start = node.backplane.delivery().unwrap().proved;
    wait_until("delivery is proved", || node.backplane.delivery().is_some_and(|delivery| delivery.proved > start));
    node.until_state(State::is_up).await;
    for topic in &topics {
        node.publish(topic, "still here").await;
        assert_eq!(node.next().await, message(topic, "still here"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_follow_a_slot_that_has_moved_or_is_moving() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let mut config = config(&cluster.url());
    // It is not asked about before it is needed.
    config.slots_interval = Duration::from_mins(10);
    let node = settled(config, &[]).await;
    let orders = topic("acme:channel:orders");
    let (slot, from) = (slot(&orders), first_owner(slot(&orders)));
    let to = (from + 1) % 3;
    let first = node.backplane.publish_durable(&orders, envelope(1), &Keep::default()).await.unwrap();
    cluster.move_slot(slot, from, to);
    // MOVED: the epoch is the new primary's.
    let second = node.backplane.publish_durable(&orders, envelope(2), &Keep::default()).await.unwrap();
    assert!(second.epoch > first.epoch && second.seq == 1, "{first} {second}");
    assert_eq!(read(&node, &orders, Some(first)).await.events.len(), 1);
    let back = (to + 1) % 3;
    cluster.begin_to_move(slot, to, back);
    while cluster.move_keys(slot, to, back, 10) > 0 {}
    // ASK: all keys are there already, and the slot is not.
    let third = node.backplane.publish_durable(&orders, envelope(3), &Keep::default()).await.unwrap();
    assert!(third.epoch > second.epoch, "{second} {third}");
    let tail = read(&node, &orders, Some(first)).await;
    assert_eq!((tail.position, tail.events.len()), (third, 2));
    let page = node.backplane.history(&orders, None, LIMITS).await.unwrap();
    assert_eq!(page.events.iter().map(|event| event.position).collect::<Vec<_>>(), [first, second, third]);
    cluster.end_move(slot, to, back);
    assert_eq!(read(&node, &orders, None).await.position, third);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_meets_a_moving_slot_as_a_whole_or_not_at_all() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let orders = topic("acme:channel:orders");
    let (slot, from) = (slot(&orders), first_owner(slot(&orders)));
    let to = (from + 1) % 3;
    let mut config = config(&cluster.url());
    config.response_timeout = Duration::from_millis(300);
    let node = settled(config, &[]).await;
    let keep = |id: &str| Keep { id: Some(id.into()), ..Keep::default() };
    let first = node.backplane.publish_durable(&orders, envelope(1), &keep("a")).await.unwrap();
    cluster.begin_to_move(slot, from, to);

    // The id is not there yet, and would be made at the other primary: with all keys declared, Redis wants none of it.
    let (key, head) = (channel(&orders), format!("{{{}}}:head", channel(&orders)));
    let id = format!("{{{key}}}:id:b");
    let words = ["FCALL", "fanfare_publish", "3", &key, &head, &id, r#"{"type":"x"}"#, "id", "b"];
    assert!(cluster.nodes[from].command(&words).starts_with("TRYAGAIN"));
    let refused = node.backplane.publish_durable(&orders, envelope(2), &keep("b")).await.unwrap_err();
    let words = refused.to_string();
    assert!(
        words.contains("the topic's slot is on its way to another primary") && words.contains("TRYAGAIN"),
        "{words}"
    );
    assert_eq!(cluster.nodes[from].command(&["XLEN", &key]), "1");
    // What was published before is still known.
    assert_eq!(node.backplane.publish_durable(&orders, envelope(1), &keep("a")).await, Ok(first));

    // It goes on as soon as the slot has arrived, and the ids have come along.
    let patient = settled(support::node::config(&cluster.url()), &[]).await;
    let publishing = {
        let (backplane, orders) = (patient.backplane.clone(), orders.clone());
        tokio::spawn(async move { backplane.publish_durable(&orders, envelope(2), &keep("b")).await })
    };
    while cluster.move_keys(slot, from, to, 10) > 0 {}
    cluster.end_move(slot, from, to);
    let second = publishing.await.unwrap().unwrap();
    assert!(second.epoch > first.epoch);
    let keep = |id: &str| Keep { id: Some(id.into()), ..Keep::default() };
    assert_eq!(node.backplane.publish_durable(&orders, envelope(1), &keep("a")).await, Ok(first));
    assert_eq!(node.backplane.publish_durable(&orders, envelope(2), &keep("b")).await, Ok(second));
    assert_eq!(read(&node, &orders, Some(Position { epoch: 1, seq: 1 })).await.events.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_is_found() {
    let mut cluster = ClusterProcess::start();
    let topics = one_of_each();
    let mut node = settled(config(&cluster.url()), &topics).await;
    let mut last = HashMap::new();
    for topic in &topics {
        last.insert(topic.clone(), node.backplane.publish_durable(topic, envelope(1), &Keep::default()).await.unwrap());
        assert!(matches!(node.next().await, Told::Message(..)));
    }
    // Stream and head.
    wait_until("the replica has it", || cluster.nodes[3].command(&["DBSIZE"]) == "2");
    cluster.nodes[0].kill();
    assert_eq!(node.next().await, Told::Lost(topics[0].clone()));
    // Nobody takes it, and then the replica does.
    let publishing = async {
        loop {
            match node.backplane.publish_durable(&topics[0], envelope(2), &Keep::default()).await {
                Ok(position) => break position,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let second = tokio::time::timeout(Duration::from_secs(20), publishing).await.expect("a new primary");
    cluster.until_primary(3);
    node.until(&Told::Confirmed(topics[0].clone())).await;
    node.until_state(State::is_up).await;
    let tail = read(&node, &topics[0], Some(last[&topics[0]])).await;
    assert_eq!((tail.position, tail.events.len()), (second, 1));
    for topic in &topics {
        node.publish(topic, "after").await;
        node.until(&message(topic, "after")).await;
    }
    // It comes back as a replica, and nobody goes back to it.
    cluster.nodes[0].start_again();
    wait_until("it follows", || cluster.nodes[0].command(&["ROLE"]).starts_with("slave"));
    assert_eq!(cluster.subscribers(0, &channel(&topics[0])), 0);
    // And back, on demand.
    wait_until("it may take over", || cluster.is_following(0));
    assert_eq!(cluster.nodes[0].command(&["CLUSTER", "FAILOVER", "TAKEOVER"]), "OK");
    cluster.until_primary(0);
    node.until(&Told::Lost(topics[0].clone())).await;
    node.until(&Told::Confirmed(topics[0].clone())).await;
    node.until_state(State::is_up).await;
    assert_eq!(cluster.subscribers(0, &channel(&topics[0])), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_goes_away_as_a_whole_comes_back() {
    let mut cluster = ClusterProcess::start_primaries(&[]);
    let topics = one_of_each();
    let mut node = settled(config(&cluster.url()), &topics).await;
    for server in &mut cluster.nodes {
        server.kill();
    }
    let mut lost = HashSet::new();
    let reason = loop {
        match node.next().await {
            Told::Lost(topic) => assert!(lost.insert(topic)),
            Told::Down(reason) => break reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(lost, topics.iter().cloned().collect());
    assert!(reason.contains("no node of the cluster answers"), "{reason}");
    node.until_state(|state| matches!(state, State::Down { .. })).await;
    assert!(node.backplane.publish(&topics[0], Bytes::from_static(b"{}")).await.is_err());
    for server in &mut cluster.nodes {
        server.start_again();
    }
    assert_eq!(node.next().await, Told::Up(false));
    node.until_confirmed(&topics).await;
    node.until_state(State::is_up).await;
    for topic in &topics {
        node.publish(topic, "after").await;
        assert_eq!(node.next().await, message(topic, "after"));
        // The library had gone with the servers.
        node.backplane.publish_durable(topic, envelope(1), &Keep::default()).await.unwrap();
        assert!(matches!(node.next().await, Told::Message(..)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_library_that_vanishes_from_one_primary_is_brought_back() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let topics = one_of_each();
    let node = settled(config(&cluster.url()), &[]).await;
    cluster.nodes[1].command(&["FUNCTION", "FLUSH"]);
    for topic in &topics {
        node.backplane.publish_durable(topic, envelope(1), &Keep::default()).await.unwrap();
        cluster.nodes[2].command(&["FUNCTION", "FLUSH"]);
        assert_eq!(read(&node, topic, None).await.position.seq, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_used_for_every_node() {
    let cluster = ClusterProcess::start_primaries(&[]);
    for server in &cluster.nodes {
        server.command(&["CONFIG", "SET", "requirepass", "hunter2"]);
    }
    let topics = one_of_each();
    let mut node = settled(config(&cluster.url_with(":hunter2@")), &topics).await;
    for topic in &topics {
        node.publish(topic, "with a password").await;
        assert_eq!(node.next().await, message(topic, "with a password"));
        assert_eq!(read(&node, topic, None).await.position.seq, 0);
    }
    let wrong = Node::new(Backplane::redis(config(&cluster.url_with(":hunter3@"))));
    let state = wrong.until_state(|state| *state != State::Connecting { error: None }).await;
    let State::Connecting { error: Some(error) } = state else { panic!("not an error: {state:?}") };
    assert!(error.contains("it does not accept the user name or the password"), "{error}");
    assert!(!error.contains("hunter3"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_during_traffic_loses_nothing_and_repeats_nothing() {
    const MOVES: usize = 6;
    const EVENTS_A_MOVE: usize = 60;
    let cluster = ClusterProcess::start_primaries(&[]);
    let orders = topic("acme:channel:orders");
    let (slot, from) = (slot(&orders), first_owner(slot(&orders)));
    let mut node = settled(config(&cluster.url()), std::slice::from_ref(&orders)).await;
    let publisher = settled(config(&cluster.url()), &[]).await;
    let backplane = publisher.backplane.clone();
    let (progress, mut seen) = tokio::sync::watch::channel(0);
    let topic = orders.clone();
    let publishing = tokio::spawn(async move {
        for number in 0.. {
            let id = Some(format!("event-{number}").into());
            let keep = Keep { id, maxlen: 1_000_000, ..Keep::default() };
            // As a publisher does that wants it published once, whatever happens.
            while backplane.publish_durable(&topic, envelope(number), &keep).await.is_err() {}
            progress.send_replace(number + 1);
            if progress.is_closed() {
                return number + 1;
            }
        }
        unreachable!("numbers don't end")
    });
    for at in from..from + MOVES {
        let target = *seen.borrow() + EVENTS_A_MOVE;
        let waiting = tokio::time::timeout(Duration::from_secs(20), seen.wait_for(|number| *number >= target));
        waiting.await.expect("events go on").unwrap();
        cluster.move_slot(slot, at % 3, (at + 1) % 3);
    }
    drop(seen);
    let events = publishing.await.unwrap();

    let tail = read(&node, &orders, Some(Position { epoch: 1, seq: 1 })).await;
    let envelopes: Vec<_> = tail.events.iter().map(|event| event.envelope.clone()).collect();
    assert!(envelopes.into_iter().eq((0..events).map(envelope)), "{} of {events}", tail.events.len());
    // What came live is part of that, in its order, and each once; what did not stands around a loss.
    let positions: HashMap<_, _> =
        tail.events.iter().enumerate().map(|(at, event)| (event.position.to_string(), at)).collect();
    node.backplane.fence(1);
    let (mut last, mut was_lost) = (None, false);
    loop {
        match node.next().await {
            Told::Message(_, payload) => {
                let text = String::from_utf8(payload.to_vec()).unwrap();
                let position = text.strip_prefix('@').unwrap().split(' ').next().unwrap();
                let at = positions[position];
                assert!(last.is_none_or(|last| last < at), "{last:?} {at}");
                assert!(was_lost || last.map_or(0, |last| last + 1) == at, "a hole that was not told: {last:?} {at}");
                (last, was_lost) = (Some(at), false);
            }
            Told::Lost(_) | Told::Confirmed(_) => was_lost = true,
            Told::Fence(_) => break,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_primary_that_thaws_is_not_believed() {
    let cluster = ClusterProcess::start();
    let topics = one_of_each();
    let mut patient = config(&cluster.url());
    // It would be waited for much longer than the failover takes.
    patient.response_timeout = Duration::from_secs(8);
    let mut node = settled(patient, &topics).await;
    let publisher = settled(config(&cluster.url()), &[]).await;
    cluster.nodes[0].freeze();
    cluster.until_primary(3);
    // Nothing of it may come when it is subscribed elsewhere, so it is given up first; the others go on.
    for topic in &topics[1..] {
        publisher.publish(topic, "meanwhile").await;
        assert_eq!(node.next().await, message(topic, "meanwhile"));
    }
    assert_eq!(node.next().await, Told::Lost(topics[0].clone()));
    assert_eq!(node.next().await, Told::Confirmed(topics[0].clone()));
    cluster.nodes[0].thaw();
    wait_until("it has nothing of the node's", || cluster.subscribers(0, &channel(&topics[0])) == 0);
    publisher.publish_when_possible(&topics[0], "fresh").await;
    assert_eq!(node.next().await, message(&topics[0], "fresh"));
    node.until_state(State::is_up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_misses_a_primary_says_so_until_it_is_back() {
    let mut cluster = ClusterProcess::start_primaries(&[]);
    let topics = one_of_each();
    let mut hasty = config(&cluster.url());
    hasty.response_timeout = Duration::from_millis(500);
    let mut node = settled(hasty, &topics[..2]).await;
    cluster.nodes[0].kill();
    assert_eq!(node.next().await, Told::Lost(topics[0].clone()));
    let error = loop {
        match node.backplane.publish_durable(&topics[1], envelope(1), &Keep::default()).await {
            Ok(_) => assert!(matches!(node.next().await, Told::Message(..))),
            Err(error) => break error.to_string(),
        }
    };
    let expected = "the cluster takes nothing, since not all of its slots are served";
    assert!(error.contains(expected) && error.contains("CLUSTERDOWN"), "{error}");
    assert!(node.backplane.publish(&topics[0], Bytes::from_static(b"{}")).await.is_err());
    // Sharded pub/sub goes on where there is somebody.
    node.want(&topics[2..]).await;
    for topic in &topics[1..] {
        node.publish(topic, "still served").await;
        assert_eq!(node.next().await, message(topic, "still served"));
    }
    let port = cluster.nodes[0].port().to_string();
    node.until_state(|state| matches!(state, State::Down { error } if error.contains(&port))).await;
    cluster.nodes[0].start_again();
    node.until_confirmed(&topics[..1]).await;
    node.until_state(State::is_up).await;
    cluster.until_ok();
    for topic in &topics {
        node.publish(topic, "after").await;
        assert_eq!(node.next().await, message(topic, "after"));
    }
}
