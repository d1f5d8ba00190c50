//! More was missed than one answer may hold: what there is comes in parts, each asked for, none twice.

use std::collections::BTreeMap;

use fanfare_protocol::Position;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::support::{Client, position};
use crate::{FORGETFUL, NO_RECENT, ORDERS, STREAM, Stage, after, expect_number, number, since, told};

/// As small as an outbox may be, with events of 64 KiB.
const SMALL: (&str, &str) = ("FANFARE_OUTBOX_BYTES_MAX", "131072");

/// Half of it.
const ANSWER_BYTES: usize = 65_536;

fn large(number: u64, bytes: usize) -> String {
    json!({ "type": "n", "data": number, "filler": "x".repeat(bytes) }).to_string()
}

/// The position to ask on from.
fn last(answer: &Value, before: Position) -> Position {
    answer["events"].as_array().unwrap().last().map_or(before, position)
}

/// Asks on until nothing is missing; returns the numbers, and with how many questions.
async fn ask_on(client: &mut Client, topic: &str, mut seen: Position) -> (Vec<u64>, usize) {
    let (mut numbers, mut questions) = (Vec::new(), 0);
    loop {
        let answer = since(client, topic, seen).await;
        questions += 1;
        let bytes = answer["events"].to_string().len();
        let (reason, events, more) = told(&answer);
        assert_eq!(reason, None);
        assert!(bytes <= ANSWER_BYTES || events.len() == 1, "{bytes} bytes, {} events", events.len());
        assert!(!events.is_empty() || !more, "one event always fits");
        seen = last(&answer, seen);
        numbers.extend(events);
        if !more {
            assert_eq!(seen, position(&answer));
            return (numbers, questions);
        }
    }
}

#[tokio::test]
async fn a_client_asks_on_until_nothing_is_missing() {
    for stage in Stage::all(&[FORGETFUL, SMALL]).await {
        let (first, begin) = stage.subscriber().await;
        stage.leave(first).await;
        for n in 1..=200 {
            stage.node.keep("acme", ORDERS, &large(n, 1_000)).await;
        }
        let mut client = stage.client().await;
        let (numbers, questions) = ask_on(&mut client, ORDERS, begin).await;
        assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
        // 200 KB and what is around them, in parts of 64 KiB.
        assert!((4..=6).contains(&questions), "{questions}");
        stage.keep(ORDERS, 201).await;
        expect_number(&mut client, 201).await;
    }
}

#[tokio::test]
async fn events_as_large_as_they_may_be_come_one_at_a_time() {
    for stage in Stage::all(&[FORGETFUL, SMALL]).await {
        let (first, begin) = stage.subscriber().await;
        stage.leave(first).await;
        for n in 1..=5 {
            stage.node.keep("acme", ORDERS, &large(n, 60_000)).await;
        }
        let mut client = stage.client().await;
        assert_eq!(ask_on(&mut client, ORDERS, begin).await, (vec![1, 2, 3, 4, 5], 5));
    }
}

#[tokio::test]
async fn topics_of_one_frame_share_one_allowance() {
    for stage in Stage::all(&[FORGETFUL, SMALL]).await {
        let topics = ["channel:a", "channel:b", "channel:c"];
        let mut first = stage.client().await;
        let mut seen = BTreeMap::new();
        for topic in topics {
            seen.insert(topic, position(&first.subscribe(topic).await));
        }
        stage.leave(first).await;
        for topic in topics {
            for n in 1..=40 {
                stage.node.keep("acme", topic, &large(n, 1_000)).await;
            }
        }
        let mut client = stage.client().await;
        let mut numbers = BTreeMap::<_, Vec<u64>>::new();
        let mut rounds = 0;
        while !seen.is_empty() {
            let items: Vec<_> = seen.iter().map(|(topic, since)| json!({ "topic": topic, "since": since })).collect();
            client.send(&json!({ "op": "subscribe", "id": 5, "topics": items })).await;
            let (mut bytes, mut events) = (0, 0);
            for topic in seen.keys().copied().collect::<Vec<_>>() {
                let answer = client.expect("subscribed").await;
                assert_eq!(answer["topic"], topic);
                let (reason, missed, more) = told(&answer);
                assert_eq!(reason, None);
                bytes += answer["events"].to_string().len();
                events += missed.len();
                numbers.entry(topic).or_default().extend(missed);
                seen.insert(topic, last(&answer, seen[topic]));
                if !more {
                    seen.remove(topic);
                }
            }
            assert!(bytes <= ANSWER_BYTES && events > 0, "{bytes} bytes, {events} events");
            rounds += 1;
        }
        assert!((2..=3).contains(&rounds), "{rounds}");
        for topic in topics {
            assert_eq!(numbers[topic], (1..=40).collect::<Vec<_>>(), "{topic}");
        }
    }
}

#[tokio::test]
async fn a_gap_in_what_was_missed_is_told_once_and_the_rest_is_asked_for() {
    let stage = Stage::on_redis(&[FORGETFUL, NO_RECENT, SMALL]).await;
    let mut backend = Backend::of(stage.redis.as_ref().unwrap()).await;
    let first = backend.keep(&large(1, 1_000)).await;
    for n in 2..=150 {
        backend.keep(&large(n, 1_000)).await;
    }
    backend.command(&["XTRIM", STREAM, "MAXLEN", "100"]).await;
    let mut client = stage.client().await;
    let answer = since(&mut client, ORDERS, first).await;
    let (reason, mut numbers, more) = told(&answer);
    assert_eq!((reason, numbers[0], more), (Some("expired"), 51, true));
    numbers.extend(ask_on(&mut client, ORDERS, last(&answer, first)).await.0);
    assert_eq!(numbers, (51..=150).collect::<Vec<_>>());
}

#[tokio::test]
async fn while_a_client_asks_on_live_events_come_and_what_it_asks_for_has_them_too() {
    for stage in Stage::all(&[SMALL]).await {
        let (mut first, begin) = stage.subscriber().await;
        for n in 1..=100 {
            stage.node.keep("acme", ORDERS, &large(n, 1_000)).await;
            expect_number(&mut first, n).await;
        }
        let mut client = stage.client().await;
        let answer = since(&mut client, ORDERS, begin).await;
        let (_, mut numbers, more) = told(&answer);
        assert!(more && numbers.len() < 100);
        assert_eq!(position(&answer), after(begin, 100));
        stage.keep(ORDERS, 101).await;
        assert_eq!(number(&client.expect_event(ORDERS).await), 101);
        numbers.extend(ask_on(&mut client, ORDERS, last(&answer, begin)).await.0);
        assert_eq!(numbers, (1..=101).collect::<Vec<_>>());
        stage.keep(ORDERS, 102).await;
        expect_number(&mut client, 102).await;
    }
}
