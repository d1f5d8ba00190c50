//! A client that stays connected gets what the history has, in its order, whatever comes on the topic's channel.

use fanfare_protocol::Position;
use serde_json::json;

use crate::backend::Backend;
use crate::support::{Client, Node, until};
use crate::{HEAD, ORDERS, STREAM, Stage, after, expect_ephemeral, expect_number, numbered};

const HOLES: &str = "fanfare_history_holes_total";

async fn dropped(node: &Node) -> [f64; 2] {
    let count = async |reason| node.metric(&format!(r#"fanfare_positions_dropped_total{{reason="{reason}"}}"#)).await;
    [count("repeated").await, count("unfounded").await]
}

/// A node on Redis, a client of [`ORDERS`], where it stands, and a backend.
async fn stage() -> (Stage, Client, Position, Backend) {
    let stage = Stage::on_redis(&[]).await;
    let backend = Backend::of(stage.redis.as_ref().unwrap()).await;
    let (client, begin) = stage.subscriber().await;
    (stage, client, begin, backend)
}

#[tokio::test]
async fn what_is_missing_on_the_channel_is_read_once_and_in_order() {
    let (stage, mut client, begin, mut backend) = stage().await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(stage.subscriber().await.0);
    }
    backend.keep_number(1).await;
    backend.ephemeral("before").await;
    for n in 2..=4 {
        backend.hide_number(after(begin, n), n).await;
    }
    backend.ephemeral("while nobody knows").await;
    backend.keep_number(5).await;
    backend.ephemeral("after").await;
    backend.keep_number(6).await;
    for client in [&mut client].into_iter().chain(&mut others) {
        assert_eq!(expect_number(client, 1).await, after(begin, 1));
        expect_ephemeral(client, "before").await;
        expect_ephemeral(client, "while nobody knows").await;
        for n in 2..=5 {
            assert_eq!(expect_number(client, n).await, after(begin, n));
        }
        expect_ephemeral(client, "after").await;
        expect_number(client, 6).await;
        client.expect_nothing().await;
    }
    assert_eq!(stage.node.metric(HOLES).await, 1.0);
    assert_eq!(dropped(&stage.node).await, [0.0, 0.0]);
}

#[tokio::test]
async fn a_hole_that_the_history_can_not_fill_is_told_and_what_follows_comes() {
    let (_stage, mut client, begin, mut backend) = stage().await;
    backend.keep_number(1).await;
    backend.hide_number(after(begin, 2), 2).await;
    backend.hide_number(after(begin, 3), 3).await;
    backend.command(&["XDEL", STREAM, &after(begin, 2).to_string()]).await;
    backend.keep_number(4).await;
    expect_number(&mut client, 1).await;
    let gap = json!({
        "op": "gap", "topic": ORDERS, "lost": "all", "reason": "expired", "since": after(begin, 1),
        "position": after(begin, 2),
    });
    assert_eq!(client.message().await, gap);
    expect_number(&mut client, 3).await;
    expect_number(&mut client, 4).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn positions_that_are_repeated_or_made_up_are_dropped_and_counted() {
    let (stage, mut client, begin, mut backend) = stage().await;
    backend.keep_number(1).await;
    backend.keep_number(2).await;
    for n in 1..=2 {
        assert_eq!(expect_number(&mut client, n).await, after(begin, n));
    }
    let claim = async |backend: &mut Backend, position: Position| {
        backend.publish(&format!("@{position} {}", numbered(666))).await;
    };
    claim(&mut backend, after(begin, 1)).await;
    claim(&mut backend, after(begin, 2)).await;
    until("they are dropped", async || dropped(&stage.node).await == [2.0, 0.0]).await;
    let another = |epoch| Position { epoch, seq: 1 };
    let made_up = [after(begin, 9), after(begin, u64::MAX), another(begin.epoch + 1), another(7), another(u64::MAX)];
    for (claimed, count) in made_up.into_iter().zip([1.0, 2.0, 3.0, 4.0, 5.0]) {
        claim(&mut backend, claimed).await;
        until(&format!("{claimed} is dropped"), async || dropped(&stage.node).await == [2.0, count]).await;
    }
    // Not one of them was adopted.
    backend.keep_number(3).await;
    assert_eq!(expect_number(&mut client, 3).await, after(begin, 3));
    client.expect_nothing().await;
}

#[tokio::test]
async fn a_new_epoch_on_an_unbroken_subscription_is_no_gap() {
    let (_stage, mut client, begin, mut backend) = stage().await;
    backend.keep_number(1).await;
    let mut last = expect_number(&mut client, 1).await;
    assert_eq!(last, after(begin, 1));
    let forgets = [&["DEL", STREAM][..], &["DEL", STREAM, HEAD], &["FLUSHALL"]];
    for (forget, n) in forgets.into_iter().zip(2..) {
        backend.command(forget).await;
        let position = backend.keep_number(n).await;
        assert_eq!((position.seq, position.epoch > last.epoch), (1, true), "{forget:?}");
        assert_eq!(expect_number(&mut client, n).await, position, "{forget:?}");
        last = position;
    }
    // And it is the one to resume from.
    let answer = client.subscribe(ORDERS).await;
    assert_eq!(answer["position"], last.to_string());
    client.expect_nothing().await;
}

#[tokio::test]
async fn durable_and_ephemeral_events_come_in_the_order_in_which_redis_took_them() {
    let (stage, mut client, begin, mut backend) = stage().await;
    for n in 1..=100 {
        backend.keep_number(n).await;
        backend.ephemeral(&format!("e{n}")).await;
    }
    for n in 1..=100 {
        assert_eq!(expect_number(&mut client, n).await, after(begin, n));
        expect_ephemeral(&mut client, &format!("e{n}")).await;
    }
    assert_eq!(stage.node.metric(HOLES).await, 0.0);
}

#[tokio::test]
async fn a_made_up_event_in_the_place_of_the_next_one_is_not_lost_in_silence() {
    let (_stage, mut client, begin, mut backend) = stage().await;
    // Nothing tells it from the real one before that comes.
    backend.publish(&format!("@{} {}", after(begin, 1), numbered(666))).await;
    expect_number(&mut client, 666).await;
    backend.keep_number(1).await;
    let gap = client.expect("gap").await;
    assert_eq!((&gap["lost"], &gap["reason"]), (&json!("all"), &json!("invalid")), "{gap}");
    assert_eq!((&gap["since"], &gap["position"]), (&json!(begin.to_string()), &json!(after(begin, 1).to_string())));
    backend.keep_number(2).await;
    expect_number(&mut client, 2).await;
}
