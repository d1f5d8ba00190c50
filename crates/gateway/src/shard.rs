//! One task that owns the subscriber lists of its share of the connections and writes events to them. Everything that
//! changes a list comes through its queue, so a `subscribed` is ordered against events without a lock.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare_core::gaps::Gaps;
use fanfare_core::sequence::Gap;
use fanfare_core::{Batch, Pushed, Registry, Session, TopicId, frame};
use fanfare_protocol::{ChannelKind, GapReason, Lost, TopicKey};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::sessions::Sessions;
use crate::traces::Deliveries;
use fanfare_core::Budget;

/// Commands that may wait for a shard, one of them events. The hub waits when there are more, and with it whoever subscribes.
const QUEUE_MAX: usize = 64;

/// After so many deliveries the connections' own tasks get their turn.
const DELIVERIES_A_TURN: usize = 64;

/// How often gap notices that are due are sent.
const GAP_TICK_MS: u64 = 20;

/// What everybody is told whose subscription was interrupted.
const EPHEMERAL_LOST: Gap = Gap { lost: Lost::Ephemeral, reason: GapReason::Backplane, since: None, position: None };

/// What the hub tells a shard.
#[derive(Debug)]
pub enum Command {
    /// Events that arrived together, a batch for each topic.
    Deliver {
        /// At most one for each topic.
        batches: Vec<Arc<Batch>>,
        /// When the oldest of them came from the backplane.
        received: Instant,
        /// The spans of their events, where any is traced.
        deliveries: Option<Arc<Deliveries>>,
        /// Until it is given back, the hub hands over nothing more.
        turn: OwnedSemaphorePermit,
    },
    /// A session's subscriptions stand.
    Add {
        /// Whose.
        session: Arc<Session>,
        /// Which.
        topics: Vec<(TopicId, TopicKey)>,
        /// Those of them that the backplane refuses: the client gets nothing of them from the start.
        missed: Vec<TopicId>,
        /// What the client is told first.
        answer: Bytes,
        /// Told when it is done.
        done: oneshot::Sender<()>,
    },
    /// A session's subscriptions end.
    Remove {
        /// Whose.
        session: Arc<Session>,
        /// Which.
        topics: Vec<TopicId>,
        /// What the client is told after the last event; empty when it has gone.
        answer: Bytes,
    },
    /// Ephemeral events of these topics may have been missed.
    Gap(Arc<Vec<TopicId>>),
}

/// A shard's task before it runs.
pub struct Shard {
    commands: mpsc::Receiver<Command>,
    registry: Registry,
    gaps: Gaps,
    around: Around,
}

/// What all shards share.
#[derive(Clone)]
pub struct Around {
    /// The node's clock.
    pub clock: Arc<Clock>,
    /// Where deliveries are counted.
    pub metrics: Arc<Metrics>,
    /// All sessions, of which some are closed when the budget is passed.
    pub sessions: Arc<Sessions>,
    /// Of all outboxes together.
    pub budget: Arc<Budget>,
    /// How far gap notices are spread.
    pub gap_spread_ms: u64,
    /// What may wait for one client.
    pub outbox_bytes_max: usize,
}

/// What one pass over the subscribers did.
#[derive(Default)]
struct Tally {
    deliveries: u64,
    gaps: u64,
    /// Who comes and goes.
    presence: u64,
    written_bytes: u64,
    overflowed: u64,
    closed: u64,
    since_yield: usize,
}

impl Shard {
    /// A shard and the queue to it.
    pub fn new(around: Around) -> (mpsc::Sender<Command>, Self) {
        let (sender, commands) = mpsc::channel(QUEUE_MAX);
        (sender, Self { commands, registry: Registry::default(), gaps: Gaps::default(), around })
    }

    /// Runs until the hub is gone.
    pub async fn run(mut self) {
        let mut gap_ticks = tokio::time::interval(Duration::from_millis(GAP_TICK_MS));
        // It rests while nobody is owed anything; what it missed meanwhile is not made up for.
        gap_ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Gaps first: a busy shard always has a next command.
                biased;
                _ = gap_ticks.tick(), if !self.gaps.is_empty() => self.tell_gaps(),
                command = self.commands.recv() => match command {
                    Some(command) => self.handle(command).await,
                    None => return,
                },
            }
        }
    }

    async fn handle(&mut self, command: Command) {
        let now = self.around.clock.now();
        match command {
            Command::Deliver { batches, received, deliveries, turn } => {
                self.deliver(&batches, deliveries.as_deref()).await;
                self.around.metrics.fan_out(received.elapsed());
                drop(turn);
            }
            Command::Add { session, topics, missed, answer, done } => {
                self.around.metrics.answered(session.send_bytes(answer, now));
                for (topic, name) in &topics {
                    let before = self.registry.count(*topic);
                    self.registry.add(*topic, name, &session);
                    if missed.contains(topic) {
                        self.gaps.owe(&session, (*topic, name), now, self.around.gap_spread_ms);
                    }
                    if !is_presence(name) {
                        self.around.metrics.subscribed(self.registry.count(*topic) - before);
                    }
                }
                // The connection may have gone meanwhile; it takes back what it finds here.
                let _ = done.send(());
            }
            Command::Remove { session, topics, answer } => {
                for topic in topics {
                    let before = self.registry.count(topic);
                    let is_counted = self.registry.name(topic).is_some_and(|name| !is_presence(name));
                    self.registry.remove(topic, session.id());
                    if is_counted {
                        self.around.metrics.unsubscribed(before - self.registry.count(topic));
                    }
                }
                if !answer.is_empty() {
                    self.around.metrics.answered(session.send_bytes(answer, now));
                }
            }
            Command::Gap(topics) => {
                for &topic in topics.iter() {
                    let Some(name) = self.registry.name(topic) else { continue };
                    for session in self.registry.sessions(topic) {
                        self.gaps.owe(session, (topic, name), now, self.around.gap_spread_ms);
                    }
                }
            }
        }
    }

    /// Who gets events of several topics takes all of them first and is written to once.
    async fn deliver(&self, batches: &[Arc<Batch>], deliveries: Option<&Deliveries>) {
        if let Some(deliveries) = deliveries {
            deliveries.take();
        }
        let mut tally = Tally::default();
        // Until the last of them is delivered, this borrows the lists: nobody is added or removed.
        self.registry.announce(batches);
        let mut now = self.around.clock.now();
        for batch in batches {
            let lost_before = tally.lost();
            for session in self.registry.sessions(batch.topic()) {
                let pushed = session.deliver(batch, now);
                tally.deliveries += batch.events() as u64;
                tally.gaps += batch.gaps() as u64;
                tally.presence += (batch.len() - batch.events() - batch.gaps()) as u64;
                tally.count(pushed);
                if tally.is_turn_over() {
                    tokio::task::yield_now().await;
                    now = self.around.clock.now();
                }
            }
            if let Some(deliveries) = deliveries {
                let (topic, lost) = (batch.topic(), tally.lost() - lost_before);
                let reached = self.registry.count(topic).saturating_sub(lost);
                deliveries.reached(topic, reached, |session| self.registry.contains(topic, session));
            }
        }
        self.around.metrics.delivered(tally.deliveries, tally.written_bytes);
        self.around.metrics.gaps(tally.gaps);
        self.around.metrics.presence_told(tally.presence);
        self.around.metrics.overflowed(tally.overflowed);
        if self.around.budget.excess_bytes() > 0 {
            let closed = self.around.sessions.shed(&self.around.budget);
            self.around.metrics.limit_reached("outbox_node_bytes_max", closed as u64);
            tracing::warn!(
                closed,
                "outboxes of all clients together are full: the largest were closed (outbox_node_bytes_max)"
            );
        }
    }

    fn tell_gaps(&mut self) {
        let now = self.around.clock.now();
        while let Some(owed) = self.gaps.next_due(now) {
            let codec = owed.session.codec();
            let mut told = Vec::new();
            // Of a topic and its presence one notice is enough.
            let mut told_topics = HashSet::new();
            for (&topic, name) in &owed.topics {
                // It may have unsubscribed while the notice waited.
                if !self.registry.contains(topic, owed.session.id()) || self.registry.name(topic) != Some(name) {
                    continue;
                }
                // A client of thousands of topics is told in parts: all notices at once might not fit into its outbox.
                if owed.session.outbox().waiting_bytes() + told.len() > self.around.outbox_bytes_max / 4 {
                    self.gaps.owe(&owed.session, (topic, name), now + GAP_TICK_MS, 0);
                    continue;
                }
                if told_topics.insert(name.topic()) {
                    frame::put_message(&mut told, codec, &EPHEMERAL_LOST.frame(name).encode(codec));
                    self.around.metrics.gaps(1);
                }
            }
            if !told.is_empty() {
                self.around.metrics.answered(owed.session.send_bytes(told.into(), now));
            }
        }
    }
}

/// Whether it is a channel of who comes and goes. It belongs to the subscription of its topic.
fn is_presence(name: &TopicKey) -> bool {
    matches!(name.channel_kind(), ChannelKind::Presence(_))
}

impl Tally {
    fn count(&mut self, pushed: Pushed) {
        match pushed {
            Pushed::Written(bytes) | Pushed::Waiting(bytes) => self.written_bytes += bytes as u64,
            Pushed::Overflowed => self.overflowed += 1,
            Pushed::Closed => self.closed += 1,
        }
    }

    /// Clients that were handed something and don't get it.
    fn lost(&self) -> usize {
        usize::try_from(self.overflowed + self.closed).unwrap_or(usize::MAX)
    }

    fn is_turn_over(&mut self) -> bool {
        self.since_yield += 1;
        if self.since_yield < DELIVERIES_A_TURN {
            return false;
        }
        self.since_yield = 0;
        true
    }
}
