//! Which topics are wanted, what Redis knows of them, and so what must be sent next. A state machine without I/O.
//!
//! At most one command is on its way for a topic, until Redis has confirmed that topic. What is wanted may change
//! meanwhile, as often as it likes: the confirmation decides what comes next, so the end is always what was wanted last.

use std::collections::{HashMap, VecDeque};

use fanfare_protocol::TopicKey;

/// The topics of one node on one connection after the other.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    topics: HashMap<TopicKey, Entry>,
    /// Topics to look at when a command can be sent, each at most once here or in `suspects`.
    queue: VecDeque<TopicKey>,
    /// Topics of a refused command: sent one by one, to find out which it was.
    suspects: VecDeque<TopicKey>,
    is_connected: bool,
    /// How many topics, wanted when the connection came up, are not settled yet.
    owed: usize,
    last_round: Round,
}

/// Tells the commands of one round of sending from those of others: part of a command may be confirmed, and the topic be
/// in the next one, before all of it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Round(u64);

#[derive(Debug)]
struct Entry {
    is_wanted: bool,
    stage: Stage,
    is_queued: bool,
    /// Counted in `Subscriptions::owed`.
    is_owed: bool,
    /// When its last command was sent.
    round: Round,
}

/// What Redis knows of a topic on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Out,
    Joining,
    In,
    Leaving,
    Refused,
}

/// What to send now.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pub(super) subscribe: Vec<TopicKey>,
    pub(super) unsubscribe: Vec<TopicKey>,
    pub(super) round: Round,
}

/// What a confirmed subscription means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// The node waits for it.
    Tell(TopicKey),
    /// Meanwhile it isn't wanted any more.
    Unwanted,
    /// It was never sent.
    Unexpected,
}

impl Subscriptions {
    /// From now on the topic is wanted. True if it is subscribed already, so that this is its confirmation.
    pub(super) fn want(&mut self, topic: &TopicKey) -> bool {
        let Some(entry) = self.topics.get_mut(topic) else {
            self.topics.insert(topic.clone(), Entry::new());
            self.enqueue(topic);
            return false;
        };
        let is_back = !entry.is_wanted;
        entry.is_wanted = true;
        match entry.stage {
            Stage::In => return is_back,
            Stage::Joining | Stage::Leaving => {}
            Stage::Out | Stage::Refused => {
                entry.stage = Stage::Out;
                self.enqueue(topic);
            }
        }
        false
    }

    /// The topic isn't wanted any more.
    pub(super) fn unwant(&mut self, topic: &TopicKey) {
        let Some(entry) = self.topics.get_mut(topic) else {
            return;
        };
        entry.is_wanted = false;
        match entry.stage {
            Stage::In => self.enqueue(topic),
            Stage::Joining | Stage::Leaving => {}
            Stage::Out | Stage::Refused => {
                // A queued one goes when its turn comes, or it could stand in the queue twice.
                if !entry.is_queued {
                    self.remove(topic);
                }
            }
        }
    }

    /// A connection stands: everything wanted must be subscribed.
    pub(super) fn connected(&mut self) {
        self.is_connected = true;
        self.owed = self.topics.len();
        for (topic, entry) in &mut self.topics {
            entry.is_queued = true;
            entry.is_owed = true;
            self.queue.push_back(topic.clone());
        }
    }

    /// The connection is gone, and with it all that Redis knew.
    pub(super) fn lost(&mut self) {
        self.is_connected = false;
        self.queue.clear();
        self.suspects.clear();
        self.owed = 0;
        self.topics.retain(|_, entry| entry.is_wanted);
        for entry in self.topics.values_mut() {
            *entry = Entry::new();
        }
    }

    /// What to send now, at most `limit` topics in a command. Both empty: nothing.
    pub(super) fn next_commands(&mut self, limit: usize) -> Commands {
        self.last_round.0 += 1;
        let mut commands = Commands { round: self.last_round, ..Commands::default() };
        while commands.subscribe.is_empty()
            && let Some(topic) = self.suspects.pop_front()
        {
            self.decide(topic, &mut commands);
        }
        if !commands.subscribe.is_empty() {
            return commands;
        }
        while commands.subscribe.len() < limit
            && commands.unsubscribe.len() < limit
            && let Some(topic) = self.queue.pop_front()
        {
            self.decide(topic, &mut commands);
        }
        commands
    }

    /// Redis has confirmed a subscription.
    pub(super) fn confirmed(&mut self, topic: &str) -> Confirmation {
        let Some((key, _)) = self.topics.get_key_value(topic) else {
            return Confirmation::Unexpected;
        };
        let key = key.clone();
        match self.topics.get_mut(topic) {
            Some(entry) if entry.stage == Stage::Joining => {
                entry.stage = Stage::In;
                self.owed -= usize::from(std::mem::take(&mut entry.is_owed));
                if entry.is_wanted {
                    return Confirmation::Tell(key);
                }
                self.enqueue(&key);
                Confirmation::Unwanted
            }
            _ => Confirmation::Unexpected,
        }
    }

    /// Redis has confirmed the end of a subscription. False if that was never sent.
    pub(super) fn left(&mut self, topic: &str) -> bool {
        let Some((key, entry)) = self.topics.get_key_value(topic) else {
            return false;
        };
        if entry.stage != Stage::Leaving {
            return false;
        }
        let key = key.clone();
        match self.topics.get_mut(topic) {
            Some(entry) if entry.is_wanted => {
                entry.stage = Stage::Out;
                self.enqueue(&key);
            }
            _ => self.remove(&key),
        }
        true
    }

    /// Redis has ended a subscription by itself, because the slot is another primary's now. True if it stood; it is not sent
    /// again before it is wanted again.
    pub(super) fn taken(&mut self, topic: &str) -> bool {
        match self.topics.get_mut(topic) {
            Some(entry) if entry.stage == Stage::In => {
                entry.stage = Stage::Out;
                true
            }
            _ => false,
        }
    }

    /// Does Redis deliver the topic, or may it still?
    pub(super) fn holds(&self, topic: &TopicKey) -> bool {
        self.topics.get(topic).is_some_and(|entry| matches!(entry.stage, Stage::Joining | Stage::In | Stage::Leaving))
    }

    /// The key of a topic that is known, by its text.
    pub(super) fn key(&self, text: &str) -> Option<TopicKey> {
        self.topics.get_key_value(text).map(|(key, _)| key.clone())
    }

    /// Is the topic wanted?
    pub(super) fn wants(&self, topic: &TopicKey) -> bool {
        self.topics.get(topic).is_some_and(|entry| entry.is_wanted)
    }

    /// The topics that are wanted and confirmed.
    pub(super) fn delivered(&self) -> Vec<TopicKey> {
        let is_delivered = |entry: &Entry| entry.is_wanted && entry.stage == Stage::In;
        self.topics.iter().filter(|(_, entry)| is_delivered(entry)).map(|(topic, _)| topic.clone()).collect()
    }

    /// Redis has refused a subscription as a whole. Returns the topic if that settles it; the topics of a longer
    /// command are tried one by one.
    pub(super) fn refused(&mut self, topics: Vec<TopicKey>) -> Option<TopicKey> {
        let is_one = topics.len() == 1;
        for topic in topics {
            let Some(entry) = self.topics.get_mut(&topic) else {
                continue;
            };
            if !is_one {
                entry.stage = Stage::Out;
                entry.is_queued = true;
                self.suspects.push_back(topic);
            } else if entry.is_wanted {
                entry.stage = Stage::Refused;
                self.owed -= usize::from(std::mem::take(&mut entry.is_owed));
                return Some(topic);
            } else {
                self.remove(&topic);
            }
        }
        None
    }

    /// Redis has refused to end subscriptions, so they go on. Returns those that are wanted again.
    pub(super) fn kept(&mut self, topics: Vec<TopicKey>) -> Vec<TopicKey> {
        let mut wanted = topics;
        wanted.retain(|topic| match self.topics.get_mut(topic) {
            Some(entry) => {
                entry.stage = Stage::In;
                entry.is_wanted
            }
            None => false,
        });
        wanted
    }

    /// Has a command of this round still not been confirmed for one of its topics?
    pub(super) fn awaits_any(&self, topics: &[TopicKey], round: Round) -> bool {
        let awaits = |entry: &Entry| entry.round == round && matches!(entry.stage, Stage::Joining | Stage::Leaving);
        topics.iter().any(|topic| self.topics.get(topic).is_some_and(awaits))
    }

    /// Has every topic that was wanted when the connection came up been confirmed, refused or given up?
    pub(super) fn is_complete(&self) -> bool {
        self.is_connected && self.owed == 0
    }

    /// How many topics are known.
    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    fn enqueue(&mut self, topic: &TopicKey) {
        if let Some(entry) = self.topics.get_mut(topic)
            && self.is_connected
            && !entry.is_queued
        {
            entry.is_queued = true;
            self.queue.push_back(topic.clone());
        }
    }

    /// A topic has left its queue: what it needs depends on how things stand now.
    fn decide(&mut self, topic: TopicKey, commands: &mut Commands) {
        let Some(entry) = self.topics.get_mut(&topic) else {
            return;
        };
        entry.is_queued = false;
        match (entry.stage, entry.is_wanted) {
            (Stage::Out, true) => {
                entry.stage = Stage::Joining;
                entry.round = commands.round;
                commands.subscribe.push(topic);
            }
            (Stage::In, false) => {
                entry.stage = Stage::Leaving;
                entry.round = commands.round;
                commands.unsubscribe.push(topic);
            }
            (Stage::Out | Stage::Refused, false) => self.remove(&topic),
            (Stage::In | Stage::Refused, true) | (Stage::Joining | Stage::Leaving, _) => {}
        }
    }

    fn remove(&mut self, topic: &TopicKey) {
        if let Some(entry) = self.topics.remove(topic) {
            self.owed -= usize::from(entry.is_owed);
        }
    }
}

impl Entry {
    fn new() -> Entry {
        Entry { is_wanted: true, stage: Stage::Out, is_queued: false, is_owed: false, round: Round::default() }
    }
}

#[cfg(test)]
mod tests {
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
}
