//! What a bounded inbox means where nothing but memory is between publisher and node.

use bytes::Bytes;
use fanfare_backplane::{Backplane, InboxLimits, Keep, PublishError};

use crate::durable::read;
use crate::support::node::{Node, message, topic};

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
