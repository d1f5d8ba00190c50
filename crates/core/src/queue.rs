//! What waits in an outbox, in order, and its conflation: a newer event takes the place of a waiting older one with the
//! same topic and key. Deliberately no lock and no socket.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use fanfare_protocol::{Codec, TopicKey};

use crate::batch::Batch;

/// What conflation leaves behind (holes, and keys whose event has gone) is squeezed out when there is more of it than
/// this and than a good part of the queue.
const WASTE_MIN: usize = 64;

/// One stretch of wire bytes.
#[derive(Debug)]
enum Segment {
    Frame(Bytes),
    Events {
        batch: Arc<Batch>,
        range: Range<usize>,
    },
    /// One event, copied: a slow client that keeps one event of each batch would keep all of them from being freed.
    Event {
        key: Option<Key>,
        bytes: Bytes,
    },
    /// What conflation has removed, kept so that the numbers of its neighbours stay right.
    Hole,
}

/// What makes a newer event take an older one's place. By the topic's name, not its number, which another topic may get
/// while an event waits.
type Key = (TopicKey, Box<str>);

/// A first-in first-out queue of wire bytes.
#[derive(Debug)]
pub(crate) struct Queue {
    codec: Codec,
    segments: VecDeque<Segment>,
    /// Number of the front segment; segments are numbered as they come.
    front: u64,
    /// Bytes of the front segment that the socket has taken: always less than its first frame.
    written: usize,
    bytes: usize,
    conflation: Option<Box<Conflation>>,
}

/// Exists from the first overflow until the queue is empty again: a client that keeps up pays nothing for it.
#[derive(Debug, Default)]
struct Conflation {
    /// The number of the newest event of each key.
    latest: HashMap<Key, u64>,
    /// Made since the last squeeze: at least as many as there are.
    holes: usize,
}

impl Queue {
    pub(crate) fn new(codec: Codec) -> Self {
        Self { codec, segments: VecDeque::new(), front: 0, written: 0, bytes: 0, conflation: None }
    }

    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(crate) fn push_frame(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.bytes += frame.len();
            self.segments.push_back(Segment::Frame(frame));
        }
    }

    /// Appends the events in `range`, at least one.
    pub(crate) fn push_events(&mut self, batch: &Arc<Batch>, range: Range<usize>) {
        if self.conflation.is_some() {
            for index in range {
                self.push_conflated(batch, index);
            }
        } else {
            self.bytes += batch.bytes(self.codec, range.clone()).len();
            self.segments.push_back(Segment::Events { batch: Arc::clone(batch), range });
        }
    }

    /// Drops every waiting event for which a newer one of the same topic and key waits too, now and until the queue has
    /// been empty.
    pub(crate) fn conflate(&mut self) {
        if self.conflation.is_some() {
            return;
        }
        self.conflation = Some(Box::default());
        let segments = std::mem::take(&mut self.segments);
        // Counted anew, and whole at first.
        self.bytes = 0;
        for segment in segments {
            match segment {
                Segment::Events { batch, range } => range.for_each(|event| self.push_conflated(&batch, event)),
                kept => {
                    self.bytes += kept.bytes(self.codec).len();
                    self.segments.push_back(kept);
                }
            }
        }
        self.bytes -= self.written;
    }

    /// Keeps only what the socket has begun to take.
    pub(crate) fn clear(&mut self) {
        self.segments.truncate(usize::from(self.written > 0));
        if let Some(Segment::Events { range, .. }) = self.segments.front_mut() {
            range.end = range.start + 1;
        }
        self.bytes = self.segments.front().map_or(0, |begun| begun.bytes(self.codec).len() - self.written);
        self.conflation = None;
    }

    /// Fills `slices` from the front; says how many were filled.
    pub(crate) fn peek<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut filled, mut skip) = (0, self.written);
        for segment in &self.segments {
            if filled == slices.len() {
                break;
            }
            let bytes = &segment.bytes(self.codec)[skip..];
            skip = 0;
            if !bytes.is_empty() {
                slices[filled] = IoSlice::new(bytes);
                filled += 1;
            }
        }
        filled
    }

    /// The socket took `count` bytes from the front.
    pub(crate) fn advance(&mut self, count: usize) {
        self.bytes -= count;
        self.written += count;
        while let Some(front) = self.segments.front() {
            let len = front.bytes(self.codec).len();
            if self.written < len {
                break;
            }
            self.written -= len;
            self.segments.pop_front();
            self.front += 1;
        }
        match self.segments.front_mut() {
            // An idle connection keeps no buffer.
            None => {
                self.segments = VecDeque::new();
                self.conflation = None;
            }
            // Of a batch, only the frame that was begun has to be finished.
            Some(Segment::Events { batch, range }) => {
                let begun = batch.index_at(self.codec, range.start, self.written);
                self.written -= batch.bytes(self.codec, range.start..begun).len();
                range.start = begun;
            }
            Some(Segment::Frame(_) | Segment::Event { .. } | Segment::Hole) => {}
        }
    }

    fn push_conflated(&mut self, batch: &Batch, index: usize) {
        let number = self.front + self.segments.len() as u64;
        let bytes = Bytes::copy_from_slice(batch.bytes(self.codec, index..index + 1));
        let key = batch.key(index).map(|key| (batch.name().clone(), Box::from(key)));
        self.bytes += bytes.len();
        self.segments.push_back(Segment::Event { key: key.clone(), bytes });
        let (Some(key), Some(conflation)) = (key, &mut self.conflation) else { return };
        let older = conflation.latest.insert(key, number);
        // What the socket has begun has to be finished, so it is nobody's older event.
        let unbegun = self.front + u64::from(self.written > 0);
        if let Some(older) = older.filter(|&older| older >= unbegun) {
            let place = usize::try_from(older - self.front).expect("the queue fits into memory");
            let removed = std::mem::replace(&mut self.segments[place], Segment::Hole);
            self.bytes -= removed.bytes(self.codec).len();
            conflation.holes += 1;
        }
        let segments = self.segments.len();
        if conflation.holes > WASTE_MIN.max(segments / 2) || conflation.latest.len() > WASTE_MIN + 2 * segments {
            self.squeeze();
        }
    }

    /// Removes the waste, so that a client that never catches up costs its bytes and no more.
    fn squeeze(&mut self) {
        self.segments.retain(|segment| !matches!(segment, Segment::Hole));
        let mut latest = HashMap::new();
        for (number, segment) in (self.front..).zip(&self.segments) {
            if let Segment::Event { key: Some(key), .. } = segment {
                latest.insert(key.clone(), number);
            }
        }
        self.conflation = Some(Box::new(Conflation { latest, holes: 0 }));
    }
}

impl Segment {
    fn bytes(&self, codec: Codec) -> &[u8] {
        match self {
            Self::Frame(bytes) | Self::Event { bytes, .. } => bytes,
            Self::Events { batch, range } => batch.bytes(codec, range.clone()),
            Self::Hole => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use fanfare_protocol::Event;

    use crate::batch::TopicId;
    use proptest::prelude::*;

    /// Event `i` has key `i`, the last one has none.
    fn batch(events: usize) -> Arc<Batch> {
        let event = |index: usize| {
            let key = if index + 1 < events { format!(r#","key":"{index}""#) } else { String::new() };
            Event::decode(format!(r#"{{"type":"e"{key}}}"#).into(), 1_000).unwrap()
        };
        let members = (0..events).map(|index| (event(index), None));
        Arc::new(Batch::new(TopicId(0), TopicKey::parse("acme:channel:x").unwrap(), members))
    }

    fn conflating() -> Queue {
        let mut queue = Queue::new(Codec::Json);
        queue.push_frame(Bytes::from_static(b"first"));
        queue.conflate();
        queue
    }

    fn waste(queue: &Queue) -> usize {
        queue.conflation.as_ref().map_or(0, |conflation| conflation.holes + conflation.latest.len())
    }

    #[test]
    fn a_client_that_never_reads_costs_no_more_than_what_waits() {
        let (mut queue, batch) = (conflating(), batch(10));
        for index in (0..9).cycle().take(10_000) {
            queue.push_events(&batch, index..index + 1);
            assert!(queue.segments.len() <= 10 + WASTE_MIN && waste(&queue) <= 10 + WASTE_MIN);
        }
    }

    #[test]
    fn a_client_that_never_catches_up_costs_no_more_than_what_waits() {
        let (mut queue, batch) = (conflating(), batch(1_000));
        for index in 0..999 {
            queue.push_events(&batch, index..index + 1);
            let keep = batch.bytes(Codec::Json, index..index + 1).len();
            queue.advance(queue.bytes() - keep);
            assert!(queue.segments.len() == 1 && waste(&queue) <= 2 * WASTE_MIN);
        }
    }

    #[test]
    fn an_empty_frame_takes_no_place() {
        let mut queue = Queue::new(Codec::Json);
        queue.push_frame(Bytes::new());
        assert!(queue.is_empty() && queue.segments.is_empty());
    }

    #[test]
    fn what_the_socket_has_begun_is_nobodys_older_event() {
        let (mut queue, batch) = (Queue::new(Codec::Json), batch(3));
        queue.push_events(&batch, 0..2);
        let first = batch.bytes(Codec::Json, 0..1).len();
        queue.advance(first + 1);
        queue.push_events(&batch, 0..2);
        queue.conflate();
        queue.push_events(&batch, 1..2);
        // Event 1 was begun, so it stays, and the newest of its key comes last.
        let bytes = |range| batch.bytes(Codec::Json, range);
        assert_eq!(waiting(&queue), [&bytes(1..2)[1..], bytes(0..1), bytes(1..2)].concat());
    }

    fn waiting(queue: &Queue) -> Vec<u8> {
        let mut slices = vec![IoSlice::new(&[]); queue.segments.len()];
        let filled = queue.peek(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Few keys in a long queue, so that waste is squeezed out while the socket takes and takes.
        #[test]
        fn squeezing_out_the_waste_changes_nothing(
            steps in prop::collection::vec((0_usize..40, 1_usize..6, 0_usize..120), 100..400),
        ) {
            let batch = batch(45);
            let mut queue = conflating();
            // Key and bytes of each frame; of the first, the socket has taken so many bytes.
            let mut model = vec![(None, b"first".to_vec())];
            let mut begun = 0;
            for (first, count, taken) in steps {
                queue.push_events(&batch, first..first + count);
                for index in first..first + count {
                    let key = batch.key(index);
                    let unbegun = usize::from(begun > 0);
                    let older = model[unbegun..].iter().position(|frame| key.is_some() && frame.0 == key);
                    if let Some(older) = older {
                        model.remove(unbegun + older);
                    }
                    model.push((key, batch.bytes(Codec::Json, index..index + 1).to_vec()));
                }

                // Never all: an empty queue conflates no more.
                let taken = taken.min(queue.bytes() - 1);
                queue.advance(taken);
                begun += taken;
                while begun >= model[0].1.len() {
                    begun -= model.remove(0).1.len();
                }
                let expected = model.iter().flat_map(|frame| &frame.1).skip(begun).copied().collect::<Vec<_>>();
                prop_assert_eq!(queue.bytes(), expected.len());
                prop_assert!(waiting(&queue) == expected);
            }
        }
    }
}
