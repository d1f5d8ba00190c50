//! What a client gets that comes back with the position it had. Deliberately pure: where the events come from, the newest
//! ones of the node or a read of the history, is the caller's business.

use fanfare_core::sequence::{Arrival, History};
use fanfare_protocol::{Codec, Event, GapReason, Kept, Position};

/// The answer to a `since`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// What came after `since`, as far as it is there, in order.
    pub events: Vec<Kept>,
    /// Everything up to here is among the events or told by the reason.
    pub end: Position,
    /// Why the events are not all.
    pub reason: Option<GapReason>,
    /// There are more behind `end` than fit.
    pub more: bool,
}

/// How many bytes of events one answer may still hold. The first event fits always, or nobody would get on.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    codec: Codec,
    bytes: usize,
    is_untouched: bool,
}

/// An event of a history, or the place of one that is not valid.
pub(crate) type Entry = (Position, Option<Kept>);

/// What a read of the history after one position brought.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// The position.
    pub(crate) after: Position,
    /// What is kept after it.
    pub(crate) entries: Vec<Entry>,
    /// Where the topic stood.
    pub(crate) position: Position,
    /// There is more behind the entries.
    pub(crate) more: bool,
}

impl Allowance {
    /// For a new answer in this encoding.
    pub fn new(codec: Codec, bytes: usize) -> Self {
        Self { codec, bytes, is_untouched: true }
    }

    /// Whether this event fits, too.
    pub fn admits(&mut self, event: &Kept) -> bool {
        let bytes = event.frame_bytes(self.codec);
        if bytes > self.bytes && !self.is_untouched {
            self.bytes = 0;
            return false;
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.is_untouched = false;
        true
    }
}

impl Backlog {
    /// From what was read.
    pub(crate) fn new(after: Position, history: History<Event>) -> Self {
        let entry = |arrival: Arrival<Event>| Some((arrival.position?, arrival.event.as_ref().and_then(Kept::new)));
        let entries = history.events.into_iter().filter_map(entry).collect();
        Self { after, entries, position: history.position, more: history.more }
    }

    /// Whether all that is kept after `since`, up to the end of this, is here. What stands after an earlier position of
    /// any epoch has what stands after a later one, as on one server epochs go up.
    pub(crate) fn covers(&self, since: Position) -> bool {
        let is_read = !self.more || self.entries.last().is_some_and(|(last, _)| order(*last) >= order(since));
        since == self.after || order(since) > order(self.after) && is_read
    }

    /// Whether what stands at `at` would be here.
    pub(crate) fn reaches(&self, at: Position) -> bool {
        !self.more && has_reached(self.position, at)
    }
}

impl Recovery {
    /// Nothing is known to be missing, and there is nothing to tell.
    pub(crate) fn complete(at: Position) -> Self {
        Self { events: Vec::new(), end: at, reason: None, more: false }
    }

    /// Nothing is there, for this reason.
    pub(crate) fn nothing(at: Position, reason: GapReason) -> Self {
        Self { events: Vec::new(), end: at, reason: Some(reason), more: false }
    }

    /// From `since` to `at`, by way of `entries`. `is_all`: no entry up to `at` is missing that there is.
    pub(crate) fn assemble(
        since: Position,
        at: Position,
        entries: impl IntoIterator<Item = Entry>,
        is_all: bool,
        allowance: &mut Allowance,
    ) -> Self {
        let mut recovery = Self { events: Vec::new(), end: since, reason: None, more: false };
        if since == Position::NONE {
            recovery.reason = Some(GapReason::Expired);
        } else if since.epoch != at.epoch {
            recovery.reason = Some(GapReason::Epoch);
        }
        for (position, event) in entries {
            if recovery.end == at {
                break;
            }
            // Of a history whose epoch is the lower number all came later.
            let is_older = since.epoch <= at.epoch && order(position) <= order(since);
            if is_older || has_reached(recovery.end, position) {
                continue;
            }
            if event.as_ref().is_some_and(|event| !allowance.admits(event)) {
                recovery.more = true;
                return recovery;
            }
            let is_next = recovery.end.epoch != position.epoch || recovery.end.seq + 1 == position.seq;
            let is_first = recovery.end.epoch == position.epoch || position.seq == 1;
            recovery.lack(!is_next || !is_first, GapReason::Expired);
            recovery.lack(event.is_none(), GapReason::Invalid);
            recovery.events.extend(event);
            recovery.end = position;
        }
        if recovery.end != at && is_all {
            recovery.lack(true, GapReason::Expired);
            recovery.end = at;
        }
        recovery.more = recovery.end != at;
        if recovery.more && recovery.events.is_empty() && recovery.reason.is_some() {
            // Asking on from where the client is would bring the same again: what it lacks is told, and no more.
            recovery.more = false;
            recovery.end = at;
        }
        recovery
    }

    /// Goes on to `at` with what came since it was put together.
    pub(crate) fn extend(&mut self, at: Position, entries: impl IntoIterator<Item = Entry>, allowance: &mut Allowance) {
        if self.more || self.end == at {
            return;
        }
        let rest = Self::assemble(self.end, at, entries, false, allowance);
        if rest.reason.is_some() {
            // The client asks on, and is told then.
            self.more = true;
            return;
        }
        self.events.extend(rest.events);
        self.end = rest.end;
        self.more = rest.more;
    }

    fn lack(&mut self, is_so: bool, reason: GapReason) {
        if is_so {
            self.reason.get_or_insert(reason);
        }
    }
}

/// How positions of one server stand to each other.
fn order(position: Position) -> (u64, u64) {
    (position.epoch, position.seq)
}

/// Whether a topic that stands at `at` has had `position`, as far as one epoch tells.
fn has_reached(at: Position, position: Position) -> bool {
    at.epoch == position.epoch && position.seq <= at.seq
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use bytes::Bytes;

    fn at(epoch: u64, seq: u64) -> Position {
        Position { epoch, seq }
    }

    fn entry(position: Position) -> Entry {
        let event = Event::decode(Bytes::from_static(br#"{"type":"t"}"#), 1_000).unwrap();
        (position, Kept::new(&Event { position: Some(position), ..event }))
    }

    fn recover(since: Position, to: Position, entries: &[Entry]) -> Recovery {
        Recovery::assemble(since, to, entries.to_vec(), true, &mut Allowance::new(Codec::Json, usize::MAX))
    }

    fn seqs(recovery: &Recovery) -> Vec<u64> {
        recovery.events.iter().map(|event| event.position.seq).collect()
    }

    #[test]
    fn what_came_since_is_recovered_when_all_of_it_is_there() {
        let entries = [2, 3, 4].map(|seq| entry(at(7, seq)));
        let recovery = recover(at(7, 2), at(7, 4), &entries);
        assert_eq!((seqs(&recovery), recovery.reason, recovery.end), (vec![3, 4], None, at(7, 4)));
        assert!(!recovery.more);
        let recovery = recover(at(7, 2), at(7, 3), &entries);
        assert_eq!(seqs(&recovery), [3], "what comes later comes live");
    }

    #[test]
    fn what_is_not_there_any_more_is_told_with_what_is() {
        let recovery = recover(at(7, 1), at(7, 4), &[entry(at(7, 3)), entry(at(7, 4))]);
        assert_eq!((seqs(&recovery), recovery.reason), (vec![3, 4], Some(GapReason::Expired)));
        let recovery = recover(at(7, 1), at(7, 4), &[]);
        assert_eq!((recovery.reason, recovery.end, recovery.more), (Some(GapReason::Expired), at(7, 4), false));
        let recovery = recover(at(7, 1), at(7, 3), &[entry(at(7, 2)), (at(7, 3), None)]);
        assert_eq!((seqs(&recovery), recovery.reason), (vec![2], Some(GapReason::Invalid)));
    }

    #[test]
    fn another_epoch_is_a_change_whichever_number_is_higher() {
        for (old, new) in [(7, 9), (9, 7)] {
            let recovery = recover(at(old, 5), at(new, 2), &[entry(at(new, 1)), entry(at(new, 2))]);
            assert_eq!((seqs(&recovery), recovery.reason), (vec![1, 2], Some(GapReason::Epoch)));
        }
        let recovery = recover(Position::NONE, at(7, 1), &[entry(at(7, 1))]);
        assert_eq!((seqs(&recovery), recovery.reason), (vec![1], Some(GapReason::Expired)));
    }

    #[test]
    fn who_was_in_an_older_epoch_gets_what_came_after_it_from_a_longer_list() {
        let entries = [at(5, 8), at(6, 1), at(6, 2), at(7, 1)].map(entry);
        let recovery = recover(at(6, 1), at(7, 1), &entries);
        assert_eq!((seqs(&recovery), recovery.reason), (vec![2, 1], Some(GapReason::Epoch)));
    }

    #[test]
    fn what_does_not_fit_is_asked_for_from_the_last_event_on() {
        let entries: Vec<_> = (1..=4).map(|seq| entry(at(7, seq))).collect();
        let one = entries[0].1.as_ref().unwrap().frame_bytes(Codec::Json);
        let mut allowance = Allowance::new(Codec::Json, 2 * one);
        let recovery = Recovery::assemble(at(7, 0), at(7, 4), entries.clone(), true, &mut allowance);
        assert_eq!((seqs(&recovery), recovery.reason, recovery.end, recovery.more), (vec![1, 2], None, at(7, 2), true));
        let recovery = Recovery::assemble(at(7, 0), at(7, 4), entries.clone(), true, &mut allowance);
        assert_eq!((seqs(&recovery), recovery.more), (vec![], true), "another topic of the same answer");
        let recovery = Recovery::assemble(at(7, 0), at(7, 4), entries, true, &mut Allowance::new(Codec::Json, 0));
        assert_eq!((seqs(&recovery), recovery.more), (vec![1], true), "one event always fits");
    }

    #[test]
    fn what_came_meanwhile_is_added() {
        let allowance = &mut Allowance::new(Codec::Json, usize::MAX);
        let mut recovery = recover(at(7, 2), at(7, 3), &[entry(at(7, 3))]);
        recovery.extend(at(7, 4), [entry(at(7, 4))], allowance);
        assert_eq!((seqs(&recovery), recovery.end, recovery.more), (vec![3, 4], at(7, 4), false));
        recovery.extend(at(7, 6), [entry(at(7, 6))], allowance);
        assert_eq!((seqs(&recovery), recovery.reason, recovery.more), (vec![3, 4], None, true), "asks on");
    }

    #[test]
    fn one_read_serves_all_who_were_further_on() {
        let backlog = |more| Backlog {
            after: at(7, 2),
            entries: vec![entry(at(7, 3)), entry(at(7, 4))],
            position: at(7, 9),
            more,
        };
        for (since, covered, covered_in_part) in [
            (at(7, 2), true, true),
            (at(7, 4), true, true),
            (at(7, 5), true, false),
            (at(7, 1), false, false),
            (at(6, 3), false, false),
            (at(8, 1), true, false),
        ] {
            assert_eq!(
                (backlog(false).covers(since), backlog(true).covers(since)),
                (covered, covered_in_part),
                "{since}"
            );
        }
        assert!(
            backlog(false).reaches(at(7, 9)) && !backlog(true).reaches(at(7, 4)) && !backlog(false).reaches(at(8, 1))
        );
    }
}
