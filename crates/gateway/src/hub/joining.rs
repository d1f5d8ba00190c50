//! The hub's side of subscribing: a join waits until each of its topics is confirmed, its place is known and what the client
//! missed is at hand; then it is answered, and its events follow.

use std::sync::Arc;

use fanfare_core::TopicId;
use fanfare_core::topics::Entered;
use fanfare_protocol::{GapReason, Position};
use tokio::sync::oneshot;

use super::handing_over::send;
use super::reads::{Purpose, Wanted};
use super::recovery::{Allowance, Backlog, Recovery};
use super::{Histories, Hub, shard_of};
use crate::join::{Item, Join, Outcome};
use crate::own_channels::Heard;
use crate::shard;

/// How long a subscribe waits for the backplane, in milliseconds: long enough for a failover.
const JOIN_TIMEOUT_MS: u64 = 10_000;

impl Hub {
    /// Takes a subscribe command.
    pub(super) async fn join(&mut self, mut join: Join) {
        let shard = shard_of(join.session.id(), self.around.shards.len());
        join.since = self.around.clock.now();
        let (mut unasked, mut waiting, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for item in &mut join.items {
            let Some(key) = item.key_if_wanted() else { continue };
            let (id, entered) = match (item.is_new, self.topics.find(key.as_str())) {
                (false, Some(id)) if self.topics.is_refused(id) => {
                    item.outcome = Outcome::refused_by_backplane();
                    continue;
                }
                // Nobody is counted in it, so nobody is subscribed.
                (false, None) => {
                    item.outcome = Outcome::unavailable();
                    continue;
                }
                (false, Some(id)) => (id, Entered::Confirmed),
                (true, _) => self.topics.enter(&key, shard),
            };
            if entered == Entered::Unasked {
                unasked.push(key.clone());
            }
            item.outcome = Outcome::Waiting(id);
            if let Some(of) = item.presence_of() {
                self.presences.open(id, of);
                if self.is_up && entered == Entered::Confirmed {
                    item.outcome = Outcome::Subscribed(id);
                    continue;
                }
            }
            if self.is_up && item.presence_of().is_some() {
                waiting.push(id);
            } else if self.is_up {
                if !settle(&mut self.histories, id, item, None, &mut join.allowance) {
                    waiting.push(id);
                    if let Some(since) = item.since.filter(|_| self.histories.at(id) == Position::NONE) {
                        let wanted = self.wanted_since.entry(id).or_insert(since);
                        *wanted = older(*wanted, since);
                    }
                    missing.extend(item.since.filter(|_| self.histories.is_live(id)).map(|since| (id, since)));
                }
            } else if join.is_automatic {
                // The client can't ask again for what it never asked for: it is subscribed, and told what it missed as soon
                // as the topic is delivered.
                self.be_blind(id);
                item.outcome = Outcome::Subscribed(id);
            } else {
                item.outcome = Outcome::unavailable();
                if item.is_new {
                    self.topics.leave(id, shard, self.around.clock.now());
                }
            }
        }
        if !unasked.is_empty() {
            self.around.backplane.want(&unasked);
        }
        for (id, since) in missing {
            self.read_back(id, since);
        }
        if let Some(join) = self.joins.wait(join, &waiting) {
            self.finish(join).await;
        }
    }

    /// Something is new about a topic: whoever waits for it may be answered now.
    pub(super) async fn settle_joins(&mut self, id: TopicId, backlog: Option<&Backlog>) {
        if !self.joins.is_awaited(id) {
            return;
        }
        let histories = &mut self.histories;
        // The one that was away the longest has what all others miss, too.
        let mut missing: Option<Position> = None;
        let done = self.joins.settle(id, |join| {
            let Some(item) = join.items.iter_mut().find(|item| item.waits_for(id)) else { return true };
            let is_settled = settle(histories, id, item, backlog, &mut join.allowance);
            if !is_settled && let Some(since) = item.since {
                missing = Some(missing.map_or(since, |missing| older(missing, since)));
            }
            is_settled
        });
        for join in done {
            self.finish(join).await;
        }
        if let Some(since) = missing.filter(|_| self.histories.is_live(id)) {
            self.read_back(id, since);
        }
    }

    /// A topic that is not delivered for so long is not waited for any longer.
    pub(super) async fn expire_joins(&mut self) {
        let now = self.around.clock.now();
        for mut join in self.joins.expire(|join| now.since(join.since) > JOIN_TIMEOUT_MS) {
            join.give_up_rest(&Outcome::unavailable());
            self.finish(join).await;
        }
    }

    /// What clients missed can't be read: they are subscribed, and told that something may be missing.
    pub(super) async fn settle_unrecovered(&mut self, id: TopicId) {
        let histories = &self.histories;
        let done = self.joins.settle(id, |join| {
            let Some(item) = join.items.iter_mut().find(|item| item.waits_for(id)) else { return true };
            let is_ready = histories.is_ready(id);
            if is_ready {
                item.outcome = Outcome::Subscribed(id);
            }
            is_ready
        });
        for join in done {
            self.finish(join).await;
        }
    }

    /// Nothing can be had of a topic now: whoever waits for it is told so.
    pub(super) async fn refuse_joins(&mut self, id: TopicId, why: &Outcome) {
        let done = self.joins.settle(id, |join| {
            join.give_up(id, why);
            true
        });
        for join in done {
            self.finish(join).await;
        }
    }

    /// Asks for what a client missed, unless that is on its way for another one: then it is looked at again.
    fn read_back(&mut self, id: TopicId, since: Position) {
        if self.reading_back.insert(id) {
            let key = self.topics.key(id).clone();
            self.reads.want(Wanted { topic: id, key, after: Some(since), purpose: Purpose::Recovery });
        }
    }

    /// Every topic of the join is settled: the client is told, and its events follow.
    pub(super) async fn finish(&mut self, mut join: Join) {
        // What has come by now stands before the answer, or an event could follow that the answer has counted in.
        self.hand_over().await;
        let shard = shard_of(join.session.id(), self.around.shards.len());
        let mut missed = Vec::new();
        for id in join.given_up() {
            if join.is_automatic {
                self.topics.owe_gap(id);
                self.be_blind(id);
                // One that only waits for the backplane's return is told then.
                missed.extend(Some(id).filter(|id| self.topics.is_refused(*id)));
            } else {
                self.topics.leave(id, shard, self.around.clock.now());
            }
        }
        for id in join.settle_presences() {
            self.topics.leave(id, shard, self.around.clock.now());
        }
        let mut allowance = join.allowance;
        for item in &mut join.items {
            let Outcome::Subscribed(id) = item.outcome else { continue };
            if let Some(of) = item.presence_of() {
                let owner = &join.owner;
                self.around.presence.enter(of, &owner.user, join.session.id(), owner.info.as_ref());
                continue;
            }
            item.position = self.histories.at(id);
            item.is_durable_alone = self.rules.of(id, &self.topics).is_durable_alone();
            match &mut item.recovery {
                Some(recovery) => self.histories.extend(id, recovery, &mut allowance),
                None if item.since.is_some() => {
                    item.recovery = Some(Recovery::nothing(item.position, GapReason::Backplane));
                }
                None => {}
            }
        }
        let topics = join.subscribed().map(|(id, key)| (id, key.clone())).collect();
        let (session, answer) = (Arc::clone(&join.session), join.answer());
        let (added, done) = oneshot::channel();
        join.report(done);
        let add = shard::Command::Add { session, topics, missed, answer, done: added };
        send(&self.around.shards[usize::from(shard.0)], add).await;
    }

    /// A presence channel is confirmed: whoever waits for it may be answered.
    pub(super) async fn settle_presence(&mut self, id: TopicId) {
        let done = self.joins.settle(id, |join| {
            if let Some(item) = join.items.iter_mut().find(|item| item.waits_for(id)) {
                item.outcome = Outcome::Subscribed(id);
            }
            true
        });
        for join in done {
            self.finish(join).await;
        }
    }

    /// A subscriber is told that it is subscribed while nothing is known of the topic.
    fn be_blind(&mut self, id: TopicId) {
        if self.presences.is_one(id) {
            self.topics.owe_gap(id);
        } else {
            self.histories.be_blind(id);
        }
    }

    /// The backplane refuses a topic.
    pub(super) async fn refused(&mut self, key: &str, error: &str) {
        tracing::error!(topic = key, error, "the backplane refuses a topic");
        let Some(id) = self.topics.find(key) else {
            return self.around.own_channels.tell(key, Heard::Refused(error.to_owned())).await;
        };
        self.topics.refuse(id);
        // Whoever is subscribed, from before an outage or by the node itself, gets nothing from now on.
        self.tell_gap(vec![id]).await;
        self.refuse_joins(id, &Outcome::refused_by_backplane()).await;
    }
}

/// The one who was there has missed more.
fn older(one: Position, other: Position) -> Position {
    if (one.epoch, one.seq) < (other.epoch, other.seq) { one } else { other }
}

/// Settles one topic of a join if all that it needs is there.
fn settle(
    histories: &mut Histories,
    id: TopicId,
    item: &mut Item,
    backlog: Option<&Backlog>,
    allowance: &mut Allowance,
) -> bool {
    let is_settled = match item.since {
        _ if !histories.is_ready(id) => false,
        None => true,
        // While a hole is filled, where the topic stands is about to change.
        Some(_) if !histories.is_live(id) => false,
        Some(since) => {
            item.recovery = histories.recover(id, since, backlog, allowance);
            item.recovery.is_some()
        }
    };
    if is_settled {
        item.outcome = Outcome::Subscribed(id);
    }
    is_settled
}
