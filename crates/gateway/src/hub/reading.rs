//! The hub's side of histories: what sequences ask for is read, and the answer goes to the sequence, to clients that come
//! back, or settles a doubt.

use std::time::Instant;

use fanfare_backplane::Tail;
use fanfare_core::TopicId;
use fanfare_core::sequence::Verdict;
use fanfare_protocol::{Event, Position};

use super::reads::{Answer, Purpose, Wanted};
use super::recovery::Backlog;
use super::{Hub, histories};
use crate::join::Outcome;

/// Doubts about one topic that wait for the same read; who makes up more of them gets one gap for all.
const DOUBTS_MAX: usize = 64;

/// What is known of a topic whose history can't be read.
const UNKNOWN: Tail = Tail { position: Position::NONE, events: Vec::new(), more: false };

impl Hub {
    /// Does what a sequence has found out.
    pub(super) fn judged(&mut self, id: TopicId, verdict: Verdict) {
        // For nearly every event there is nothing to count, and the counters are shared by all of the node's threads.
        if verdict.repeated > 0 || verdict.unfounded > 0 {
            self.around.metrics.positions_dropped(verdict.repeated, verdict.unfounded);
        }
        if verdict.ask.is_some() {
            self.around.metrics.hole();
            self.read(id);
        }
    }

    /// An event that is another one than was told at its position: the history knows which one is the topic's.
    pub(super) fn doubt(&mut self, id: TopicId, position: Option<Position>, event: Option<&Event>) {
        let Some(told) = self.histories.contradicted(id, position, event) else { return };
        let after = Position { seq: told.position.seq.saturating_sub(1), ..told.position };
        let doubts = self.doubts.entry(id).or_default();
        if doubts.len() < DOUBTS_MAX {
            doubts.push(told);
        }
        if doubts.len() == 1 {
            let key = self.topics.key(id).clone();
            self.reads.want(Wanted { topic: id, key, after: Some(after), purpose: Purpose::Doubt });
        }
    }

    /// Asks for what the topic's sequence needs.
    pub(super) fn read(&mut self, id: TopicId) {
        if let Some(ask) = self.histories.asks(id) {
            let key = self.topics.key(id).clone();
            let after = ask.after.or_else(|| self.wanted_since.remove(&id));
            self.reads.want(Wanted { topic: id, key, after, purpose: Purpose::Sequence(ask.round) });
        }
    }

    /// Where events were asked for, all that was published before they were read has to come first.
    pub(super) async fn answered(&mut self, answers: Vec<Answer>) {
        let is_plain = |answer: &Answer| answer.wanted.after.is_none() || answer.result.is_err();
        let (plain, fenced): (Vec<_>, Vec<_>) = answers.into_iter().partition(is_plain);
        if !fenced.is_empty() && self.is_up {
            self.last_fence += 1;
            self.fenced.insert(self.last_fence, fenced);
            self.around.backplane.fence(self.last_fence);
        }
        self.apply_all(plain).await;
    }

    pub(super) async fn apply_all(&mut self, answers: Vec<Answer>) {
        for answer in answers {
            self.apply(answer).await;
            self.hand_over_much().await;
        }
    }

    async fn apply(&mut self, answer: Answer) {
        let Answer { wanted: Wanted { topic: id, key, after, purpose }, result } = answer;
        if purpose == Purpose::Recovery {
            self.reading_back.remove(&id);
        }
        if self.topics.find(key.as_str()) != Some(id) {
            return;
        }
        let tail = match result {
            Ok(tail) => tail,
            Err(error) => {
                self.around.metrics.history_unreadable(&key, &error);
                match purpose {
                    Purpose::Recovery if error.is_lasting() => return self.settle_unrecovered(id).await,
                    Purpose::Recovery => return self.refuse_joins(id, &Outcome::unreadable()).await,
                    // What is not found out counts as unproven.
                    Purpose::Doubt => UNKNOWN,
                    // Ephemeral events need no history; of durable ones nothing can be proven.
                    Purpose::Sequence(round) if self.histories.asks(id).is_none_or(|ask| ask.round != round) => return,
                    Purpose::Sequence(_) if error.is_lasting() => UNKNOWN,
                    Purpose::Sequence(_) => {
                        self.failed.push(id);
                        return self.refuse_joins(id, &Outcome::unreadable()).await;
                    }
                }
            }
        };
        let metrics = &self.around.metrics;
        let invalid =
            |(error, traceparent): &histories::Invalid| metrics.event_invalid(&key, error, (*traceparent).into());
        let history = histories::check(tail, self.rules.of(id, &self.topics).event_bytes_max, invalid);
        match purpose {
            Purpose::Sequence(round) => {
                // Where the topic stood was not known: what was read after some position is for clients that come back.
                let after = after.filter(|_| self.histories.at(id) == Position::NONE);
                self.wanted_since.remove(&id);
                let backlog = after.map(|after| Backlog::new(after, history.clone()));
                let verdict = self.histories.fill(id, round, history, &mut self.told);
                self.judged(id, verdict);
                self.tell_all(id, Instant::now());
                if let Some(backlog) = &backlog {
                    self.histories.remember(id, backlog);
                }
                self.settle_joins(id, backlog.as_ref()).await;
            }
            Purpose::Doubt => {
                for told in self.doubts.remove(&id).unwrap_or_default() {
                    let gap = self.histories.resolve(id, &told, &history);
                    self.told.extend(gap);
                }
                self.tell_all(id, Instant::now());
            }
            Purpose::Recovery => {
                let backlog = Backlog::new(after.unwrap_or(Position::NONE), history);
                self.histories.remember(id, &backlog);
                self.settle_joins(id, Some(&backlog)).await;
            }
        }
    }
}
