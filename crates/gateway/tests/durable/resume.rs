//! Where a topic stands, and what a client gets that comes back with the position it had.

use fanfare_protocol::Position;
use serde_json::json;

use crate::backend::Backend;
use crate::support::{Client, position};
use crate::{FORGETFUL, HEAD, NO_RECENT, ORDERS, STREAM, Stage, after, expect_number, number, numbered, since, told};

#[tokio::test]
async fn every_answer_tells_where_the_topic_stands() {
    for stage in Stage::all(&[]).await {
        let (mut client, begin) = stage.subscriber().await;
        assert_eq!(begin.seq, 0);
        for n in 1..=3 {
            assert_eq!(stage.keep(ORDERS, n).await, after(begin, n));
            assert_eq!(expect_number(&mut client, n).await, after(begin, n));
            let answer = client.subscribe(ORDERS).await;
            assert_eq!(answer, json!({ "op": "subscribed", "id": 1, "topic": ORDERS, "position": after(begin, n) }));
            let (mut other, position) = stage.subscriber().await;
            assert_eq!(position, after(begin, n));
            // What stands at or before it never comes as an event.
            other.expect_nothing().await;
        }
        // Each topic has its own.
        assert_eq!(position(&client.subscribe("channel:other").await).seq, 0);
    }
}

#[tokio::test]
async fn a_topic_that_never_had_an_event_can_be_resumed_from() {
    for stage in Stage::all(&[FORGETFUL]).await {
        let (client, begin) = stage.subscriber().await;
        stage.leave(client).await;
        let mut client = stage.client().await;
        let answer = since(&mut client, ORDERS, begin).await;
        assert_eq!((told(&answer), position(&answer)), ((None, vec![], false), begin), "nothing came");
        stage.leave(client).await;
        stage.keep(ORDERS, 1).await;
        stage.keep(ORDERS, 2).await;
        let mut client = stage.client().await;
        let answer = since(&mut client, ORDERS, begin).await;
        assert_eq!((told(&answer), position(&answer)), ((None, vec![1, 2], false), after(begin, 2)), "events came");
        stage.keep(ORDERS, 3).await;
        expect_number(&mut client, 3).await;
    }
}

#[tokio::test]
async fn a_topic_whose_history_was_deleted_is_another_one() {
    for settings in [&[FORGETFUL][..], &[FORGETFUL, NO_RECENT]] {
        let stage = Stage::on_redis(settings).await;
        let mut backend = Backend::of(stage.redis.as_ref().unwrap()).await;
        for delete in [&["DEL", HEAD][..], &["FLUSHALL"]] {
            let (client, begin) = stage.subscriber().await;
            stage.leave(client).await;
            backend.command(delete).await;
            let mut client = stage.client().await;
            let answer = since(&mut client, ORDERS, begin).await;
            assert_eq!(told(&answer), (Some("epoch"), vec![], false), "{delete:?}");
            assert_ne!(position(&answer), begin);
            stage.leave(client).await;

            // The same when events came meanwhile that nobody is left to vouch for.
            backend.command(delete).await;
            let now = stage.keep(ORDERS, 1).await;
            let mut client = stage.client().await;
            let answer = since(&mut client, ORDERS, position(&answer)).await;
            assert_eq!((told(&answer), position(&answer)), ((Some("epoch"), vec![1], false), now), "{delete:?}");
            stage.leave(client).await;
            backend.command(&["FLUSHALL"]).await;
        }
    }
}

#[tokio::test]
async fn what_came_since_is_told_in_order_and_what_comes_follows() {
    for stage in Stage::all(&[]).await {
        let (mut first, begin) = stage.subscriber().await;
        for n in 1..=5 {
            stage.keep(ORDERS, n).await;
            expect_number(&mut first, n).await;
        }
        for seen in 0..=5 {
            let mut client = stage.client().await;
            let answer = since(&mut client, ORDERS, after(begin, seen)).await;
            let missed: Vec<_> = (seen + 1..=5).collect();
            assert_eq!((told(&answer), position(&answer)), ((None, missed, false), after(begin, 5)));
            stage.node.publish("acme", ORDERS, r#"{"type":"live"}"#).await;
            assert_eq!(client.expect_event(ORDERS).await["type"], "live");
        }
        // Who is subscribed may ask, too, and that changes nothing.
        for _ in 0..=5 {
            first.expect_event(ORDERS).await;
        }
        let answer = since(&mut first, ORDERS, after(begin, 3)).await;
        assert_eq!(told(&answer), (None, vec![4, 5], false));
        stage.keep(ORDERS, 6).await;
        expect_number(&mut first, 6).await;
        first.expect_nothing().await;
    }
}

/// An envelope that no number and no character may be changed in.
const DELICATE: &str = r#"{"type":"t","data":{"b":1.10,"a":9223372036854775808,"a":"\u00e9é"},"id":"e1"}"#;

#[tokio::test]
async fn what_is_recovered_is_the_publishers_own_words_in_every_encoding() {
    for stage in Stage::all(&[]).await {
        let (mut first, begin) = stage.subscriber().await;
        let at = stage.node.keep("acme", ORDERS, DELICATE).await;
        first.expect_event(ORDERS).await;
        let mut client = stage.client().await;
        client.send(&json!({ "op": "subscribe", "id": 5, "topic": ORDERS, "since": begin })).await;
        let text = client.text().await;
        let expected = format!(r#""events":[{{"position":"{at}","event":{DELICATE}}}]"#);
        assert!(text.contains(&expected), "{text}");

        let mut client = Client::connect_msgpack(&stage.node, &crate::support::token("acme", "1")).await;
        let answer = since(&mut client, ORDERS, begin).await;
        let events = json!([{ "position": at, "event": serde_json::from_str::<serde_json::Value>(DELICATE).unwrap() }]);
        assert_eq!(answer["events"], events);
    }
}

#[tokio::test]
async fn a_history_that_does_not_go_back_so_far_is_told_with_what_there_is() {
    let stage = Stage::on_redis(&[FORGETFUL, NO_RECENT]).await;
    let mut backend = Backend::of(stage.redis.as_ref().unwrap()).await;
    let first = backend.keep_number(1).await;
    for n in 2..=5 {
        backend.keep_number(n).await;
    }
    backend.command(&["XTRIM", STREAM, "MAXLEN", "2"]).await;
    for (seen, expected) in [(0, Some("expired")), (1, Some("expired")), (2, Some("expired")), (3, None)] {
        let mut client = stage.client().await;
        let answer = since(&mut client, ORDERS, Position { seq: seen, ..first }).await;
        assert_eq!(told(&answer), (expected, vec![4, 5], false), "{seen}");
        assert_eq!(position(&answer), after(first, 4));
    }
    // All of it has gone, and the place is known still.
    backend.command(&["XTRIM", STREAM, "MAXLEN", "0"]).await;
    let mut client = stage.client().await;
    let answer = since(&mut client, ORDERS, after(first, 1)).await;
    assert_eq!((told(&answer), position(&answer)), ((Some("expired"), vec![], false), after(first, 4)));
    let answer = since(&mut client, ORDERS, after(first, 4)).await;
    assert_eq!(told(&answer), (None, vec![], false));
    backend.keep_number(6).await;
    assert_eq!(expect_number(&mut client, 6).await, after(first, 5));
}

#[tokio::test]
async fn a_position_of_another_history_is_told_so() {
    for stage in Stage::all(&[]).await {
        let (mut first, begin) = stage.subscriber().await;
        for n in 1..=3 {
            stage.keep(ORDERS, n).await;
            expect_number(&mut first, n).await;
        }
        let epoch = |epoch| Position { epoch, seq: 2 };
        for (strange, reason, events) in [
            (epoch(begin.epoch - 7), "epoch", vec![1, 2, 3]),
            (epoch(begin.epoch + 7), "epoch", vec![1, 2, 3]),
            (epoch(u64::MAX), "epoch", vec![1, 2, 3]),
            (epoch(1), "epoch", vec![1, 2, 3]),
            (Position::NONE, "expired", vec![1, 2, 3]),
            // Nobody has told it that.
            (after(begin, 4), "epoch", vec![]),
            (after(begin, u64::MAX), "epoch", vec![]),
        ] {
            let mut client = stage.client().await;
            let answer = since(&mut client, ORDERS, strange).await;
            assert_eq!(told(&answer), (Some(reason), events, false), "{strange} at {begin}");
            assert_eq!(position(&answer), after(begin, 3));
        }
    }
}

#[tokio::test]
async fn a_stored_event_that_is_not_valid_is_missing_and_the_others_are_not() {
    for settings in [&[][..], &[NO_RECENT]] {
        let stage = Stage::on_redis(settings).await;
        let mut backend = Backend::of(stage.redis.as_ref().unwrap()).await;
        let (mut first, begin) = stage.subscriber().await;
        backend.keep_number(1).await;
        backend.keep(r#"{"data":"no type"}"#).await;
        backend.keep_number(3).await;
        expect_number(&mut first, 1).await;
        let gap = json!({
            "op": "gap", "topic": ORDERS, "lost": "all", "reason": "invalid", "since": after(begin, 1),
            "position": after(begin, 2),
        });
        assert_eq!(first.message().await, gap);
        expect_number(&mut first, 3).await;
        for (seen, expected) in
            [(0, (Some("invalid"), vec![1, 3])), (1, (Some("invalid"), vec![3])), (2, (None, vec![3]))]
        {
            let mut client = stage.client().await;
            let answer = since(&mut client, ORDERS, after(begin, seen)).await;
            let (reason, numbers, more) = told(&answer);
            assert_eq!(((reason, numbers), more), (expected, false), "{seen}");
        }
    }
}

#[tokio::test]
async fn any_node_knows_what_a_client_of_another_one_missed() {
    let stage = Stage::on_redis(&[]).await;
    let other = crate::support::Node::start_on(&stage.redis.as_ref().unwrap().url(), &[]).await;
    let (client, begin) = stage.subscriber().await;
    drop(client);
    for n in 1..=3 {
        stage.keep(ORDERS, n).await;
    }
    let mut client = Client::connect(&other, &crate::support::token("acme", "1")).await;
    let answer = since(&mut client, ORDERS, begin).await;
    assert_eq!(told(&answer), (None, vec![1, 2, 3], false));
    stage.keep(ORDERS, 4).await;
    let event = client.expect("event").await;
    assert_eq!((position(&event), number(&event["event"])), (after(begin, 4), 4));
    assert_eq!(event["event"].to_string(), numbered(4).parse::<serde_json::Value>().unwrap().to_string());
}

#[tokio::test]
async fn a_topic_that_stands_several_times_in_a_frame_is_answered_each_time() {
    for stage in Stage::all(&[FORGETFUL]).await {
        let (first, begin) = stage.subscriber().await;
        stage.leave(first).await;
        for n in 1..=5 {
            stage.keep(ORDERS, n).await;
        }
        let mut client = stage.client().await;
        let items = [2, 0, 4].map(|seen| json!({ "topic": ORDERS, "since": after(begin, seen) }));
        // New to the connection, and then subscribed already.
        for _ in 0..2 {
            client.send(&json!({ "op": "subscribe", "id": 5, "topics": items })).await;
            for missed in [vec![3, 4, 5], vec![1, 2, 3, 4, 5], vec![5]] {
                let answer = client.expect("subscribed").await;
                assert_eq!((told(&answer), position(&answer)), ((None, missed, false), after(begin, 5)));
            }
        }
        stage.keep(ORDERS, 6).await;
        expect_number(&mut client, 6).await;
        client.expect_nothing().await;
    }
}
