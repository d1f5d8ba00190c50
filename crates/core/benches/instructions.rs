//! What a node does with an event between Redis and the sockets, in instructions: the order of durable events, the tables
//! of topics, and the fan-out of a batch. `make instructions` counts. The sockets are stubs: what the kernel costs, the
//! load generator measures.
#![allow(clippy::unwrap_used, reason = "a case that can't be prepared fails by panicking")]

#[path = "../../protocol/benches/counting/mod.rs"]
mod counting;
mod fan_out;
#[path = "../tests/subscribers/mod.rs"]
mod subscribers;

use fanfare_core::sequence::{Arrival, History, Sequence, Told};
use fanfare_core::topics::{ShardId, Topics};
use fanfare_core::{Registry, TopicId};
use fanfare_protocol::{Event, Position, TopicKey};

use counting::Cases;
use counting::sample::envelope;
use subscribers::{Socket, separate, shared, topic_key};

/// How often what takes few instructions is repeated: among a hundred of them one more or less is much.
const REPEATED: u32 = 1_000;

fn main() {
    let mut cases = Cases::default();
    cases.add(format!("find {REPEATED} topics of {} by name", 10 * REPEATED), topics, |(topics, names)| {
        names.iter().filter_map(|name| topics.find(name)).map(TopicId::index).sum::<usize>()
    });
    cases.add(format!("look up {REPEATED} topics of 1 subscriber"), || separate(REPEATED), walk);
    cases.add("look up 1 topic of 10000 subscribers", || shared(1, 10_000, Socket::TakesAll), walk);
    cases.add(format!("sequence {REPEATED} durable events"), in_order, |(sequence, arrivals, told)| {
        for arrival in arrivals.drain(..) {
            sequence.take(arrival, usize::MAX, told);
        }
    });
    fan_out::add(&mut cases);
    cases.run();
}

/// A table of topics, and every tenth of their names.
fn topics() -> (Topics, Vec<String>) {
    let mut topics = Topics::default();
    let keys: Vec<TopicKey> = (0..10 * REPEATED).map(topic_key).collect();
    for key in &keys {
        topics.enter(key, ShardId(0));
    }
    (topics, keys.iter().step_by(10).map(|key| key.as_str().to_owned()).collect())
}

/// Meets every subscriber of every topic.
fn walk(registry: &mut Registry) -> u64 {
    let topics = (0..).map(TopicId).take_while(|&topic| registry.count(topic) > 0);
    topics.flat_map(|topic| registry.sessions(topic)).map(|session| session.id().0).sum()
}

/// A topic that is told up to its first position, the events that follow, and room for what is told of them.
fn in_order() -> (Sequence<Event>, Vec<Arrival<Event>>, Vec<Told<Event>>) {
    let position = |number| Position { epoch: 1_760_000_000_000, seq: u64::from(number) };
    let mut sequence = Sequence::default();
    let round = sequence.confirm().round;
    sequence.fill(round, History { position: position(1), events: Vec::new(), more: false }, &mut Vec::new());
    let event = Event::decode(envelope(128), 65_536).unwrap();
    let arrival = |number| Arrival { position: Some(position(number)), event: Some(event.clone()), bytes: 128 };
    (sequence, (2..2 + REPEATED).map(arrival).collect(), Vec::with_capacity(REPEATED as usize))
}
