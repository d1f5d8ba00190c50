//! Random histories against a Redis of a few lines, and the cases that deserve a name. No real Redis: that is what the
//! crate's own tests are for.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// Fewer topics than steps, so that steps meet.
const TOPICS: usize = 6;
/// Few enough that commands split.
const LIMIT: usize = 3;

/// A Redis that answers in order and denies some channels, and a node that believes what it is told.
#[derive(Default)]
struct World {
    subscriptions: Subscriptions,
    wanted: HashSet<TopicKey>,
    denied: HashSet<TopicKey>,
    is_connected: bool,
    sent: VecDeque<Command>,
    /// Confirmed in full, and not looked at yet.
    answered: Vec<Command>,
    /// Who Redis would deliver to.
    subscribed: HashSet<TopicKey>,
    /// What the node holds for confirmed since it last wanted it, and for refused.
    confirmed: HashSet<TopicKey>,
    refused: HashSet<TopicKey>,
}

struct Command {
    is_subscribe: bool,
    topics: Vec<TopicKey>,
    confirmed: usize,
    round: Round,
}

#[derive(Debug, Clone)]
enum Step {
    Want(usize),
    Unwant(usize),
    Send,
    /// Redis confirms one topic, or refuses a command.
    Answer,
    /// The node looks at the answers to whole commands.
    Check,
    Connect,
    Lose,
}

fn topic(number: usize) -> TopicKey {
    TopicKey::parse(&format!("acme:channel:{number}")).unwrap()
}

impl World {
    fn take(&mut self, step: &Step) {
        match *step {
            Step::Want(number) => self.want(topic(number)),
            Step::Unwant(number) => self.unwant(&topic(number)),
            Step::Send => self.send(),
            Step::Answer => self.answer(),
            Step::Check => self.check(),
            Step::Connect => self.connect(),
            Step::Lose => self.lose(),
        }
    }

    fn want(&mut self, topic: TopicKey) {
        self.refused.remove(&topic);
        if self.subscriptions.want(&topic) {
            assert!(self.subscribed.contains(&topic), "told as confirmed, and Redis does not know it");
            assert!(self.confirmed.insert(topic.clone()), "told twice");
        }
        self.wanted.insert(topic);
    }

    fn unwant(&mut self, topic: &TopicKey) {
        self.subscriptions.unwant(topic);
        self.wanted.remove(topic);
        self.confirmed.remove(topic);
        self.refused.remove(topic);
    }

    fn connect(&mut self) {
        if !self.is_connected {
            self.is_connected = true;
            self.subscriptions.connected();
        }
    }

    fn lose(&mut self) {
        if self.is_connected {
            self.is_connected = false;
            self.subscriptions.lost();
            self.sent.clear();
            self.answered.clear();
            self.subscribed.clear();
            self.confirmed.clear();
            self.refused.clear();
        }
    }

    fn send(&mut self) {
        let commands = self.subscriptions.next_commands(LIMIT);
        assert!(commands.subscribe.len() <= LIMIT && commands.unsubscribe.len() <= LIMIT);
        let unconfirmed = self.sent.iter().flat_map(|command| &command.topics[command.confirmed..]);
        let on_their_way: HashSet<_> = unconfirmed.collect();
        for topic in commands.subscribe.iter().chain(&commands.unsubscribe) {
            assert!(!on_their_way.contains(topic), "two commands on their way for {topic:?}");
        }
        for (is_subscribe, topics) in [(true, commands.subscribe), (false, commands.unsubscribe)] {
            if !topics.is_empty() {
                let command = Command { is_subscribe, topics, confirmed: 0, round: commands.round };
                self.sent.push_back(command);
            }
        }
    }

    fn answer(&mut self) {
        let Some(mut command) = self.sent.pop_front() else {
            return;
        };
        if command.is_subscribe && command.topics.iter().any(|topic| self.denied.contains(topic)) {
            if let Some(topic) = self.subscriptions.refused(command.topics) {
                assert!(self.denied.contains(&topic) && self.wanted.contains(&topic));
                self.refused.insert(topic);
            }
            return;
        }
        let topic = command.topics[command.confirmed].clone();
        command.confirmed += 1;
        if command.is_subscribe {
            self.confirm(&topic);
        } else {
            self.subscribed.remove(&topic);
            assert!(self.subscriptions.left(topic.as_str()));
        }
        if command.confirmed < command.topics.len() {
            assert!(self.subscriptions.awaits_any(&command.topics, command.round));
            self.sent.push_front(command);
        } else {
            self.answered.push(command);
        }
    }

    fn confirm(&mut self, topic: &TopicKey) {
        self.subscribed.insert(topic.clone());
        match self.subscriptions.confirmed(topic.as_str()) {
            Confirmation::Tell(told) => {
                assert_eq!(told, *topic);
                assert!(self.confirmed.insert(told), "told twice");
            }
            Confirmation::Unwanted => assert!(!self.wanted.contains(topic)),
            Confirmation::Unexpected => panic!("it was sent"),
        }
    }

    fn check(&mut self) {
        for command in self.answered.drain(..) {
            assert!(!self.subscriptions.awaits_any(&command.topics, command.round), "all of it was confirmed");
        }
    }

    fn settle(&mut self) {
        self.connect();
        for _ in 0..1_000 {
            self.send();
            if self.sent.is_empty() {
                self.check();
                return;
            }
            self.answer();
        }
        panic!("it never comes to rest");
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..TOPICS).prop_map(Step::Want),
        4 => (0..TOPICS).prop_map(Step::Unwant),
        3 => Just(Step::Send),
        6 => Just(Step::Answer),
        1 => Just(Step::Check),
        1 => Just(Step::Connect),
        1 => Just(Step::Lose),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn ends_with_what_was_wanted_last(steps in steps(), denied in prop::collection::hash_set(0..TOPICS, 0..3)) {
        let denied: HashSet<_> = denied.into_iter().map(topic).collect();
        let mut world = World { denied: denied.clone(), ..World::default() };
        for step in &steps {
            world.take(step);
        }
        world.settle();
        let allowed: HashSet<_> = world.wanted.difference(&denied).cloned().collect();
        let refused: HashSet<_> = world.wanted.intersection(&denied).cloned().collect();
        prop_assert_eq!(&world.subscribed, &allowed);
        prop_assert_eq!(&world.confirmed, &allowed);
        prop_assert_eq!(&world.refused, &refused);
        prop_assert!(world.subscriptions.is_complete());
        prop_assert_eq!(world.subscriptions.len(), world.wanted.len());
    }
}

#[test]
fn is_complete_when_all_that_was_wanted_at_the_start_is_settled() {
    let mut subscriptions = Subscriptions::default();
    for number in 0..4 {
        subscriptions.want(&topic(number));
    }
    assert!(!subscriptions.is_complete(), "not connected");
    subscriptions.connected();
    subscriptions.unwant(&topic(0));
    while !subscriptions.next_commands(1).subscribe.is_empty() {}
    assert!(!subscriptions.is_complete(), "three are on their way");
    subscriptions.confirmed(topic(1).as_str());
    subscriptions.refused(vec![topic(2)]);
    assert!(!subscriptions.is_complete(), "one is on its way");
    subscriptions.confirmed(topic(3).as_str());
    assert!(subscriptions.is_complete());
    subscriptions.want(&topic(9));
    assert!(subscriptions.is_complete(), "what is wanted later does not count");
    subscriptions.lost();
    assert!(!subscriptions.is_complete());
}

#[test]
fn keeps_nothing_of_what_comes_and_goes_while_redis_is_away() {
    let mut subscriptions = Subscriptions::default();
    for number in 0..100 {
        subscriptions.want(&topic(number));
        subscriptions.unwant(&topic(number));
    }
    assert_eq!(subscriptions.len(), 0);
    assert!(subscriptions.queue.is_empty());
}

#[test]
fn asks_at_most_once_for_a_topic_that_comes_and_goes() {
    let mut subscriptions = Subscriptions::default();
    subscriptions.connected();
    for _ in 0..100 {
        subscriptions.want(&topic(1));
        subscriptions.unwant(&topic(1));
    }
    assert_eq!(subscriptions.queue.len(), 1);
    subscriptions.want(&topic(1));
    assert_eq!(subscriptions.next_commands(LIMIT).subscribe, [topic(1)]);
    assert!(subscriptions.next_commands(LIMIT).subscribe.is_empty());
}

#[test]
fn goes_on_with_a_subscription_that_redis_does_not_let_go() {
    let mut subscriptions = Subscriptions::default();
    subscriptions.connected();
    subscriptions.want(&topic(1));
    subscriptions.want(&topic(2));
    subscriptions.next_commands(LIMIT);
    for number in [1, 2] {
        assert_eq!(subscriptions.confirmed(topic(number).as_str()), Confirmation::Tell(topic(number)));
        subscriptions.unwant(&topic(number));
    }
    let leaving = subscriptions.next_commands(LIMIT).unsubscribe;
    subscriptions.want(&topic(1));
    assert_eq!(subscriptions.kept(leaving), [topic(1)]);
    assert!(subscriptions.want(&topic(2)), "still subscribed");
}

#[test]
fn knows_a_confirmation_that_nobody_asked_for() {
    let mut subscriptions = Subscriptions::default();
    subscriptions.connected();
    assert_eq!(subscriptions.confirmed("acme:channel:1"), Confirmation::Unexpected);
    assert!(!subscriptions.left("acme:channel:1"));
    subscriptions.want(&topic(1));
    assert_eq!(subscriptions.confirmed("acme:channel:1"), Confirmation::Unexpected);
}
