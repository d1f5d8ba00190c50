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
mod tests;
