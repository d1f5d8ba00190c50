//! One task that owns the node's table of topics. From one side come the backplane's notices, from the other what
//! connections want; whatever order matters is the order in which this task takes them. It never waits for a connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare_backplane::{Backplane, Inbox, Notice};
use fanfare_core::joins::Joins;
use fanfare_core::topics::{Entered, ShardId, Topics};
use fanfare_core::{Batch, Session, SessionId, TopicId};
use fanfare_protocol::{ErrorCode, Event, TopicKey};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::connection_name::ConnectionNames;
use crate::join::{Join, Outcome};
use crate::metrics::Metrics;
use crate::shard;

/// Commands of connections that may wait for the hub; a connection waits when there are more.
const QUEUE_MAX: usize = 4_096;

/// Notices and commands taken in one go.
const NOTICES_A_TURN: usize = 4_096;
const COMMANDS_A_TURN: usize = 256;

/// What a frame has beside its topic and its envelope, at most: header, field names, a position.
const AROUND_EVENT_BYTES: usize = 100;

/// How often topics without subscribers are looked for.
const EXPIRE_TICK: Duration = Duration::from_millis(250);

/// What a connection tells the hub.
#[derive(Debug)]
pub enum Command {
    /// Subscribe.
    Join(Join),
    /// End subscriptions.
    Leave {
        /// Whose.
        session: Arc<Session>,
        /// Which.
        topics: Vec<TopicId>,
        /// What the client is told after the last event; empty when it has gone.
        answer: Bytes,
    },
}

/// The hub's settings.
#[derive(Clone, Copy, Debug)]
pub struct HubConfig {
    /// The longest envelope, in bytes.
    pub event_bytes_max: usize,
    /// Events are framed together up to so many bytes, so that one batch fits well into any outbox.
    pub batch_bytes_max: usize,
    /// How long a topic outlives its last subscriber, in milliseconds.
    pub unsubscribe_delay_ms: u64,
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
}

/// The hub's task before it runs.
pub struct Hub {
    commands: mpsc::Receiver<Command>,
    config: HubConfig,
    around: Around,
    topics: Topics,
    joins: Joins<Join>,
    is_up: bool,
    arrived: Arrived,
}

/// Events that have been taken and not yet been handed to the shards.
#[derive(Default)]
struct Arrived {
    by_topic: HashMap<TopicId, Vec<(Event, Option<SessionId>)>>,
    order: Vec<TopicId>,
    bytes: usize,
    oldest: Option<Instant>,
}

/// The shard that a session belongs to for life.
fn shard_of(session: SessionId, shards: usize) -> ShardId {
    ShardId(u16::try_from(session.0 % shards as u64).expect("fewer shards than 65,536"))
}

impl Hub {
    /// A hub and the queue to it.
    pub fn new(config: HubConfig, around: Around) -> (mpsc::Sender<Command>, Self) {
        let (sender, commands) = mpsc::channel(QUEUE_MAX);
        let hub = Self {
            commands,
            config,
            around,
            topics: Topics::default(),
            joins: Joins::default(),
            is_up: false,
            arrived: Arrived::default(),
        };
        (sender, hub)
    }

    /// Runs until all connections and the node are gone.
    pub async fn run(mut self) {
        let mut expire_ticks = tokio::time::interval(EXPIRE_TICK);
        expire_ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut notices = Vec::new();
        let mut commands = Vec::new();
        loop {
            tokio::select! {
                count = self.around.inbox.recv_many(&mut notices, NOTICES_A_TURN) => {
                    if count == 0 {
                        return;
                    }
                    for notice in notices.drain(..) {
                        self.notice(notice).await;
                    }
                    self.hand_over().await;
                }
                count = self.commands.recv_many(&mut commands, COMMANDS_A_TURN) => {
                    if count == 0 {
                        return;
                    }
                    for command in commands.drain(..) {
                        self.command(command).await;
                    }
                }
                _ = expire_ticks.tick() => {
                    let expired = self.topics.expire(self.around.clock.now(), self.config.unsubscribe_delay_ms);
                    if !expired.is_empty() {
                        self.around.backplane.unwant(&expired);
                    }
                }
            }
            self.around.metrics.topics(self.topics.len());
        }
    }

    async fn notice(&mut self, notice: Notice) {
        if let Notice::Message { topic, payload, received } = notice {
            self.take(&topic, payload, received);
            if self.arrived.bytes > self.config.batch_bytes_max {
                self.hand_over().await;
            }
            return;
        }
        // What came before it is delivered before it.
        self.hand_over().await;
        match notice {
            Notice::Message { .. } => {}
            Notice::Up { .. } => self.is_up = true,
            Notice::Down { .. } => {
                self.is_up = false;
                self.topics.lose_all();
                for mut join in self.joins.take_all() {
                    join.settle_rest(&Outcome::unavailable());
                    self.finish(join).await;
                }
            }
            Notice::Confirmed(keys) => self.confirmed(&keys).await,
            Notice::Refused { topic, error } => {
                tracing::error!(topic = topic.as_str(), error, "the backplane refuses a topic");
                let Some(id) = self.topics.find(topic.as_str()) else { return };
                self.topics.refuse(id);
                let refused = Outcome::Refused(ErrorCode::Unavailable, "the backplane refuses this topic".to_owned());
                let done = self.joins.settle(id, |join| join.settle(id, &refused));
                // Whoever is subscribed, from before an outage or by the node itself, gets nothing from now on.
                self.tell_gap(vec![id]).await;
                for join in done {
                    self.finish(join).await;
                }
            }
        }
    }

    /// Checks one message and keeps it for the next batch.
    fn take(&mut self, topic: &[u8], payload: Bytes, received: Instant) {
        let Some(id) = std::str::from_utf8(topic).ok().and_then(|key| self.topics.find(key)) else { return };
        let key = self.topics.key(id);
        let payload_bytes = payload.len();
        match Event::decode(payload, self.config.event_bytes_max) {
            Ok(event) => {
                self.around.metrics.event_in(&event.event_type, payload_bytes);
                let except = event.except.as_deref().and_then(|name| self.around.names.session(name));
                self.arrived.bytes += event.envelope.len() + key.topic().len() + AROUND_EVENT_BYTES;
                self.arrived.add(id, event, except, received);
            }
            Err(error) => self.around.metrics.event_invalid(key, &error),
        }
    }

    /// Hands what has arrived to the shards that have subscribers of it.
    async fn hand_over(&mut self) {
        let Some(received) = self.arrived.oldest.take() else { return };
        let mut by_shard = vec![Vec::new(); self.around.shards.len()];
        for id in self.arrived.order.drain(..) {
            let events = self.arrived.by_topic.remove(&id).unwrap_or_default();
            let batch = Arc::new(Batch::new(id, self.topics.key(id).clone(), events));
            for shard in self.topics.shards(id) {
                by_shard[usize::from(shard.0)].push(Arc::clone(&batch));
            }
        }
        self.arrived.bytes = 0;
        for (shard, batches) in self.around.shards.iter().zip(by_shard) {
            if !batches.is_empty() {
                send(shard, shard::Command::Deliver { batches: Arc::new(batches), received }).await;
            }
        }
    }

    async fn confirmed(&mut self, keys: &[TopicKey]) {
        let mut owed = Vec::new();
        let mut done = Vec::new();
        for key in keys {
            let Some((id, owes_gap)) = self.topics.confirm(key) else { continue };
            if owes_gap {
                owed.push(id);
            }
            done.extend(self.joins.settle(id, |join| join.settle(id, &Outcome::Subscribed(id))));
        }
        // Before the joins: who subscribes now has missed nothing.
        if !owed.is_empty() {
            self.tell_gap(owed).await;
        }
        for join in done {
            self.finish(join).await;
        }
    }

    async fn tell_gap(&self, topics: Vec<TopicId>) {
        let topics = Arc::new(topics);
        for shard in &self.around.shards {
            send(shard, shard::Command::Gap(Arc::clone(&topics))).await;
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Join(join) => self.join(join).await,
            Command::Leave { session, topics, answer } => {
                let shard = shard_of(session.id(), self.around.shards.len());
                let now = self.around.clock.now();
                for &topic in &topics {
                    self.topics.leave(topic, shard, now);
                }
                let remove = shard::Command::Remove { session, topics, answer };
                send(&self.around.shards[usize::from(shard.0)], remove).await;
            }
        }
    }

    async fn join(&mut self, mut join: Join) {
        let shard = shard_of(join.session.id(), self.around.shards.len());
        let (mut unasked, mut waiting) = (Vec::new(), Vec::new());
        for item in &mut join.items {
            let Some(key) = item.key_if_wanted() else { continue };
            let (id, entered) = self.topics.enter(&key, shard);
            if entered == Entered::Unasked {
                unasked.push(key);
            }
            match entered {
                Entered::Confirmed => item.outcome = Outcome::Subscribed(id),
                _ if self.is_up => {
                    item.outcome = Outcome::Waiting(id);
                    waiting.push(id);
                }
                _ if join.is_automatic => {
                    // The client can't ask again for what it never asked for: it is subscribed, and owed a gap as soon as
                    // the topic is delivered.
                    self.topics.owe_gap(id);
                    item.outcome = Outcome::Subscribed(id);
                }
                _ => {
                    item.outcome = Outcome::unavailable();
                    self.topics.leave(id, shard, self.around.clock.now());
                }
            }
        }
        if !unasked.is_empty() {
            self.around.backplane.want(&unasked);
        }
        if let Some(join) = self.joins.wait(join, &waiting) {
            self.finish(join).await;
        }
    }

    /// Every topic of the join is settled: the client is told, and its events follow.
    async fn finish(&mut self, mut join: Join) {
        let shard = shard_of(join.session.id(), self.around.shards.len());
        let mut missed = Vec::new();
        for id in join.given_up() {
            if join.is_automatic {
                self.topics.owe_gap(id);
                // One that only waits for the backplane's return is told then.
                missed.extend(Some(id).filter(|id| self.topics.is_refused(*id)));
            } else {
                self.topics.leave(id, shard, self.around.clock.now());
            }
        }
        let topics = join.subscribed().map(|(id, key)| (id, key.clone())).collect();
        let (session, answer) = (Arc::clone(&join.session), join.answer());
        let (added, done) = oneshot::channel();
        join.report(done);
        let add = shard::Command::Add { session, topics, missed, answer, done: added };
        send(&self.around.shards[usize::from(shard.0)], add).await;
    }
}

impl Arrived {
    fn add(&mut self, id: TopicId, event: Event, except: Option<SessionId>, received: Instant) {
        self.oldest.get_or_insert(received);
        let events = self.by_topic.entry(id).or_default();
        if events.is_empty() {
            self.order.push(id);
        }
        events.push((event, except));
    }
}

async fn send(shard: &mpsc::Sender<shard::Command>, command: shard::Command) {
    // A shard ends only with the process.
    let _ = shard.send(command).await;
}
