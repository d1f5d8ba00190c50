//! Events that are kept, and read again.

use std::time::Duration;

use bytes::Bytes;
use fanfare_backplane::{Keep, Page, PublishError, Read, ReadLimits, Stored, Tail};
use fanfare_protocol::{Position, TopicKey};

use crate::World;
use crate::support::node::{Node, message, topic};

const LIMITS: ReadLimits = ReadLimits { events_max: 1_000, bytes_max: 1_000_000 };

fn envelope(number: usize) -> Bytes {
    Bytes::from(format!(r#"{{"type":"numbered","data":{number:03}}}"#))
}

async fn durable(node: &Node, topic: &TopicKey, number: usize) -> Position {
    node.backplane.publish_durable(topic, envelope(number), &Keep::default()).await.unwrap()
}

pub(super) async fn read(node: &Node, topic: &TopicKey, after: Option<Position>) -> Tail {
    read_within(node, topic, after, LIMITS).await
}

async fn read_within(node: &Node, topic: &TopicKey, after: Option<Position>, limits: ReadLimits) -> Tail {
    let mut answers = node.backplane.read(&[Read { topic: topic.clone(), after }], limits).await;
    assert_eq!(answers.len(), 1);
    answers.remove(0).unwrap()
}

/// The events with these numbers, from the first position on.
fn stored(first: Position, numbers: std::ops::Range<usize>) -> Vec<Stored> {
    let at = |(after, number)| Stored {
        position: Position { epoch: first.epoch, seq: first.seq + after },
        envelope: envelope(number),
    };
    (0..).zip(numbers).map(at).collect()
}

pub(super) async fn durable_events_arrive_with_their_positions(world: World) {
    let orders = topic("acme:channel:orders");
    let mut node = world.node().await;
    node.want(std::slice::from_ref(&orders)).await;
    let publisher = world.node().await;
    let mut epoch = None;
    for number in 1..=20 {
        let position = durable(&publisher, &orders, number).await;
        assert_eq!(position.seq, number as u64);
        assert_eq!(*epoch.get_or_insert(position.epoch), position.epoch);
        publisher.publish(&orders, "{}").await;
        let text = std::str::from_utf8(&envelope(number)).unwrap().to_owned();
        assert_eq!(node.next().await, message(&orders, format!("@{position} {text}")));
        assert_eq!(node.next().await, message(&orders, "{}"));
    }
    let msgpack = Bytes::from_static(b"\x81\xa4type\xa1\xff");
    let position = publisher.backplane.publish_durable(&orders, msgpack.clone(), &Keep::default()).await.unwrap();
    let expected = [format!("@{position} ").as_bytes(), &msgpack].concat();
    assert_eq!(node.next().await, message(&orders, expected));
    assert_eq!(read(&node, &orders, Some(position)).await, Tail { position, events: vec![], more: false });
}

pub(super) async fn what_came_after_a_position_is_read(world: World) {
    let orders = topic("acme:channel:orders");
    let node = world.node().await;
    let mut positions = Vec::new();
    for number in 0..10 {
        positions.push(durable(&node, &orders, number).await);
    }
    let last = positions[9];
    for after in [0, 5, 8, 9] {
        let events = stored(Position { seq: positions[after].seq + 1, ..last }, after + 1..10);
        let expected = Tail { position: last, events, more: false };
        assert_eq!(read(&node, &orders, Some(positions[after])).await, expected);
    }
    assert_eq!(read(&node, &orders, None).await, Tail { position: last, events: vec![], more: false });
    // Before the first event, and beyond the last.
    let before = Position { seq: 0, ..last };
    assert_eq!(read(&node, &orders, Some(before)).await.events, stored(positions[0], 0..10));
    let beyond = Position { seq: 11, ..last };
    assert_eq!(read(&node, &orders, Some(beyond)).await, Tail { position: last, events: vec![], more: false });
}

pub(super) async fn a_topic_without_history_has_a_position_to_resume_from(world: World) {
    let quiet = topic("acme:channel:quiet");
    let node = world.node().await;
    let begun = read(&node, &quiet, None).await;
    assert_eq!((begun.position.seq, begun.events.len(), begun.more), (0, 0, false));
    assert_ne!(begun.position, Position::NONE);
    // It stays so until there is an event, which belongs to the same epoch.
    assert_eq!(read(&node, &quiet, Some(begun.position)).await, begun);
    let position = durable(&node, &quiet, 1).await;
    assert_eq!(position, Position { seq: 1, ..begun.position });
    let expected = Tail { position, events: stored(position, 1..2), more: false };
    assert_eq!(read(&node, &quiet, Some(begun.position)).await, expected);
}

pub(super) async fn a_position_of_another_epoch_brings_all_of_the_present_one(world: World) {
    let orders = topic("acme:channel:orders");
    let node = world.node().await;
    let first = durable(&node, &orders, 1).await;
    let position = durable(&node, &orders, 2).await;
    for epoch in [1, first.epoch - 1, first.epoch + 1, u64::MAX] {
        let elsewhere = Position { epoch, seq: u64::MAX };
        let expected = Tail { position, events: stored(first, 1..3), more: false };
        assert_eq!(read(&node, &orders, Some(elsewhere)).await, expected, "{elsewhere}");
    }
}

pub(super) async fn a_read_is_bounded_in_events_and_in_bytes(world: World) {
    let orders = topic("acme:channel:orders");
    let node = world.node().await;
    let first = durable(&node, &orders, 0).await;
    for number in 1..100 {
        durable(&node, &orders, number).await;
    }
    let last = Position { seq: 100, ..first };
    // Asked for again and again, it comes whole.
    let bytes = envelope(0).len();
    for limits in [
        ReadLimits { events_max: 7, ..LIMITS },
        ReadLimits { events_max: 50, ..LIMITS },
        ReadLimits { bytes_max: bytes * 9, ..LIMITS },
        ReadLimits { bytes_max: bytes * 9 + 1, ..LIMITS },
        ReadLimits { bytes_max: 1, events_max: 1 },
    ] {
        let (mut after, mut events) = (Position { seq: 0, ..first }, Vec::new());
        loop {
            let tail = read_within(&node, &orders, Some(after), limits).await;
            assert_eq!(tail.position, last);
            assert!(tail.events.len() <= limits.events_max.min(limits.bytes_max.div_ceil(bytes)), "{limits:?}");
            after = tail.events.last().unwrap().position;
            events.extend(tail.events);
            assert_eq!(tail.more, events.len() < 100, "{limits:?}");
            if !tail.more {
                break;
            }
        }
        assert_eq!(events, stored(first, 0..100));
    }
}

pub(super) async fn many_topics_are_read_at_once_and_answered_in_order(world: World) {
    const TOPICS: usize = 1_100;
    let node = world.node().await;
    let topics: Vec<_> = (0..TOPICS).map(|number| topic(&format!("acme:channel:{number}"))).collect();
    let mut reads = Vec::new();
    for (number, topic) in topics.iter().enumerate() {
        let after = (number % 3 == 0).then_some(Position { epoch: 1, seq: 1 });
        reads.push(Read { topic: topic.clone(), after });
        if number % 2 == 0 {
            durable(&node, topic, number).await;
        }
    }
    // Too large for one call.
    let limits = ReadLimits { bytes_max: 100_000, ..LIMITS };
    let tails = node.backplane.read(&reads, limits).await;
    assert_eq!(tails.len(), TOPICS);
    for (number, tail) in tails.into_iter().enumerate() {
        let tail = tail.unwrap();
        assert_ne!(tail.position, Position::NONE);
        assert_eq!(tail.position.seq, u64::from(number % 2 == 0), "{number}");
        let expected = if number % 6 == 0 { stored(tail.position, number..number + 1) } else { vec![] };
        assert_eq!(tail.events, expected, "{number}");
    }
    assert_eq!(node.backplane.read(&[], limits).await, []);
}

pub(super) async fn a_history_is_paged_backwards(world: World) {
    let orders = topic("acme:channel:orders");
    let node = world.node().await;
    let limits = ReadLimits { events_max: 4, ..LIMITS };
    let empty = Page { events: vec![], more: false };
    assert_eq!(node.backplane.history(&orders, None, limits).await, Ok(empty.clone()));
    let first = durable(&node, &orders, 0).await;
    for number in 1..10 {
        durable(&node, &orders, number).await;
    }
    let mut before = None;
    for (numbers, more) in [(6..10, true), (2..6, true), (0..2, false)] {
        let page = node.backplane.history(&orders, before, limits).await.unwrap();
        let from = Position { seq: numbers.start as u64 + 1, ..first };
        assert_eq!(page, Page { events: stored(from, numbers), more });
        before = Some(from);
    }
    assert_eq!(node.backplane.history(&orders, before, limits).await, Ok(empty));
    let few = ReadLimits { bytes_max: envelope(0).len() + 1, ..LIMITS };
    let page = node.backplane.history(&orders, None, few).await.unwrap();
    assert_eq!(page, Page { events: stored(Position { seq: 9, ..first }, 8..10), more: true });
    let all = node.backplane.history(&orders, None, ReadLimits { events_max: 10, ..LIMITS }).await.unwrap();
    assert_eq!(all, Page { events: stored(first, 0..10), more: false });
}

pub(super) async fn an_id_is_published_once(world: World) {
    let orders = topic("acme:channel:orders");
    let mut node = world.node().await;
    node.want(std::slice::from_ref(&orders)).await;
    let keep = |maxlen, minutes, id: &str| Keep { maxlen, ttl: Duration::from_mins(minutes), id: Some(id.into()) };
    let publish = async |number, keep| node.backplane.publish_durable(&orders, envelope(number), &keep).await.unwrap();
    let first = publish(1, keep(1_000, 60, "a:{b}")).await;
    // Whatever else is said.
    assert_eq!(publish(2, keep(1_000, 60, "a:{b}")).await, first);
    assert_eq!(publish(3, keep(7, 5, "a:{b}")).await, first);
    let second = publish(4, keep(1_000, 60, "other")).await;
    assert_eq!(second, Position { seq: 2, ..first });
    let elsewhere = topic("acme:channel:elsewhere");
    let other = node.backplane.publish_durable(&elsewhere, envelope(1), &keep(9, 9, "other")).await.unwrap();
    assert_eq!(other.seq, 1);
    let told = |position, number| [format!("@{position} ").as_bytes(), &envelope(number)].concat();
    assert_eq!(node.next().await, message(&orders, told(first, 1)));
    assert_eq!(node.next().await, message(&orders, told(second, 4)));
}

pub(super) async fn what_cant_be_kept_is_refused_with_the_fix(world: World) {
    let orders = topic("acme:channel:orders");
    let node = world.node().await;
    let good = Keep::default();
    let with_id = |id: &str| Keep { id: Some(id.into()), ..Keep::default() };
    let short = Keep { ttl: Duration::from_millis(59_999), ..Keep::default() };
    let huge = vec![b'{'; 1024 * 1024 + 1];
    for (envelope, keep, expected) in [
        (&b""[..], &good, "an envelope is a JSON object"),
        (b"@1-1 {}", &good, "an envelope is a JSON object"),
        (&huge, &good, "the envelope has 1048577 bytes; at most 1048576 are allowed"),
        (b"{}", &Keep { maxlen: 0, ..Keep::default() }, "maxlen must be 1 to"),
        (b"{}", &short, "the ttl must be 60000 to"),
        (b"{}", &with_id(""), "the idempotency id must have 1 to 128 bytes"),
        (b"{}", &with_id(&"a".repeat(129)), "the idempotency id must have 1 to 128 bytes"),
    ] {
        let refused = node.backplane.publish_durable(&orders, Bytes::copy_from_slice(envelope), keep).await;
        assert!(matches!(&refused, Err(PublishError::Refused(words)) if words.starts_with(expected)), "{refused:?}");
    }
    let position = node.backplane.publish_durable(&orders, huge[1..].to_vec().into(), &with_id(&"a".repeat(128))).await;
    assert_eq!(position.unwrap().seq, 1);
}

pub(super) async fn a_topic_keeps_its_newest_events(world: World) {
    let orders = topic("acme:channel:orders");
    let node = world.node().await;
    let keep = Keep { maxlen: 10, ..Keep::default() };
    for number in 0..500 {
        node.backplane.publish_durable(&orders, envelope(number), &keep).await.unwrap();
    }
    let tail = read(&node, &orders, Some(Position { epoch: 1, seq: 1 })).await;
    assert_eq!(tail.position.seq, 500);
    let kept = tail.events.len();
    // Redis trims a block of entries at a time.
    assert!((10..=10 + 100).contains(&kept), "{kept}");
    assert_eq!(tail.events, stored(Position { seq: 501 - kept as u64, ..tail.position }, 500 - kept..500));
}
