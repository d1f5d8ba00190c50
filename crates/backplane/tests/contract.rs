//! What every backplane must do, told as stories that run on each of them: memory, a real Redis and a
//! real Redis Cluster.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fanfare_backplane::{
    Backplane, InboxLimits, Keep, Page, Prefix, PublishError, Read, ReadLimits, RedisScripting, State, Stored, Tail,
};
use fanfare_protocol::{Position, TopicKey};

use support::cluster::ClusterProcess;
use support::node::{Node, Told, config, message, topic};
use support::redis_server::RedisProcess;

/// A backplane under test, and what it stands on.
struct World {
    /// A place that all nodes of the story are made from; it wants nothing.
    origin: Node,
    server: Option<RedisProcess>,
    cluster: Option<Arc<ClusterProcess>>,
}

impl World {
    fn memory() -> World {
        World { origin: Node::new(Backplane::memory(InboxLimits::default())), server: None, cluster: None }
    }

    fn redis() -> World {
        let server = RedisProcess::start();
        World { origin: Node::new(Backplane::redis(config(&server.url()))), server: Some(server), cluster: None }
    }

    /// One cluster for all stories that run at the same time, each with a prefix of its own.
    fn cluster() -> World {
        static STORIES: AtomicUsize = AtomicUsize::new(0);
        let cluster = ClusterProcess::shared();
        let mut config = config(&cluster.url());
        config.prefix = Prefix::parse(&format!("story-{}", STORIES.fetch_add(1, Ordering::Relaxed))).unwrap();
        World { origin: Node::new(Backplane::redis(config)), server: None, cluster: Some(cluster) }
    }

    /// Where functions are forbidden.
    fn redis_with_scripts() -> World {
        let server = RedisProcess::start_with(&["--rename-command", "FCALL", "", "--rename-command", "FUNCTION", ""]);
        let mut config = config(&server.url());
        config.scripting = RedisScripting::Eval;
        World { origin: Node::new(Backplane::redis(config)), server: Some(server), cluster: None }
    }

    /// A node that has been told that its connection stands, and can publish.
    async fn node(&self) -> Node {
        let mut node = Node::new(self.origin.backplane.node());
        assert_eq!(node.next().await, Told::Up(true));
        node.publish_when_possible(&topic("nobody:channel:warm-up"), "{}").await;
        if self.cluster.is_some() {
            // Each primary is connected to by itself.
            node.until_state(State::is_up).await;
        }
        node
    }
}

/// Runs each story on each backplane.
macro_rules! stories {
    ($($story:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $story() { super::$story(super::World::memory()).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $story() { super::$story(super::World::redis()).await; })*
        }
        mod redis_with_scripts {
            $(#[tokio::test] async fn $story() { super::$story(super::World::redis_with_scripts()).await; })*
        }
        mod cluster {
            $(#[tokio::test] async fn $story() { super::$story(super::World::cluster()).await; })*
        }
    };
}

stories! {
    reaches_every_node_that_wants_the_topic_and_nobody_else,
    keeps_the_order_of_a_topic,
    confirms_before_the_first_message,
    confirms_each_topic_once,
    stops_when_a_topic_is_not_wanted_any_more,
    wanted_again_is_confirmed_again,
    ends_right_after_quick_changes_of_mind,
    carries_bytes_untouched,
    publishes_to_nobody_without_an_error,
    ends_the_inbox_when_the_last_handle_is_dropped,
    a_node_that_leaves_disturbs_nobody,
    is_up,
    durable_events_arrive_with_their_positions,
    what_came_after_a_position_is_read,
    a_topic_without_history_has_a_position_to_resume_from,
    a_position_of_another_epoch_brings_all_of_the_present_one,
    a_read_is_bounded_in_events_and_in_bytes,
    many_topics_are_read_at_once_and_answered_in_order,
    a_history_is_paged_backwards,
    an_id_is_published_once,
    what_cant_be_kept_is_refused_with_the_fix,
    a_topic_keeps_its_newest_events,
}

async fn reaches_every_node_that_wants_the_topic_and_nobody_else(world: World) {
    let (orders, other_tenant, user) =
        (topic("acme:channel:orders"), topic("rival:channel:orders"), topic("acme:user:42"));
    let (mut one, mut two, mut three) = (world.node().await, world.node().await, world.node().await);
    one.want(std::slice::from_ref(&orders)).await;
    two.want(&[orders.clone(), user.clone()]).await;
    three.want(std::slice::from_ref(&other_tenant)).await;

    three.publish(&orders, "first").await;
    one.publish(&user, "second").await;
    one.publish(&other_tenant, "third").await;

    assert_eq!(two.next().await, message(&orders, "first"));
    assert_eq!(two.next().await, message(&user, "second"));
    assert_eq!(three.next().await, message(&other_tenant, "third"));
    // What each is told last shows that nothing else was on its way.
    one.publish(&orders, "last").await;
    assert_eq!(one.next().await, message(&orders, "first"));
    assert_eq!(one.next().await, message(&orders, "last"));
    one.publish(&other_tenant, "last").await;
    assert_eq!(three.next().await, message(&other_tenant, "last"));
}

async fn keeps_the_order_of_a_topic(world: World) {
    const MESSAGES: usize = 2_000;
    let (a, b) = (topic("acme:channel:a"), topic("acme:channel:b"));
    let (mut one, mut two) = (world.node().await, world.node().await);
    one.want(&[a.clone(), b.clone()]).await;
    two.want(&[a.clone(), b.clone()]).await;
    let publisher = world.node().await;
    let publish = |topic| {
        let publisher = &publisher;
        async move {
            for number in 0..MESSAGES {
                publisher.publish(topic, &number.to_string()).await;
            }
        }
    };
    let receive = |mut node: Node| {
        let (a, b) = (&a, &b);
        async move {
            let mut next = [0, 0];
            while next != [MESSAGES, MESSAGES] {
                let Told::Message(name, payload) = node.next().await else { panic!("not a message") };
                let which = usize::from(name == b.as_str());
                assert!(which == 1 || name == a.as_str());
                assert_eq!(payload, next[which].to_string());
                next[which] += 1;
            }
        }
    };
    tokio::join!(publish(&a), publish(&b), receive(one), receive(two));
}

async fn confirms_before_the_first_message(world: World) {
    let orders = topic("acme:channel:orders");
    let publisher = world.node().await;
    let mut node = world.node().await;
    let keep_publishing = async {
        for number in 0.. {
            publisher.publish(&orders, &number.to_string()).await;
            // Both run in one task, and neither waits for the other in the memory backplane.
            tokio::task::yield_now().await;
        }
    };
    let listen = async {
        node.backplane.want(std::slice::from_ref(&orders));
        assert_eq!(node.next().await, Told::Confirmed(orders.clone()));
        // From the confirmation on, without a hole.
        let Told::Message(_, first) = node.next().await else { panic!("not a message") };
        let first: usize = std::str::from_utf8(&first).unwrap().parse().unwrap();
        for number in first + 1..first + 50 {
            assert_eq!(node.next().await, message(&orders, number.to_string()));
        }
    };
    tokio::select! {
        () = listen => {}
        () = keep_publishing => {}
    }
}

async fn confirms_each_topic_once(world: World) {
    let topics: Vec<_> = (0..2_500).map(|number| topic(&format!("acme:channel:{number}"))).collect();
    let mut node = world.node().await;
    node.backplane.want(&topics);
    node.backplane.want(&topics[..100]);
    let mut confirmed = Vec::new();
    while confirmed.len() < topics.len() {
        let Told::Confirmed(topic) = node.next().await else { panic!("not a confirmation") };
        confirmed.push(topic);
    }
    let publisher = world.node().await;
    for index in [0, 1_000, 2_499] {
        publisher.publish(&topics[index], "now").await;
        assert_eq!(node.next().await, message(&topics[index], "now"));
    }
    confirmed.sort();
    let mut expected = topics;
    expected.sort();
    assert_eq!(confirmed, expected);
}

async fn stops_when_a_topic_is_not_wanted_any_more(world: World) {
    let (orders, other) = (topic("acme:channel:orders"), topic("acme:channel:other"));
    let mut node = world.node().await;
    node.want(&[orders.clone(), other.clone()]).await;
    node.backplane.unwant(std::slice::from_ref(&orders));
    // Messages on their way may still come, so publish until one does not.
    let publisher = world.node().await;
    for number in 0.. {
        assert!(number < 10_000, "the topic is still delivered");
        publisher.publish(&orders, "not wanted").await;
        publisher.publish(&other, "wanted").await;
        if node.next().await == message(&other, "wanted") {
            break;
        }
        assert_eq!(node.next().await, message(&other, "wanted"));
    }
}

async fn wanted_again_is_confirmed_again(world: World) {
    let orders = topic("acme:channel:orders");
    let mut node = world.node().await;
    let publisher = world.node().await;
    for round in 0..20 {
        node.backplane.want(std::slice::from_ref(&orders));
        node.until(&Told::Confirmed(orders.clone())).await;
        publisher.publish(&orders, &round.to_string()).await;
        assert_eq!(node.next().await, message(&orders, round.to_string()));
        node.backplane.unwant(std::slice::from_ref(&orders));
    }
}

async fn ends_right_after_quick_changes_of_mind(world: World) {
    let topics: Vec<_> = (0..300).map(|number| topic(&format!("acme:channel:{number}"))).collect();
    let mut node = world.node().await;
    for round in 0..30_usize {
        // Each topic changes at its own pace, some of them while a command is on its way.
        let (up, down): (Vec<_>, Vec<_>) =
            topics.iter().cloned().enumerate().partition(|(index, _)| (index + round) % 3 == 0);
        node.backplane.want(&up.into_iter().map(|(_, topic)| topic).collect::<Vec<_>>());
        node.backplane.unwant(&down.into_iter().map(|(_, topic)| topic).collect::<Vec<_>>());
        tokio::task::yield_now().await;
    }
    node.backplane.unwant(&topics);
    node.backplane.want(&topics[..150]);
    // Nothing was taken meanwhile: confirmations from before the last change must not count.
    node.until_confirmed(&topics[..150]).await;
    let publisher = world.node().await;
    for topic in &topics[..150] {
        publisher.publish(topic, "now").await;
        assert_eq!(node.next_but_confirmed().await, message(topic, "now"));
    }
}

async fn carries_bytes_untouched(world: World) {
    let blob = topic("acme:channel:blob");
    let mut node = world.node().await;
    node.want(std::slice::from_ref(&blob)).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0] ^ 0x5a).collect();
    for payload in [Vec::new(), b"\r\n".to_vec(), every_byte, large] {
        let payload = Bytes::from(payload);
        node.backplane.publish(&blob, payload.clone()).await.unwrap();
        assert_eq!(node.next().await, message(&blob, payload));
    }
}

async fn publishes_to_nobody_without_an_error(world: World) {
    let node = world.node().await;
    node.publish(&topic("acme:channel:nobody"), "{}").await;
}

async fn ends_the_inbox_when_the_last_handle_is_dropped(world: World) {
    let (backplane, mut inbox) = world.origin.backplane.node();
    backplane.want(&[topic("acme:channel:orders")]);
    drop(backplane.clone());
    drop(backplane);
    let mut taken = Vec::new();
    while inbox.recv_many(&mut taken, 10).await > 0 {}
}

async fn a_node_that_leaves_disturbs_nobody(world: World) {
    let orders = topic("acme:channel:orders");
    let (mut stays, mut leaves) = (world.node().await, world.node().await);
    stays.want(std::slice::from_ref(&orders)).await;
    leaves.want(std::slice::from_ref(&orders)).await;
    drop(leaves);
    stays.publish(&orders, "still here").await;
    assert_eq!(stays.next().await, message(&orders, "still here"));
}

async fn is_up(world: World) {
    let node = world.node().await;
    node.until_state(State::is_up).await;
}

const LIMITS: ReadLimits = ReadLimits { events_max: 1_000, bytes_max: 1_000_000 };

fn envelope(number: usize) -> Bytes {
    Bytes::from(format!(r#"{{"type":"numbered","data":{number:03}}}"#))
}

async fn durable(node: &Node, topic: &TopicKey, number: usize) -> Position {
    node.backplane.publish_durable(topic, envelope(number), &Keep::default()).await.unwrap()
}

async fn read(node: &Node, topic: &TopicKey, after: Option<Position>) -> Tail {
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

async fn durable_events_arrive_with_their_positions(world: World) {
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

async fn what_came_after_a_position_is_read(world: World) {
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

async fn a_topic_without_history_has_a_position_to_resume_from(world: World) {
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

async fn a_position_of_another_epoch_brings_all_of_the_present_one(world: World) {
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

async fn a_read_is_bounded_in_events_and_in_bytes(world: World) {
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

async fn many_topics_are_read_at_once_and_answered_in_order(world: World) {
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

async fn a_history_is_paged_backwards(world: World) {
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

async fn an_id_is_published_once(world: World) {
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

async fn what_cant_be_kept_is_refused_with_the_fix(world: World) {
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

async fn a_topic_keeps_its_newest_events(world: World) {
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

#[tokio::test]
async fn a_slow_node_in_memory_slows_publishers_down_and_loses_nothing() {
    const MESSAGES: usize = 1_000;
    const BYTES_MAX: usize = 20_000;
    let orders = topic("acme:channel:orders");
    let mut node = Node::new(Backplane::memory(InboxLimits { bytes_max: BYTES_MAX }));
    let publisher = Node::new(node.backplane.node());
    node.want(std::slice::from_ref(&orders)).await;
    let publish = async {
        for number in 0..MESSAGES {
            publisher.publish(&orders, &number.to_string()).await;
        }
    };
    let receive = async {
        for number in 0..MESSAGES {
            assert!(node.waiting_bytes() < BYTES_MAX + 500);
            assert_eq!(node.next().await, message(&orders, number.to_string()));
        }
    };
    tokio::join!(publish, receive);
}

#[tokio::test]
async fn publishing_in_memory_ends_when_nobody_reads() {
    let orders = topic("acme:channel:orders");
    let mut node = Node::new(Backplane::memory(InboxLimits { bytes_max: 1_000 }));
    node.want(std::slice::from_ref(&orders)).await;
    let mut published = 0;
    let error = loop {
        match node.backplane.publish(&orders, Bytes::from_static(b"{}")).await {
            Ok(()) => published += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, PublishError::Timeout);
    assert!(published > 0);
}

#[tokio::test]
async fn a_durable_event_in_memory_that_finds_no_room_is_not_kept_either() {
    let orders = topic("acme:channel:orders");
    let mut node = Node::new(Backplane::memory(InboxLimits { bytes_max: 1_000 }));
    node.want(std::slice::from_ref(&orders)).await;
    let mut published = 0;
    let error = loop {
        match node.backplane.publish_durable(&orders, Bytes::from_static(b"{}"), &Keep::default()).await {
            Ok(position) => published = position.seq,
            Err(error) => break error,
        }
        assert!(published < 1_000, "nobody reads");
    };
    assert_eq!(error, PublishError::Timeout);
    assert!(published > 0);
    assert_eq!(read(&node, &orders, None).await.position.seq, published);
}

#[tokio::test]
async fn prefixes_on_one_redis_do_not_meet() {
    let world = World::redis();
    let server = world.server.as_ref().unwrap();
    let mut other_prefix = config(&server.url());
    other_prefix.prefix = Prefix::parse("staging").unwrap();
    let mut staging = Node::new(Backplane::redis(other_prefix));
    let mut production = world.node().await;
    let orders = topic("acme:channel:orders");
    staging.want(std::slice::from_ref(&orders)).await;
    production.want(std::slice::from_ref(&orders)).await;

    assert_eq!(server.command(&["PUBLISH", "fanfare:acme:channel:orders", "to production"]), "1");
    assert_eq!(server.command(&["PUBLISH", "staging:acme:channel:orders", "to staging"]), "1");
    assert_eq!(production.next().await, message(&orders, "to production"));
    assert_eq!(staging.next().await, message(&orders, "to staging"));
}

#[tokio::test]
async fn a_unix_socket_works_as_well() {
    let server = RedisProcess::start();
    let url = format!("unix://{}", server.socket_path().display());
    let mut node = Node::new(Backplane::redis(config(&url)));
    let orders = topic("acme:channel:orders");
    node.want(std::slice::from_ref(&orders)).await;
    node.publish_when_possible(&orders, "over a socket").await;
    assert_eq!(node.next().await, message(&orders, "over a socket"));
}
