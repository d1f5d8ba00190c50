//! Slots that move, with and without traffic: topics and commands go along, and nothing is lost or done twice.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use fanfare_backplane::{Keep, PublishError, State};
use fanfare_protocol::Position;

use crate::support::cluster::{ClusterProcess, first_owner, slot_of};
use crate::support::node::{self, PATIENCE, Told, config, message, topic};
use crate::support::redis_server::wait_until;
use crate::{LIMITS, channel, envelope, one_of_each, read, settled, slot, topics_where};

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
    // What is refused is repeated for so long. One refusal has to come in it, on a busy machine too.
    config.response_timeout = Duration::from_secs(3);
    let node = settled(config, &[]).await;
    let keep = |id: &str| Keep { id: Some(id.into()), ..Keep::default() };
    let first = node.backplane.publish_durable(&orders, envelope(1), &keep("a")).await.unwrap();
    cluster.begin_to_move(slot, from, to);

    // The id is not there yet, and would be made at the other primary: with all keys declared, Redis wants none of it.
    let (key, head) = (channel(&orders), format!("{{{}}}:head", channel(&orders)));
    let id = format!("{{{key}}}:id:b");
    let words = ["FCALL", "fanfare_publish", "3", &key, &head, &id, r#"{"type":"x"}"#, "id", "b"];
    assert!(cluster.nodes[from].command(&words).starts_with("TRYAGAIN"));
    // On a busy machine the last attempt may find no answer in time, and then nobody can know what became of it.
    let refused = async {
        loop {
            match node.backplane.publish_durable(&orders, envelope(2), &keep("b")).await {
                Err(PublishError::Timeout) => {}
                other => break other.unwrap_err(),
            }
        }
    };
    let words = tokio::time::timeout(PATIENCE, refused).await.expect("a refusal").to_string();
    assert!(
        words.contains("the topic's slot is on its way to another primary") && words.contains("TRYAGAIN"),
        "{words}"
    );
    assert_eq!(cluster.nodes[from].command(&["XLEN", &key]), "1");
    // What was published before is still known.
    assert_eq!(node.backplane.publish_durable(&orders, envelope(1), &keep("a")).await, Ok(first));

    // It goes on as soon as the slot has arrived, and the ids have come along.
    let patient = settled(node::config(&cluster.url()), &[]).await;
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
        let waiting = tokio::time::timeout(PATIENCE, seen.wait_for(|number| *number >= target));
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
