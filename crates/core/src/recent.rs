//! The newest durable events of each topic, so that a thousand clients that come back at once don't each cost a read of
//! the history. Bounded in bytes for the whole node. Deliberately no authority: what isn't here is read from the history.

use std::collections::{BTreeSet, HashMap, VecDeque};

use fanfare_protocol::{Kept, Position};

use crate::batch::TopicId;

/// What a kept event takes beside its bytes.
const OVERHEAD_BYTES: usize = 96;

/// Runs of events without a hole, one for each topic that had any lately.
#[derive(Debug)]
pub struct Recent {
    runs: HashMap<TopicId, Run>,
    /// The runs by the time of their last use, oldest first.
    by_use: BTreeSet<(u64, TopicId)>,
    uses: u64,
    bytes: usize,
    bytes_max: usize,
}

/// All events of a topic after one position.
#[derive(Debug)]
struct Run {
    after: Position,
    events: VecDeque<Kept>,
    bytes: usize,
    last_use: u64,
}

impl Recent {
    /// Keeps `bytes_max` bytes of events at most; 0: none.
    pub fn new(bytes_max: usize) -> Self {
        Self { runs: HashMap::new(), by_use: BTreeSet::new(), uses: 0, bytes: 0, bytes_max }
    }

    /// The topic's next event. It follows what is kept, or begins anew.
    pub fn push(&mut self, topic: TopicId, event: Kept) {
        let before = Position { seq: event.position.seq.saturating_sub(1), ..event.position };
        if self.runs.get(&topic).is_none_or(|run| run.end() != before) {
            self.begin(topic, before);
        }
        let Some(run) = self.runs.get_mut(&topic) else { return };
        let bytes = cost(&event);
        run.events.push_back(event);
        run.bytes += bytes;
        self.bytes += bytes;
        self.make_room(topic);
    }

    /// Events from the history of a topic that stands at `end`: those after `after`, in order. They are taken if they reach
    /// up to what is kept.
    pub fn prepend(&mut self, topic: TopicId, after: Position, events: &[Kept], end: Position) {
        let joint = self.runs.get(&topic).map_or(end, |run| run.after);
        let Some(last) = events.iter().position(|event| event.position == joint) else { return };
        let events = &events[..=last];
        let places = std::iter::once(after).chain(events.iter().map(|event| event.position));
        let bytes: usize = events.iter().map(cost).sum();
        if !places.zip(events).all(|(before, event)| follows(before, event.position)) || bytes > self.bytes_max / 2 {
            return;
        }
        if !self.runs.contains_key(&topic) {
            self.begin(topic, joint);
        }
        self.touch(topic);
        let Some(run) = self.runs.get_mut(&topic) else { return };
        run.after = after;
        for event in events.iter().rev() {
            run.events.push_front(event.clone());
        }
        run.bytes += bytes;
        self.bytes += bytes;
        self.make_room(topic);
    }

    /// The events after `after`, if all of them are here.
    pub fn after(&mut self, topic: TopicId, after: Position) -> Option<impl Iterator<Item = &Kept>> {
        self.touch(topic);
        let run = self.runs.get(&topic)?;
        let is_within = after.epoch == run.after.epoch && (run.after.seq..=run.end().seq).contains(&after.seq);
        let skipped = usize::try_from(after.seq.wrapping_sub(run.after.seq)).ok()?;
        is_within.then(|| run.events.range(skipped..))
    }

    /// Whether what is kept of the topic ends at `at`.
    pub fn ends_at(&self, topic: TopicId, at: Position) -> bool {
        self.runs.get(&topic).is_some_and(|run| run.end() == at)
    }

    /// The event that was told at this position, if it is still here.
    pub fn at(&self, topic: TopicId, position: Position) -> Option<&Kept> {
        let run = self.runs.get(&topic)?;
        let is_within = position.epoch == run.after.epoch && position.seq > run.after.seq;
        let index = usize::try_from(position.seq.wrapping_sub(run.after.seq).wrapping_sub(1)).ok()?;
        run.events.get(index).filter(|event| is_within && event.position == position)
    }

    /// The topic is gone, or what follows doesn't continue it.
    pub fn forget(&mut self, topic: TopicId) {
        if let Some(run) = self.runs.remove(&topic) {
            self.bytes -= run.bytes;
            self.by_use.remove(&(run.last_use, topic));
        }
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn begin(&mut self, topic: TopicId, after: Position) {
        self.forget(topic);
        self.uses += 1;
        self.by_use.insert((self.uses, topic));
        self.runs.insert(topic, Run { after, events: VecDeque::new(), bytes: 0, last_use: self.uses });
    }

    fn touch(&mut self, topic: TopicId) {
        if let Some(run) = self.runs.get_mut(&topic) {
            self.uses += 1;
            self.by_use.remove(&(run.last_use, topic));
            run.last_use = self.uses;
            self.by_use.insert((run.last_use, topic));
        }
    }

    /// The runs that nobody has asked for the longest go first; of the last one, its oldest events.
    fn make_room(&mut self, newest: TopicId) {
        while self.bytes > self.bytes_max
            && let Some(&(_, topic)) = self.by_use.iter().find(|(_, topic)| *topic != newest)
        {
            self.forget(topic);
        }
        let Some(run) = self.runs.get_mut(&newest) else { return };
        while self.bytes > self.bytes_max
            && let Some(event) = run.events.pop_front()
        {
            let bytes = cost(&event);
            run.after = event.position;
            run.bytes -= bytes;
            self.bytes -= bytes;
        }
    }
}

impl Run {
    fn end(&self) -> Position {
        self.events.back().map_or(self.after, |event| event.position)
    }
}

fn cost(event: &Kept) -> usize {
    event.bytes() + OVERHEAD_BYTES
}

/// Whether `next` is the place right after `position`.
fn follows(position: Position, next: Position) -> bool {
    position.epoch == next.epoch && position.seq.checked_add(1) == Some(next.seq)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use bytes::Bytes;
    use fanfare_protocol::Event;
    use proptest::prelude::*;

    const ONE: TopicId = TopicId(1);
    const TWO: TopicId = TopicId(2);

    fn at(seq: u64) -> Position {
        Position { epoch: 7, seq }
    }

    fn event(seq: u64) -> Kept {
        let event = Event::decode(Bytes::from_static(br#"{"type":"t"}"#), 1_000).unwrap();
        Kept::new(&Event { position: Some(at(seq)), ..event }).unwrap()
    }

    fn cost_of_one() -> usize {
        cost(&event(1))
    }

    fn kept_after(recent: &mut Recent, topic: TopicId, after: u64) -> Option<Vec<u64>> {
        recent.after(topic, at(after)).map(|events| events.map(|event| event.position.seq).collect())
    }

    #[test]
    fn a_run_has_all_events_after_its_beginning() {
        let mut recent = Recent::new(usize::MAX);
        assert_eq!(kept_after(&mut recent, ONE, 4), None);
        (5..8).for_each(|seq| recent.push(ONE, event(seq)));
        assert_eq!(kept_after(&mut recent, ONE, 4), Some(vec![5, 6, 7]));
        assert_eq!(kept_after(&mut recent, ONE, 6), Some(vec![7]));
        assert_eq!(kept_after(&mut recent, ONE, 3), None);
        assert_eq!(kept_after(&mut recent, ONE, 8), None);
        assert!(recent.after(ONE, Position { epoch: 6, seq: 5 }).is_none());
        let seq_at = |recent: &Recent, seq| recent.at(ONE, at(seq)).map(|event| event.position.seq);
        assert_eq!([4, 5, 7, 8].map(|seq| seq_at(&recent, seq)), [None, Some(5), Some(7), None]);
        recent.push(ONE, event(10));
        assert_eq!(kept_after(&mut recent, ONE, 7), None, "a hole begins a new run");
        assert_eq!(kept_after(&mut recent, ONE, 9), Some(vec![10]));
    }

    #[test]
    fn what_was_read_goes_before_what_is_kept() {
        let mut recent = Recent::new(usize::MAX);
        recent.begin(ONE, at(4));
        recent.push(ONE, event(5));
        recent.prepend(ONE, at(1), &[event(2), event(3)], at(5));
        assert_eq!(kept_after(&mut recent, ONE, 1), None, "it doesn't reach up to the run");
        recent.prepend(ONE, at(1), &[event(2), event(4)], at(5));
        assert_eq!(kept_after(&mut recent, ONE, 1), None, "it has a hole");
        recent.prepend(ONE, at(1), &[event(2), event(3), event(4), event(5)], at(5));
        assert_eq!(kept_after(&mut recent, ONE, 1), Some(vec![2, 3, 4, 5]));
        recent.prepend(TWO, at(1), &[event(2), event(3)], at(4));
        assert_eq!(kept_after(&mut recent, TWO, 1), None, "it doesn't reach up to where the topic stands");
        recent.prepend(TWO, at(1), &[event(2), event(3), event(4)], at(3));
        assert_eq!(kept_after(&mut recent, TWO, 1), Some(vec![2, 3]));
    }

    #[test]
    fn the_topic_that_nobody_asked_for_the_longest_makes_room() {
        let mut recent = Recent::new(4 * cost_of_one());
        (1..3).for_each(|seq| recent.push(ONE, event(seq)));
        (1..3).for_each(|seq| recent.push(TWO, event(seq)));
        kept_after(&mut recent, ONE, 1);
        recent.push(ONE, event(3));
        assert_eq!(kept_after(&mut recent, TWO, 0), None);
        assert_eq!(kept_after(&mut recent, ONE, 0), Some(vec![1, 2, 3]));
        (4..7).for_each(|seq| recent.push(ONE, event(seq)));
        assert_eq!(kept_after(&mut recent, ONE, 2), Some(vec![3, 4, 5, 6]));
        assert_eq!(kept_after(&mut recent, ONE, 1), None);
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_what_is_kept_has_no_hole(
            steps in prop::collection::vec((0_u8..4, 0_u32..3, 0_u64..6), 1..200),
            events_max in 0_usize..8,
        ) {
            let mut recent = Recent::new(events_max * cost_of_one());
            let mut ends = [10_u64; 3];
            for (kind, topic, count) in steps {
                let (id, end) = (TopicId(topic), &mut ends[topic as usize]);
                match kind {
                    0 => recent.forget(id),
                    1 => recent.prepend(id, at(*end - count), &(*end - count + 1..=*end).map(event).collect::<Vec<_>>(), at(*end)),
                    2 => *end += count,
                    _ => {
                        *end += 1;
                        recent.push(id, event(*end));
                    }
                }
                prop_assert!(recent.bytes() <= recent.bytes_max);
                prop_assert_eq!(recent.bytes(), recent.runs.values().map(|run| run.bytes).sum::<usize>());
                prop_assert_eq!(recent.by_use.len(), recent.runs.len());
                for run in recent.runs.values() {
                    let seqs: Vec<_> = run.events.iter().map(|event| event.position.seq).collect();
                    let expected: Vec<_> = (run.after.seq + 1..).take(seqs.len()).collect();
                    prop_assert_eq!(seqs, expected);
                }
            }
        }
    }
}
