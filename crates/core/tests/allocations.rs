//! What an event costs in allocations: a few of its own, and none for each client that it is delivered to.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod subscribers;

use std::sync::Arc;

use bytes::Bytes;
use fanfare_core::{Batch, SessionId, TopicId};
use fanfare_protocol::{Codec, Event, TopicKey, json_to_msgpack};

use subscribers::{Socket, deliver_now, deliver_together, separate, shared, topic_key};

#[test]
fn an_event_costs_as_many_allocations_as_it_has_parts() {
    let of_events = |events: usize, from: Codec, to: Codec| {
        let (name, payloads) = (topic_key(0), payloads(from, events));
        allocations(|| drop(framed(to, name, payloads)))
    };
    for (from, to, an_event) in [
        // Its type, its key, and the count of references to its envelope.
        (Codec::Json, Codec::Json, 3),
        (Codec::Msgpack, Codec::Msgpack, 3),
        // And the translation.
        (Codec::Json, Codec::Msgpack, 4),
        (Codec::Msgpack, Codec::Json, 4),
    ] {
        // The members, what each frame is put together in, all frames, the count of references to them, and where they end.
        let a_batch = 5;
        for events in [1, 10, 1_000] {
            let expected = a_batch + an_event * events as u64;
            assert_eq!(of_events(events, from, to), expected, "{events} events, {from:?} to {to:?}");
        }
    }
}

#[test]
fn it_is_delivered_without_an_allocation() {
    for clients in [100, 1_000] {
        for (events, except) in [(1, None), (200, None), (1, Some(SessionId(7)))] {
            let (registry, batch) = (shared(1, clients, Socket::TakesAll), batch(0, events, except));
            assert_eq!(allocations(|| deliver_now(&registry, &batch)), 0, "{events} events to {clients}");
        }
    }
}

#[test]
fn events_of_many_topics_are_delivered_without_an_allocation_to_clients_of_one_each() {
    let registry = separate(1_000);
    let batches: Vec<_> = (0..1_000).map(|topic| batch(topic, 1, None)).collect();
    assert_eq!(allocations(|| deliver_together(&registry, &batches)), 0);
}

/// What is to be written together waits in a queue, which an idle client has none of: room for four, eight, … batches.
#[test]
fn what_waits_costs_a_client_the_room_for_four_batches_at_a_time() {
    for clients in [100, 1_000] {
        for (topics, rooms) in [(2, 1), (4, 1), (5, 2), (8, 2)] {
            let registry = shared(topics, clients, Socket::TakesAll);
            let batches: Vec<_> = (0..topics).map(|topic| batch(topic, 1, None)).collect();
            let expected = clients * rooms;
            assert_eq!(allocations(|| deliver_together(&registry, &batches)), expected, "{topics} topics to {clients}");
        }
    }
}

/// How many allocations this thread makes meanwhile.
fn allocations(act: impl FnOnce()) -> u64 {
    allocation_counter::measure(act).count_total
}

/// The same event so many times, each with memory of its own.
fn payloads(codec: Codec, events: usize) -> Vec<Bytes> {
    let json = br#"{"type":"order.updated","key":"order-4711","at":1760000000000,"data":{"total":12.50}}"#;
    let payload = match codec {
        Codec::Json => json.to_vec(),
        Codec::Msgpack => json_to_msgpack(json).unwrap(),
    };
    std::iter::repeat_with(|| payload.clone().into()).take(events).collect()
}

/// The events of the payloads, framed.
fn framed(codec: Codec, name: TopicKey, payloads: Vec<Bytes>) -> Batch {
    let events = payloads.into_iter().map(|payload| (Event::decode(payload, 1_000).unwrap(), None));
    let batch = Batch::new(TopicId(0), name, events);
    batch.bytes(codec, 0..batch.len());
    batch
}

/// Events that are framed, with the session that they leave out.
fn batch(topic: u32, events: usize, except: Option<SessionId>) -> Arc<Batch> {
    let events = payloads(Codec::Json, events).into_iter();
    let events = events.map(|payload| (Event::decode(payload, 1_000).unwrap(), except));
    let batch = Batch::new(TopicId(topic), topic_key(topic), events);
    batch.bytes(Codec::Json, 0..batch.len());
    Arc::new(batch)
}
