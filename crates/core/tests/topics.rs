//! The table of topics and the commands that wait for them, beside models that are too simple to be wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(not(loom))]

use std::collections::{BTreeMap, BTreeSet, HashSet};

use fanfare_core::joins::Joins;
use fanfare_core::topics::{Entered, ShardId, Topics};
use fanfare_core::{Millis, TopicId};
use fanfare_protocol::TopicKey;
use proptest::prelude::*;

const LINGER_MS: u64 = 50;

fn key(name: u8) -> TopicKey {
    TopicKey::parse(&format!("acme:channel:t{name}")).unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter { name: u8, shard: u16 },
    Leave { name: u8, shard: u16 },
    Confirm { name: u8 },
    Refuse { name: u8 },
    TellAnyway { name: u8 },
    LoseAll,
    Expire { after_ms: u64 },
}

/// One topic; its subscribers by shard, with repeats.
#[derive(Debug)]
struct Known {
    id: TopicId,
    subscribers: Vec<u16>,
    is_asked: bool,
    is_confirmed: bool,
    /// Confirmed when all was lost, or told to a subscriber, since the last confirmation.
    owes_gap: bool,
    left_at: Option<u64>,
}

fn step() -> impl Strategy<Value = Step> {
    let (name, shard) = (0_u8..5, 0_u16..3);
    prop_oneof![
        8 => (name.clone(), shard.clone()).prop_map(|(name, shard)| Step::Enter { name, shard }),
        8 => (name.clone(), shard).prop_map(|(name, shard)| Step::Leave { name, shard }),
        3 => name.clone().prop_map(|name| Step::Confirm { name }),
        1 => name.clone().prop_map(|name| Step::Refuse { name }),
        1 => name.prop_map(|name| Step::TellAnyway { name }),
        1 => Just(Step::LoseAll),
        4 => (0_u64..=LINGER_MS).prop_map(|after_ms| Step::Expire { after_ms }),
    ]
}

proptest! {
    #[test]
    fn the_table_knows_each_topic_as_a_plain_list_would(steps in prop::collection::vec(step(), 1..200)) {
        let mut topics = Topics::default();
        let mut model = BTreeMap::<u8, Known>::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Enter { name, shard } => {
                    let (id, entered) = topics.enter(&key(name), ShardId(shard));
                    let known = model.entry(name).or_insert(Known {
                        id, subscribers: Vec::new(), is_asked: false, is_confirmed: false, owes_gap: false, left_at: None,
                    });
                    let expected = match known {
                        Known { is_confirmed: true, .. } => Entered::Confirmed,
                        Known { is_asked: true, .. } => Entered::Waiting,
                        _ => Entered::Unasked,
                    };
                    prop_assert_eq!((id, entered), (known.id, expected));
                    known.subscribers.push(shard);
                    (known.is_asked, known.left_at) = (true, None);
                }
                Step::Leave { name, shard } => {
                    let Some(known) = model.get_mut(&name) else { continue };
                    topics.leave(known.id, ShardId(shard), Millis(now));
                    let Some(place) = known.subscribers.iter().position(|of| *of == shard) else { continue };
                    known.subscribers.remove(place);
                    known.left_at = known.subscribers.is_empty().then_some(now);
                }
                Step::Confirm { name } => {
                    let expected = model.get_mut(&name).map(|known| {
                        known.is_confirmed = true;
                        known.is_asked = true;
                        (known.id, std::mem::take(&mut known.owes_gap))
                    });
                    prop_assert_eq!(topics.confirm(&key(name)), expected);
                }
                // A backplane refuses what it does not deliver.
                Step::Refuse { name } => {
                    let Some(known) = model.get_mut(&name).filter(|known| !known.is_confirmed) else { continue };
                    topics.refuse(known.id);
                    known.is_asked = false;
                }
                Step::TellAnyway { name } => {
                    let Some(known) = model.get_mut(&name).filter(|known| !known.is_confirmed) else { continue };
                    topics.owe_gap(known.id);
                    known.owes_gap = true;
                }
                Step::LoseAll => {
                    topics.lose_all();
                    for known in model.values_mut() {
                        known.owes_gap |= std::mem::take(&mut known.is_confirmed);
                    }
                }
                Step::Expire { after_ms } => {
                    now += after_ms;
                    let expired = topics.expire(Millis(now), LINGER_MS).into_iter().map(|(_, key)| key);
                    let expired: BTreeSet<_> = expired.collect();
                    let is_over = |_: &u8, known: &mut Known| known.left_at.is_some_and(|left| left + LINGER_MS <= now);
                    let expected: BTreeSet<_> = model.extract_if(.., is_over).map(|(name, _)| key(name)).collect();
                    prop_assert_eq!(expired, expected);
                }
            }
            prop_assert_eq!((topics.len(), topics.is_empty()), (model.len(), model.is_empty()));
            for name in 0..5 {
                prop_assert_eq!(topics.find(key(name).as_str()), model.get(&name).map(|known| known.id));
            }
            for (&name, known) in &model {
                prop_assert_eq!(topics.key(known.id), &key(name));
                let mut shards: Vec<_> = topics.shards(known.id).map(|shard| shard.0).collect();
                shards.sort_unstable();
                let expected: BTreeSet<_> = known.subscribers.iter().copied().collect();
                prop_assert_eq!(shards, expected.into_iter().collect::<Vec<_>>());
            }
            let ids: HashSet<_> = model.values().map(|known| known.id).collect();
            prop_assert_eq!(ids.len(), model.len(), "two topics have one number");
            prop_assert!(ids.iter().all(|id| id.index() < 5), "numbers are used again");
        }
    }
}

#[derive(Clone, Debug)]
enum Wait {
    For(Vec<u32>),
    Settle(u32),
    GiveUp,
}

/// A command and how often it was told that a topic is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Command {
    number: usize,
    told: usize,
}

proptest! {
    #[test]
    fn a_command_is_done_once_all_its_topics_are_settled(
        steps in prop::collection::vec(
            prop_oneof![
                10 => prop::collection::vec(0_u32..4, 0..4).prop_map(Wait::For),
                10 => (0_u32..4).prop_map(Wait::Settle),
                1 => Just(Wait::GiveUp),
            ],
            1..100,
        ),
    ) {
        let mut joins = Joins::default();
        // What waits, oldest first, and for what.
        let mut model = Vec::<(Command, Vec<u32>)>::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Wait::For(topics) => {
                    let command = Command { number, told: 0 };
                    let ids: Vec<_> = topics.iter().copied().map(TopicId).collect();
                    let back = joins.wait(command, &ids);
                    prop_assert_eq!(back, Some(command).filter(|_| topics.is_empty()));
                    if !topics.is_empty() {
                        model.push((command, topics));
                    }
                }
                Wait::Settle(topic) => {
                    let done = joins.settle(TopicId(topic), |command| {
                        command.told += 1;
                        true
                    });
                    for (command, topics) in &mut model {
                        let before = topics.len();
                        topics.retain(|waits_for| *waits_for != topic);
                        command.told += before - topics.len();
                    }
                    let expected: Vec<_> = model.extract_if(.., |(_, topics)| topics.is_empty()).map(|(command, _)| command).collect();
                    prop_assert_eq!(done, expected);
                }
                Wait::GiveUp => {
                    let expected: Vec<_> = model.drain(..).map(|(command, _)| command).collect();
                    prop_assert_eq!(joins.take_all(), expected);
                }
            }
        }
        let rest: Vec<_> = model.into_iter().map(|(command, _)| command).collect();
        prop_assert_eq!(joins.take_all(), rest);
    }
}
