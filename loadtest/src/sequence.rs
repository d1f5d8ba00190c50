//! What one client has received of one channel: nothing lost, nothing twice, nothing out of order, or exactly how much.
//! Not a judgement: a hole that a gap notice covers is counted apart, and the report decides.

/// The state of one client on one channel. While all goes well it is one number; holes are kept on the heap.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    /// The number that comes next.
    next: u64,
    /// What excuses a hole before the next event.
    told: Excuse,
    /// What was skipped and has not come later, oldest first. At most one for every two events published.
    #[expect(clippy::box_collection, reason = "8 bytes for each client that has no hole, not 24")]
    holes: Option<Box<Vec<Hole>>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Hole {
    from: u64,
    /// Exclusive.
    to: u64,
    excuse: Excuse,
}

/// Why a hole is no silent loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Excuse {
    #[default]
    None,
    /// A gap notice covers it.
    Gap,
    /// The client was not connected, and nothing was promised of that time.
    Away,
}

/// How an event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next one, or a later one; what was skipped is remembered as a hole.
    InOrder,
    /// It fills a hole: all events are there, but not in their order.
    Late,
    /// It was there already.
    Duplicate,
}

/// What has not come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Not there, and nobody said so.
    pub(crate) lost: u64,
    /// Not there, and a gap notice told the client.
    pub(crate) covered: u64,
    /// Not there, and the client was away.
    pub(crate) away: u64,
    /// Not there, and Redis never confirmed that it took the event.
    pub(crate) unconfirmed: u64,
}

impl Sequence {
    /// Takes note of an event.
    #[inline]
    pub(crate) fn take(&mut self, seq: u64) -> Arrival {
        if seq < self.next {
            return self.fill(seq);
        }
        if seq > self.next {
            let hole = Hole { from: self.next, to: seq, excuse: self.told };
            self.holes.get_or_insert_default().push(hole);
        }
        self.next = seq + 1;
        self.told = Excuse::None;
        Arrival::InOrder
    }

    /// Takes note of a gap notice. It covers what is missing up to now, and what turns out to be missing right before
    /// the next event; it does not excuse anything later.
    pub(crate) fn gap(&mut self) {
        self.told = Excuse::Gap;
        self.gap_so_far();
    }

    /// Like a gap, but only for what is missing up to now.
    pub(crate) fn gap_so_far(&mut self) {
        for hole in self.holes.iter_mut().flat_map(|holes| holes.iter_mut()) {
            if hole.excuse == Excuse::None {
                hole.excuse = Excuse::Gap;
            }
        }
    }

    /// The client comes back from being away, and of what it missed nothing is recovered. That excuses nothing it missed before.
    pub(crate) fn return_from_away(&mut self) {
        if self.told == Excuse::None {
            self.told = Excuse::Away;
        }
    }

    /// What is missing of `published` events. `unconfirmed` are the numbers, in rising order, that the publisher can't
    /// vouch for.
    pub(crate) fn missing(&self, published: u64, unconfirmed: &[u64]) -> Missing {
        let tail = Hole { from: self.next, to: published, excuse: self.told };
        let holes = self.holes.iter().flat_map(|holes| holes.iter());
        let mut missing = Missing::default();
        for hole in holes.chain(std::iter::once(&tail)).filter(|hole| hole.from < hole.to) {
            let first = unconfirmed.partition_point(|seq| *seq < hole.from);
            let end = unconfirmed.partition_point(|seq| *seq < hole.to);
            let doubtful = (end - first) as u64;
            missing.unconfirmed += doubtful;
            let sure = hole.to - hole.from - doubtful;
            match hole.excuse {
                Excuse::None => missing.lost += sure,
                Excuse::Gap => missing.covered += sure,
                Excuse::Away => missing.away += sure,
            }
        }
        missing
    }

    #[cold]
    fn fill(&mut self, seq: u64) -> Arrival {
        let Some(holes) = self.holes.as_deref_mut() else { return Arrival::Duplicate };
        let index = holes.partition_point(|hole| hole.to <= seq);
        let Some(hole) = holes.get_mut(index).filter(|hole| hole.from <= seq) else { return Arrival::Duplicate };
        let after = Hole { from: seq + 1, to: hole.to, excuse: hole.excuse };
        hole.to = seq;
        let before_is_empty = hole.from == hole.to;
        if after.from < after.to {
            holes.insert(index + 1, after);
        }
        if before_is_empty {
            holes.remove(index);
        }
        Arrival::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seqs: &[u64]) -> (Sequence, Vec<Arrival>) {
        let mut sequence = Sequence::default();
        let arrivals = seqs.iter().map(|seq| sequence.take(*seq)).collect();
        (sequence, arrivals)
    }

    #[test]
    fn everything_in_order_is_nothing_to_tell() {
        let (sequence, arrivals) = after(&[0, 1, 2, 3]);
        assert!(arrivals.iter().all(|arrival| *arrival == Arrival::InOrder));
        assert_eq!(sequence.missing(4, &[]), Missing::default());
    }

    #[test]
    fn losses_are_counted_at_the_start_in_the_middle_and_at_the_end() {
        let (sequence, _) = after(&[2, 3, 6]);
        assert_eq!(sequence.missing(10, &[]).lost, 2 + 2 + 3);
        let (nothing, _) = after(&[]);
        assert_eq!(nothing.missing(10, &[]).lost, 10);
    }

    #[test]
    fn a_late_event_is_disorder_and_no_loss() {
        let (sequence, arrivals) = after(&[0, 3, 1, 4, 2]);
        assert_eq!(arrivals[2], Arrival::Late);
        assert_eq!(arrivals[4], Arrival::Late);
        assert_eq!(sequence.missing(5, &[]), Missing::default());
    }

    #[test]
    fn a_late_event_out_of_the_middle_of_a_hole_leaves_both_ends() {
        let (mut sequence, _) = after(&[0, 10, 5]);
        assert_eq!(sequence.missing(11, &[]).lost, 8);
        assert_eq!(sequence.take(5), Arrival::Duplicate, "now it is there");
        assert_eq!(sequence.take(1), Arrival::Late);
        assert_eq!(sequence.take(9), Arrival::Late);
        assert_eq!(sequence.missing(11, &[]).lost, 6);
    }

    #[test]
    fn the_same_event_twice_is_a_duplicate() {
        let (sequence, arrivals) = after(&[0, 1, 1, 0, 2]);
        assert_eq!(arrivals[2..4], [Arrival::Duplicate, Arrival::Duplicate]);
        assert_eq!(sequence.missing(3, &[]), Missing::default());
    }

    #[test]
    fn a_gap_covers_the_hole_that_follows_it() {
        let (mut sequence, _) = after(&[0, 1]);
        sequence.gap();
        sequence.take(5);
        assert_eq!(sequence.missing(6, &[]), Missing { covered: 3, ..Missing::default() });
    }

    #[test]
    fn a_gap_told_after_new_events_covers_the_hole_before_them() {
        let (mut sequence, _) = after(&[0, 1, 5, 6]);
        sequence.gap();
        assert_eq!(sequence.missing(7, &[]), Missing { covered: 3, ..Missing::default() });
    }

    #[test]
    fn a_gap_excuses_nothing_that_is_lost_later() {
        let (mut sequence, _) = after(&[0, 1]);
        sequence.gap();
        sequence.take(2);
        sequence.take(4);
        assert_eq!(sequence.missing(5, &[]), Missing { lost: 1, ..Missing::default() });
    }

    #[test]
    fn a_gap_at_the_end_covers_the_tail() {
        let (mut sequence, _) = after(&[0, 1]);
        sequence.gap();
        assert_eq!(sequence.missing(9, &[]), Missing { covered: 7, ..Missing::default() });
    }

    #[test]
    fn a_gap_for_what_is_missing_so_far_excuses_nothing_before_the_next_event() {
        let (mut sequence, _) = after(&[0, 2]);
        sequence.gap_so_far();
        sequence.take(4);
        assert_eq!(sequence.missing(5, &[]), Missing { lost: 1, covered: 1, ..Missing::default() });
    }

    #[test]
    fn what_was_sent_while_a_client_was_away_is_counted_apart() {
        let (mut sequence, _) = after(&[0, 1]);
        sequence.return_from_away();
        sequence.take(4);
        sequence.take(6);
        assert_eq!(sequence.missing(7, &[]), Missing { lost: 1, away: 2, ..Missing::default() });
        let (mut before, _) = after(&[0, 2]);
        before.return_from_away();
        assert_eq!(before.missing(5, &[]), Missing { lost: 1, away: 2, ..Missing::default() });
        let (mut told, _) = after(&[0, 2]);
        told.gap();
        told.return_from_away();
        assert_eq!(told.missing(5, &[]), Missing { covered: 3, ..Missing::default() }, "the gap came first");
    }

    #[test]
    fn what_redis_never_confirmed_is_no_loss() {
        let (sequence, _) = after(&[0, 3, 4]);
        let missing = sequence.missing(7, &[1, 3, 6]);
        assert_eq!(missing, Missing { lost: 2, unconfirmed: 2, ..Missing::default() });
    }

    #[test]
    fn any_shuffle_of_all_events_is_complete() {
        // A fixed permutation by a generator of the multiplicative group modulo 101.
        let mut sequence = Sequence::default();
        let mut seq = 1_u64;
        for _ in 0..100 {
            sequence.take(seq - 1);
            seq = seq * 2 % 101;
        }
        assert_eq!(sequence.missing(100, &[]), Missing::default());
        assert!((0..100).all(|seq| sequence.take(seq) == Arrival::Duplicate));
    }
}
