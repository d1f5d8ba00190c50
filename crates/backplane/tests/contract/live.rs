//! What is published to who listens now.

use bytes::Bytes;
use fanfare_backplane::State;

use crate::World;
use crate::support::node::{Node, Told, message, topic};

pub(super) async fn reaches_every_node_that_wants_the_topic_and_nobody_else(world: World) {
    let (orders, other_tenant, user) =
        (topic("acme:channel:orders"), topic("rival:channel:orders"), topic("acme:user:42"));
    let (mut one, mut two, mut three) = (world.node().await, world.node().await, world.node().await);
    one.want(std::slice::from_ref(&orders)).await;
    two.want(&[orders.clone(), user.clone()]).await;
    three.want(std::slice::from_ref(&other_tenant)).await;

    three.publish(&orders, "first").await;
    one.publish(&user, "second").await;
    one.publish(&other_tenant, "third").await;

    // Topics of a cluster come over several connections.
    let told = [two.next().await, two.next().await];
    assert!(told.contains(&message(&orders, "first")) && told.contains(&message(&user, "second")), "{told:?}");
    assert_eq!(three.next().await, message(&other_tenant, "third"));
    // What each is told last shows that nothing else was on its way.
    one.publish(&orders, "last").await;
    assert_eq!(one.next().await, message(&orders, "first"));
    assert_eq!(one.next().await, message(&orders, "last"));
    one.publish(&other_tenant, "last").await;
    assert_eq!(three.next().await, message(&other_tenant, "last"));
}

pub(super) async fn keeps_the_order_of_a_topic(world: World) {
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

pub(super) async fn confirms_before_the_first_message(world: World) {
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

pub(super) async fn confirms_each_topic_once(world: World) {
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

pub(super) async fn stops_when_a_topic_is_not_wanted_any_more(world: World) {
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

pub(super) async fn wanted_again_is_confirmed_again(world: World) {
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

pub(super) async fn ends_right_after_quick_changes_of_mind(world: World) {
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

pub(super) async fn carries_bytes_untouched(world: World) {
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

pub(super) async fn publishes_to_nobody_without_an_error(world: World) {
    let node = world.node().await;
    node.publish(&topic("acme:channel:nobody"), "{}").await;
}

pub(super) async fn ends_the_inbox_when_the_last_handle_is_dropped(world: World) {
    let (backplane, mut inbox) = world.origin.backplane.node();
    backplane.want(&[topic("acme:channel:orders")]);
    drop(backplane.clone());
    drop(backplane);
    let mut taken = Vec::new();
    while inbox.recv_many(&mut taken, 10).await > 0 {}
}

pub(super) async fn a_node_that_leaves_disturbs_nobody(world: World) {
    let orders = topic("acme:channel:orders");
    let (mut stays, mut leaves) = (world.node().await, world.node().await);
    stays.want(std::slice::from_ref(&orders)).await;
    leaves.want(std::slice::from_ref(&orders)).await;
    drop(leaves);
    stays.publish(&orders, "still here").await;
    assert_eq!(stays.next().await, message(&orders, "still here"));
}

pub(super) async fn is_up(world: World) {
    let node = world.node().await;
    node.until_state(State::is_up).await;
}
