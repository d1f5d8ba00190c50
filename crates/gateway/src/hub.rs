//! One task that owns the node's table of topics. From one side come the backplane's notices, from the other what
//! connections want; whatever order matters is the order in which this task takes them. It never waits for a connection.

mod arrived;
mod handing_over;
mod histories;
mod joining;
mod presences;
mod reading;
mod reads;
mod recovery;
mod topic_rules;
mod turns;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare_backplane::{Backplane, Inbox, Notice, ReadLimits};
use fanfare_core::joins::Joins;
use fanfare_core::sequence::Told;
use fanfare_core::topics::{ShardId, Topics};
use fanfare_core::{Session, SessionId, TopicId};
use fanfare_protocol::{EnvelopeError, Event, Kept, Position, TopicKey, payload};
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use self::arrived::Arrived;
use self::handing_over::send;
use self::histories::Histories;
pub use self::histories::checked;
use self::presences::Presences;
use self::reads::{Answer, Reads};
pub use self::recovery::{Allowance, Recovery};
use self::topic_rules::TopicRules;
use self::turns::Turns;
use crate::auth::Principal;
use crate::clock::Clock;
use crate::config::Rules;
use crate::connection_name::ConnectionNames;
use crate::join::{Join, Outcome};
use crate::metrics::Metrics;
use crate::own_channels::{Heard, OwnChannels};
use crate::presence::Presence;
use crate::shard;
use crate::traces::Traces;

/// Commands of connections that may wait for the hub; a connection waits when there are more.
const QUEUE_MAX: usize = 4_096;

/// Notices and commands taken in one go.
const NOTICES_A_TURN: usize = 4_096;
const COMMANDS_A_TURN: usize = 256;

/// How often topics without subscribers are looked for, and reads that failed are made again.
const TICK: Duration = Duration::from_millis(250);

/// Events of one topic in one read.
const READ_EVENTS_MAX: usize = 1_000;

/// What a connection tells the hub.
#[derive(Debug)]
pub enum Command {
    /// Subscribe.
    Join(Join),
    /// End subscriptions.
    Leave {
        /// Whose.
        session: Arc<Session>,
        /// And whose that is; none before it was known.
        owner: Option<Arc<Principal>>,
        /// Which, presence channels among them.
        topics: Vec<TopicId>,
        /// What the client is told after the last event; empty when it has gone.
        answer: Bytes,
    },
}

/// The hub's settings.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Events are framed together up to so many bytes, so that one batch fits well into any outbox.
    pub batch_bytes_max: usize,
    /// How long a topic outlives its last subscriber, in milliseconds.
    pub unsubscribe_delay_ms: u64,
    /// Durable events kept for clients that come back, in bytes for the whole node.
    pub recent_bytes_max: usize,
    /// What holds for which topics.
    pub rules: Arc<Rules>,
    /// What may wait for one client, in bytes. As much of a topic's events may wait for its history; half of it is read at
    /// once.
    pub outbox_bytes_max: usize,
    /// Of a topic with more users only their number is told.
    pub presence_told_max: u64,
    /// How long at most more events are waited for, where that saves writes: see `hub::turns`.
    pub gather_max: Duration,
}

/// What the hub works with.
pub struct Around {
    /// Where topics come from.
    pub backplane: Backplane,
    /// What the backplane says.
    pub inbox: Inbox,
    /// One queue for each shard.
    pub shards: Vec<mpsc::Sender<shard::Command>>,
    /// The node's clock.
    pub clock: Arc<Clock>,
    /// Where events are counted.
    pub metrics: Arc<Metrics>,
    /// Whose name is whose number.
    pub names: Arc<ConnectionNames>,
    /// Who listens to what is no topic.
    pub own_channels: Arc<OwnChannels>,
    /// Who is there by the connections of this node.
    pub presence: Arc<Presence>,
    /// Which events are traced.
    pub traces: Traces,
}

/// The hub's task before it runs.
pub struct Hub {
    commands: mpsc::Receiver<Command>,
    config: HubConfig,
    around: Around,
    topics: Topics,
    rules: TopicRules,
    histories: Histories,
    presences: Presences,
    joins: Joins<Join>,
    is_up: bool,
    arrived: Arrived,
    turns: Turns,
    /// For what a sequence says; empty between events.
    told: Vec<Told<Event>>,
    reads: Reads,
    /// Topics whose history is read for clients that come back.
    reading_back: HashSet<TopicId>,
    /// What clients that come back want of topics that are not known yet: the first read brings it along.
    wanted_since: HashMap<TopicId, Position>,
    /// What was told where another event claims to stand, while the history is read.
    doubts: HashMap<TopicId, Vec<Kept>>,
    /// Answers that wait until all that was published before them has come.
    fenced: HashMap<u64, Vec<Answer>>,
    last_fence: u64,
    /// Topics whose read failed, to be read again.
    failed: Vec<TopicId>,
}

/// The shard that a session belongs to for life.
fn shard_of(session: SessionId, shards: usize) -> ShardId {
    ShardId(u16::try_from(session.0 % shards as u64).expect("fewer shards than 65,536"))
}

impl Hub {
    /// A hub and the queue to it.
    pub fn new(config: HubConfig, around: Around) -> (mpsc::Sender<Command>, Self) {
        let (sender, commands) = mpsc::channel(QUEUE_MAX);
        let limits = ReadLimits { events_max: READ_EVENTS_MAX, bytes_max: config.outbox_bytes_max / 2 };
        let hub = Self {
            turns: Turns::new(around.shards.len(), config.gather_max),
            commands,
            reads: Reads::new(around.backplane.clone(), limits),
            around,
            topics: Topics::default(),
            rules: TopicRules::new(Arc::clone(&config.rules)),
            histories: Histories::new(config.recent_bytes_max, config.outbox_bytes_max),
            presences: Presences::new(config.presence_told_max),
            config,
            joins: Joins::default(),
            is_up: false,
            arrived: Arrived::default(),
            told: Vec::new(),
            reading_back: HashSet::new(),
            wanted_since: HashMap::new(),
            doubts: HashMap::new(),
            fenced: HashMap::new(),
            last_fence: 0,
            failed: Vec::new(),
        };
        (sender, hub)
    }

    /// Runs until all connections and the node are gone.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut notices = Vec::new();
        let mut commands = Vec::new();
        // What the backplane had to say at the start comes before the first client.
        self.around.inbox.recv_many(&mut notices, NOTICES_A_TURN).now_or_never();
        for notice in notices.drain(..) {
            self.notice(notice).await;
        }
        loop {
            tokio::select! {
                // While shards are at work, events gather, and then each client is written to once. Before the inbox, which
                // under load is always ready: the choice begins anywhere, goes round and takes the first that is.
                turns = self.turns.next(self.arrived.density()), if !self.arrived.is_empty() => self.hand_over_with(turns).await,
                count = self.around.inbox.recv_many(&mut notices, NOTICES_A_TURN) => {
                    if count == 0 {
                        return self.hand_over().await;
                    }
                    for notice in notices.drain(..) {
                        self.notice(notice).await;
                    }
                }
                count = self.commands.recv_many(&mut commands, COMMANDS_A_TURN) => {
                    if count == 0 {
                        // Nobody is left whom what has arrived could be handed to.
                        return;
                    }
                    for command in commands.drain(..) {
                        self.command(command).await;
                    }
                }
                answers = self.reads.next() => self.answered(answers).await,
                _ = ticks.tick() => self.tick().await,
            }
            self.reads.start();
            self.around.metrics.topics(self.topics.len() - self.presences.len());
        }
    }

    async fn tick(&mut self) {
        // Topics that end here may have some.
        self.hand_over().await;
        let expired = self.topics.expire(self.around.clock.now(), self.config.unsubscribe_delay_ms);
        if !expired.is_empty() {
            let (ids, keys): (Vec<_>, Vec<_>) = expired.into_iter().unzip();
            for id in ids {
                self.histories.forget(id);
                self.rules.forget(id);
                self.presences.close(id);
                self.wanted_since.remove(&id);
                self.doubts.remove(&id);
                self.reading_back.remove(&id);
            }
            self.around.backplane.unwant(&keys);
        }
        for id in std::mem::take(&mut self.failed) {
            self.read(id);
        }
        self.expire_joins().await;
        self.tell_counts();
        self.around.metrics.recent_bytes(self.histories.recent_bytes());
    }

    async fn notice(&mut self, notice: Notice) {
        if let Notice::Message { topic, payload, received } = notice {
            let key = std::str::from_utf8(&topic).unwrap_or_default();
            match self.topics.find(key) {
                Some(id) if self.presences.is_one(id) => self.take_change(id, &payload, received),
                Some(id) => self.take(id, payload, received),
                None => self.around.own_channels.tell(key, Heard::Message(payload)).await,
            }
            return self.hand_over_much().await;
        }
        match notice {
            Notice::Message { .. } => {}
            Notice::Up { .. } => self.is_up = true,
            Notice::Down { .. } => self.lose_all().await,
            // Who waits for one of them waits for its next confirmation.
            Notice::Lost(keys) => {
                for key in keys {
                    match self.topics.find(key.as_str()) {
                        Some(id) => {
                            self.topics.lose(id);
                            self.histories.lose(id);
                        }
                        None => self.around.own_channels.tell(key.as_str(), Heard::Lost).await,
                    }
                }
            }
            Notice::Confirmed(keys) => self.confirmed(&keys).await,
            Notice::Refused { topic, error } => self.refused(topic.as_str(), &error).await,
            Notice::Fence(number) => {
                let answers = self.fenced.remove(&number).unwrap_or_default();
                self.apply_all(answers).await;
            }
        }
    }

    async fn lose_all(&mut self) {
        self.is_up = false;
        self.around.own_channels.lose_all().await;
        self.topics.lose_all();
        self.histories.lose_all();
        self.fenced.clear();
        self.reading_back.clear();
        self.wanted_since.clear();
        self.doubts.clear();
        self.failed.clear();
        self.reads.give_up();
        for mut join in self.joins.take_all() {
            join.give_up_rest(&Outcome::unavailable());
            self.finish(join).await;
        }
    }

    /// Checks one message and keeps it for the next batch.
    fn take(&mut self, id: TopicId, payload: Bytes, received: Instant) {
        let payload_bytes = payload.len();
        let has_place = payload.first() == Some(&b'@');
        if !has_place && self.topics.is_idle(id) {
            // There is nobody to tell, and no history would have it for who comes next.
            return;
        }
        // Even a durable event that is not valid has its place.
        let position = if has_place { payload::position(&payload) } else { None };
        let rule = self.rules.of(id, &self.topics);
        let event = match Event::decode_traced(payload, rule.event_bytes_max) {
            Ok(event) if position.is_none() && rule.is_durable_alone() => {
                let error = EnvelopeError::NotDurable;
                self.around.metrics.event_invalid(self.topics.key(id), &error, event.traceparent.into());
                None
            }
            Ok(event) => {
                let tenant = self.topics.key(id).tenant();
                self.around.metrics.event_in(tenant, &event.event_type, payload_bytes);
                Some(event)
            }
            Err((error, traceparent)) => {
                self.around.metrics.event_invalid(self.topics.key(id), &error, traceparent.into());
                None
            }
        };
        match event {
            Some(event) if position.is_none() && self.histories.is_live(id) => {
                self.tell(id, Told::Event(event), received);
            }
            None if position.is_none() => {}
            event => {
                self.doubt(id, position, event.as_ref());
                let verdict = self.histories.take(id, position, event, &mut self.told);
                self.judged(id, verdict);
                self.tell_all(id, received);
            }
        }
    }

    fn tell_all(&mut self, id: TopicId, received: Instant) {
        let mut told = std::mem::take(&mut self.told);
        for told in told.drain(..) {
            self.tell(id, told, received);
        }
        self.told = told;
    }

    fn tell(&mut self, id: TopicId, told: Told<Event>, received: Instant) {
        let (except, delivery) = match &told {
            Told::Event(event) => {
                let except = event.except.as_deref().and_then(|name| self.around.names.session(name));
                let topic = (id, self.topics.key(id));
                (except, self.around.traces.delivery(topic, event, except, received))
            }
            Told::Gap(_) => (None, None),
        };
        self.arrived.add(id, (told.into(), except.into()), delivery, received);
    }

    async fn confirmed(&mut self, keys: &[TopicKey]) {
        let (mut owed, mut presences) = (Vec::new(), Vec::new());
        for key in keys {
            let Some((id, owes_gap)) = self.topics.confirm(key) else {
                self.around.own_channels.tell(key.as_str(), Heard::Confirmed).await;
                continue;
            };
            if self.presences.is_one(id) {
                owed.extend(Some(id).filter(|_| owes_gap));
                presences.push(id);
                continue;
            }
            // An outage can't cost a topic of durable events alone any that its history doesn't have.
            if owes_gap && !self.rules.of(id, &self.topics).is_durable_alone() {
                owed.push(id);
            }
            self.histories.confirm(id);
            self.read(id);
        }
        // Before the joins: who subscribes now has missed nothing.
        if !owed.is_empty() {
            self.tell_gap(owed).await;
        }
        for id in presences {
            self.settle_presence(id).await;
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Join(join) => self.join(join).await,
            Command::Leave { session, owner, topics, answer } => {
                if !answer.is_empty() {
                    // The client gets what came before the answer.
                    self.hand_over().await;
                }
                let shard = shard_of(session.id(), self.around.shards.len());
                let now = self.around.clock.now();
                for &topic in &topics {
                    if let (Some(of), Some(owner)) = (self.presences.topic(topic), &owner) {
                        self.around.presence.leave(of, &owner.user, session.id());
                    }
                    self.topics.leave(topic, shard, now);
                }
                let remove = shard::Command::Remove { session, topics, answer };
                send(&self.around.shards[usize::from(shard.0)], remove).await;
            }
        }
    }
}
