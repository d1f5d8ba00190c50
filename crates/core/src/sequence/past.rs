//! A history while a sequence goes through it, beside what came on the topic's channel meanwhile. Deliberately without the
//! sequence's own state: it says what a history vouches for, and tells what stands in it.

use std::cmp::Ordering;
use std::collections::VecDeque;

use fanfare_protocol::{GapReason, Position};

use super::{Arrival, History, Told, Verdict, before, gap, is_known, order, tell};

/// What a history says of the claim that an event stands at some position.
#[derive(PartialEq)]
pub(super) enum Claim {
    /// It was told already.
    Known,
    /// It follows what was told last.
    Next,
    /// It may stand in the part that has not been read.
    Unread,
    /// The topic had reached that position.
    Founded,
    /// It had not, and should have.
    Unfounded,
    /// It had not: the event came after the history was read.
    Later,
}

/// A history while it is gone through.
pub(super) struct Past<E> {
    pub(super) events: VecDeque<Arrival<E>>,
    position: Position,
    pub(super) has_more: bool,
    pub(super) is_unbroken: bool,
}

impl<E> Past<E> {
    pub(super) fn new(history: History<E>, is_unbroken: bool) -> Self {
        let has_more = history.more && !history.events.is_empty();
        Self { events: history.events.into(), position: history.position, has_more, is_unbroken }
    }

    /// Whether the history could not be read.
    pub(super) fn is_unknown(&self) -> bool {
        self.position == Position::NONE && self.events.is_empty()
    }

    /// Drops every claim to a position that is followed, on the channel, by an event that stands before it: who publishes
    /// durable events does it in order. Returns what is left, and how many of those came before the read was asked for.
    pub(super) fn sift(
        &self,
        at: Position,
        held: Vec<Arrival<E>>,
        asked_with: usize,
        verdict: &mut Verdict,
    ) -> (Vec<Arrival<E>>, usize) {
        let mut end = at;
        let mut is_sure = |position: Position| {
            let is_next = end == before(position);
            end = if is_next { position } else { end };
            is_next
                || self.events.binary_search_by_key(&Some(order(position)), |event| event.position.map(order)).is_ok()
        };
        let sure: Vec<_> = held.iter().map(|arrival| arrival.position.is_some_and(&mut is_sure)).collect();
        let mut lowest = None;
        let mut left = (VecDeque::with_capacity(held.len()), 0);
        for (index, arrival) in held.into_iter().enumerate().rev() {
            if let Some(position) = arrival.position {
                let is_lower = lowest.is_none_or(|lowest| order(position) < order(lowest));
                if !is_lower && !is_known(at, position) {
                    verdict.unfounded += 1;
                    continue;
                }
                lowest = if sure[index] { Some(position) } else { lowest };
            }
            left.0.push_front(arrival);
            left.1 += usize::from(index < asked_with);
        }
        (left.0.into(), left.1)
    }

    /// How the claim that an event stands at `position` agrees with this history, for a topic that has told what is up to
    /// `at`. `was_before`: it was made before the history was read. On one server epochs go up.
    pub(super) fn judge(&self, at: Position, position: Position, was_before: bool) -> Claim {
        let is_reached = order(position) <= order(self.position);
        // On an unbroken subscription a whole epoch may have come that is over and gone from the history by now.
        let is_gone = self.is_unbroken && position.epoch > at.epoch;
        let is_founded = is_reached && (is_gone || position.epoch == self.position.epoch);
        let is_read = self.count_before(position) < self.events.len();
        let has_one = self.events.iter().any(|event| event.position.is_some_and(|at| is_known(at, position)));
        match () {
            () if is_known(at, position) => Claim::Known,
            () if at == before(position) => Claim::Next,
            () if self.has_more && !is_read => Claim::Unread,
            () if has_one || is_founded => Claim::Founded,
            () if was_before || is_reached => Claim::Unfounded,
            () => Claim::Later,
        }
    }

    /// How many of the events come before the position.
    pub(super) fn count_before(&self, position: Position) -> usize {
        let is_later = |at: Position| at.epoch > position.epoch || is_known(at, position);
        let is_at_or_after = |event: &Arrival<E>| event.position.is_some_and(is_later);
        self.events.iter().position(is_at_or_after).unwrap_or(self.events.len())
    }

    /// Tells the first `count` events, of which those up to `at` are known; returns where the topic stands then.
    pub(super) fn walk(&mut self, at: Position, count: usize, told: &mut Vec<Told<E>>) -> Position {
        let mut at = at;
        let rest = self.events.split_off(count.min(self.events.len()));
        for event in std::mem::replace(&mut self.events, rest) {
            let Some(position) = event.position.filter(|&position| !is_known(at, position)) else { continue };
            self.reach(at, before(position), told);
            tell(position, event.event, told);
            at = position;
        }
        at
    }

    /// Tells all that is left, up to the end.
    pub(super) fn finish(&mut self, at: Position, told: &mut Vec<Told<E>>) -> Position {
        let at = self.walk(at, usize::MAX, told);
        if is_known(at, self.position) { at } else { self.end(at, told) }
    }

    /// The topic had reached this end when it was read, and nothing stands in the history between it and `at`.
    pub(super) fn end(&self, at: Position, told: &mut Vec<Told<E>>) -> Position {
        if self.position == Position::NONE {
            told.push(gap(GapReason::Backplane, Some(at), None));
            return self.position;
        }
        self.reach(at, self.position, told)
    }

    /// The topic goes from `from` to `to` with nothing between them in its history.
    pub(super) fn reach(&self, from: Position, to: Position, told: &mut Vec<Told<E>>) -> Position {
        let reason = match (from.epoch == to.epoch, from.seq.cmp(&to.seq)) {
            (true, Ordering::Equal) => return to,
            (true, Ordering::Less) => GapReason::Expired,
            // On an unbroken subscription nothing of the old epoch can be missing, and nothing of the new one yet.
            (false, _) if self.is_unbroken && to.seq == 0 => return to,
            // A different history, or one that has lost its end.
            _ => GapReason::Epoch,
        };
        told.push(gap(reason, Some(from), Some(to)));
        to
    }
}
