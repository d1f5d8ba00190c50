//! Durable topics inside one process, as Redis would keep them: streams with a length, a lifetime and ids. Deliberately
//! without a clock and without delivery; whoever asks says what time it is.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use fanfare_protocol::{Position, TopicKey};

use crate::history::{Keep, Page, Read, ReadLimits, Stored, TTL_DEFAULT, Tail};

/// How long an id is remembered.
const ID_TTL: Duration = Duration::from_mins(5);
/// What an event or an id costs beside its bytes: its place in the queue, and the allocation.
const OVERHEAD_BYTES: usize = 128;

/// All durable topics. Times are counted from the Unix epoch, and epochs are theirs in microseconds.
#[derive(Debug)]
pub(super) struct Histories {
    topics: HashMap<TopicKey, History>,
    /// Topics by the time at which they may expire; a topic whose life was prolonged since comes up once in vain.
    expiries: BTreeMap<(Duration, u64), TopicKey>,
    /// Makes the keys above differ.
    next_expiry: u64,
    /// The last epoch that was begun, so that none is begun twice whatever the clock does.
    last_epoch: u64,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct History {
    epoch: u64,
    /// Of the last event; 0 while the epoch has none.
    seq: u64,
    events: VecDeque<Stored>,
    /// The position and the end of each id, and their order.
    ids: HashMap<Box<str>, (Position, Duration)>,
    ids_order: VecDeque<Box<str>>,
    expires: Duration,
}

/// There is no room: an event more, and the histories would be larger than allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) bytes_max: usize,
}

impl Histories {
    pub(super) fn new(bytes_max: usize) -> Histories {
        Histories {
            topics: HashMap::new(),
            expiries: BTreeMap::new(),
            next_expiry: 0,
            last_epoch: 0,
            bytes: 0,
            bytes_max,
        }
    }

    /// The position of the event that was published with this id, if that still counts.
    pub(super) fn published(&mut self, now: Duration, topic: &TopicKey, id: &str) -> Option<Position> {
        self.expire(now);
        let (position, expires) = self.topics.get(topic)?.ids.get(id)?;
        (*expires > now).then_some(*position)
    }

    /// Keeps an event; returns its position.
    pub(super) fn append(
        &mut self,
        now: Duration,
        topic: &TopicKey,
        envelope: &Bytes,
        keep: &Keep,
    ) -> Result<Position, Full> {
        self.expire(now);
        let cost = envelope.len() + OVERHEAD_BYTES + keep.id.as_ref().map_or(0, |id| id.len() + OVERHEAD_BYTES);
        if self.bytes + cost > self.bytes_max {
            return Err(Full { bytes_max: self.bytes_max });
        }
        self.bytes += cost;
        let history = self.history(now, topic, keep.ttl);
        history.seq += 1;
        let position = Position { epoch: history.epoch, seq: history.seq };
        history.events.push_back(Stored { position, envelope: envelope.clone() });
        if let Some(id) = &keep.id {
            history.ids.insert(id.clone(), (position, now + ID_TTL));
            history.ids_order.push_back(id.clone());
        }
        let freed = history.trim(keep.maxlen) + history.forget_ids(now);
        self.bytes -= freed;
        Ok(position)
    }

    /// Where a topic stands, and what it has. Begins the epoch of one that has none.
    pub(super) fn read(&mut self, now: Duration, read: &Read, limits: ReadLimits) -> Tail {
        self.expire(now);
        // Reading prolongs nothing.
        let ttl = if self.topics.contains_key(&read.topic) { Duration::ZERO } else { TTL_DEFAULT };
        let history = self.history(now, &read.topic, ttl);
        let position = Position { epoch: history.epoch, seq: history.seq };
        let Some(after) = read.after else { return Tail { position, events: Vec::new(), more: false } };
        // All that is kept is of the present epoch, and epochs have no order.
        let after_seq = if after.epoch == history.epoch { after.seq } else { 0 };
        let mut wanted = history.events.iter().filter(|event| event.position.seq > after_seq).peekable();
        let events = take(&mut wanted, limits);
        Tail { position, events, more: wanted.peek().is_some() }
    }

    /// The newest events before a position.
    pub(super) fn page(
        &mut self,
        now: Duration,
        topic: &TopicKey,
        before: Option<Position>,
        limits: ReadLimits,
    ) -> Page {
        self.expire(now);
        let Some(history) = self.topics.get(topic) else { return Page { events: Vec::new(), more: false } };
        // As in a Redis stream, whose ids are in order.
        let is_before = |event: &&Stored| {
            before.is_none_or(|before| (event.position.epoch, event.position.seq) < (before.epoch, before.seq))
        };
        let mut wanted = history.events.iter().rev().filter(is_before).peekable();
        let mut events = take(&mut wanted, limits);
        events.reverse();
        Page { events, more: wanted.peek().is_some() }
    }

    /// The history of a topic, which lives at least so long from now on.
    fn history(&mut self, now: Duration, topic: &TopicKey, ttl: Duration) -> &mut History {
        let expires = now.saturating_add(ttl);
        let history = self.topics.entry(topic.clone()).or_insert_with(|| {
            let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
            self.last_epoch = now_us.max(self.last_epoch + 1);
            self.expiries.insert((expires, self.next_expiry), topic.clone());
            self.next_expiry += 1;
            History::new(self.last_epoch)
        });
        history.expires = history.expires.max(expires);
        history
    }

    /// Drops the topics whose time has come.
    fn expire(&mut self, now: Duration) {
        while let Some(due) = self.expiries.first_entry()
            && due.key().0 <= now
        {
            let topic = due.remove();
            let Some(history) = self.topics.get(&topic) else { continue };
            if history.expires <= now {
                self.bytes -= history.cost_bytes();
                self.topics.remove(&topic);
            } else {
                self.expiries.insert((history.expires, self.next_expiry), topic);
                self.next_expiry += 1;
            }
        }
    }
}

impl History {
    fn new(epoch: u64) -> History {
        History {
            epoch,
            seq: 0,
            events: VecDeque::new(),
            ids: HashMap::new(),
            ids_order: VecDeque::new(),
            expires: Duration::ZERO,
        }
    }

    /// Keeps so many events. Returns how many bytes became free.
    fn trim(&mut self, maxlen: u64) -> usize {
        let maxlen = usize::try_from(maxlen).unwrap_or(usize::MAX);
        let surplus = self.events.len().saturating_sub(maxlen);
        self.events.drain(..surplus).map(|event| event.envelope.len() + OVERHEAD_BYTES).sum()
    }

    /// Forgets ids whose time is over. Returns how many bytes became free.
    fn forget_ids(&mut self, now: Duration) -> usize {
        let mut freed = 0;
        while let Some(id) = self.ids_order.front()
            && self.ids.get(id).is_none_or(|(_, expires)| *expires <= now)
        {
            freed += id.len() + OVERHEAD_BYTES;
            self.ids.remove(id);
            self.ids_order.pop_front();
        }
        freed
    }

    fn cost_bytes(&self) -> usize {
        let events: usize = self.events.iter().map(|event| event.envelope.len() + OVERHEAD_BYTES).sum();
        let ids: usize = self.ids_order.iter().map(|id| id.len() + OVERHEAD_BYTES).sum();
        events + ids
    }
}

fn take<'a>(wanted: &mut std::iter::Peekable<impl Iterator<Item = &'a Stored>>, limits: ReadLimits) -> Vec<Stored> {
    let (mut events, mut bytes) = (Vec::new(), 0);
    while events.len() < limits.events_max.max(1)
        && bytes < limits.bytes_max.max(1)
        && let Some(event) = wanted.next()
    {
        bytes += event.envelope.len();
        events.push(event.clone());
    }
    events
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    const NOW: Duration = Duration::from_hours(500_000);
    const ALL: ReadLimits = ReadLimits { events_max: usize::MAX, bytes_max: usize::MAX };

    fn orders() -> TopicKey {
        TopicKey::parse("acme:channel:orders").unwrap()
    }

    fn keep(maxlen: u64, ttl: u64, id: Option<&str>) -> Keep {
        Keep { maxlen, ttl: Duration::from_secs(ttl), id: id.map(Into::into) }
    }

    fn append(histories: &mut Histories, now: Duration, keep: &Keep) -> Position {
        histories.append(now, &orders(), &Bytes::from_static(b"{}"), keep).unwrap()
    }

    fn read(histories: &mut Histories, now: Duration, after: Option<Position>) -> Tail {
        histories.read(now, &Read { topic: orders(), after }, ALL)
    }

    #[test]
    fn a_history_outlives_its_last_event_by_the_longest_time_that_was_promised() {
        let mut histories = Histories::new(usize::MAX);
        let first = append(&mut histories, NOW, &keep(10, 1_000, None));
        assert_eq!(first, Position { epoch: 1_800_000_000_000_000, seq: 1 });
        let at_500 = NOW + Duration::from_secs(500);
        append(&mut histories, at_500, &keep(10, 60, None));
        let at_999 = NOW + Duration::from_secs(999);
        assert_eq!(read(&mut histories, at_999, Some(Position::NONE)).events.len(), 2);
        let at_1000 = NOW + Duration::from_secs(1_000);
        let tail = read(&mut histories, at_1000, Some(Position::NONE));
        assert_eq!(tail.events, []);
        assert_ne!(tail.position.epoch, first.epoch);
        assert_eq!((histories.bytes, histories.topics.len(), histories.expiries.len()), (0, 1, 1));
    }

    #[test]
    fn no_epoch_is_begun_twice_though_the_clock_goes_back() {
        let mut histories = Histories::new(usize::MAX);
        let first = read(&mut histories, NOW, None).position;
        let other = TopicKey::parse("acme:tenant").unwrap();
        let earlier = NOW.checked_sub(Duration::from_secs(9)).unwrap();
        let second = histories.read(earlier, &Read { topic: other, after: None }, ALL).position;
        assert_eq!((first.seq, second.seq, second.epoch), (0, 0, first.epoch + 1));
    }

    #[test]
    fn an_id_counts_for_five_minutes_and_is_forgotten() {
        let mut histories = Histories::new(usize::MAX);
        let position = append(&mut histories, NOW, &keep(10, 1_000, Some("a")));
        let at_299 = NOW + Duration::from_secs(299);
        assert_eq!(histories.published(at_299, &orders(), "a"), Some(position));
        let at_300 = NOW + Duration::from_mins(5);
        assert_eq!(histories.published(at_300, &orders(), "a"), None);
        append(&mut histories, at_300, &keep(1, 1_000, None));
        assert_eq!(histories.bytes, 2 + OVERHEAD_BYTES);
    }

    #[test]
    fn full_histories_refuse_and_have_room_again_when_some_has_expired() {
        let mut histories = Histories::new(3 * (OVERHEAD_BYTES + 2));
        for _ in 0..3 {
            append(&mut histories, NOW, &keep(10, 60, None));
        }
        let refused = histories.append(NOW, &orders(), &Bytes::from_static(b"{}"), &keep(10, 60, None));
        assert_eq!(refused, Err(Full { bytes_max: 3 * (OVERHEAD_BYTES + 2) }));
        append(&mut histories, NOW + Duration::from_mins(1), &keep(10, 60, None));
    }
}
