//! Where each topic of the node stands in its history, and its newest durable events. Owned by the hub. Deliberately without
//! reading: it says what has to be read.

use bytes::Bytes;
use fanfare_backplane::Tail;
use fanfare_core::sequence::{Arrival, Ask, Gap, History, Sequence, Told, Verdict};
use fanfare_core::{Recent, TopicId};
use fanfare_protocol::{EnvelopeError, Event, GapReason, Kept, Lost, Position, Traceparent};

use super::recovery::{Allowance, Backlog, Entry, Recovery};

/// What a held event takes beside its bytes.
const OVERHEAD_BYTES: usize = 256;

/// The histories of all topics.
pub(crate) struct Histories {
    /// By the topic's number.
    sequences: Vec<Sequence<Event>>,
    recent: Recent,
    /// What may wait for a read, in bytes for each topic.
    held_bytes_max: usize,
}

impl Histories {
    /// No topics yet.
    pub(crate) fn new(recent_bytes_max: usize, held_bytes_max: usize) -> Self {
        Self { sequences: Vec::new(), recent: Recent::new(recent_bytes_max), held_bytes_max }
    }

    /// Where a topic stands: everything up to here was told. [`Position::NONE`] while that is not known.
    pub(crate) fn at(&self, topic: TopicId) -> Position {
        self.sequence(topic).and_then(Sequence::at).unwrap_or(Position::NONE)
    }

    /// Whether the backplane delivers the topic and where it stands is known.
    pub(crate) fn is_ready(&self, topic: TopicId) -> bool {
        self.sequence(topic).is_some_and(Sequence::is_ready)
    }

    /// Whether nothing is known to be missing.
    pub(crate) fn is_live(&self, topic: TopicId) -> bool {
        self.sequence(topic).is_some_and(Sequence::is_live)
    }

    /// What has to be read for the topic, if anything has.
    pub(crate) fn asks(&self, topic: TopicId) -> Option<Ask> {
        self.sequence(topic).and_then(Sequence::asks)
    }

    /// Bytes of events kept for those who come back.
    pub(crate) fn recent_bytes(&self) -> usize {
        self.recent.bytes()
    }

    /// The backplane delivers the topic from here on.
    pub(crate) fn confirm(&mut self, topic: TopicId) -> Ask {
        self.sequence_mut(topic).confirm()
    }

    /// A subscriber is told that where the topic stands is not known.
    pub(crate) fn be_blind(&mut self, topic: TopicId) {
        self.sequence_mut(topic).be_blind();
    }

    /// The backplane delivers nothing from here on.
    pub(crate) fn lose_all(&mut self) {
        self.sequences.iter_mut().for_each(Sequence::lose);
    }

    /// The backplane doesn't deliver this topic until it confirms it again.
    pub(crate) fn lose(&mut self, topic: TopicId) {
        self.sequence_mut(topic).lose();
    }

    /// The topic is gone.
    pub(crate) fn forget(&mut self, topic: TopicId) {
        self.sequence_mut(topic).reset();
        self.recent.forget(topic);
    }

    /// Takes what came on the topic's channel.
    pub(crate) fn take(
        &mut self,
        topic: TopicId,
        position: Option<Position>,
        event: Option<Event>,
        told: &mut Vec<Told<Event>>,
    ) -> Verdict {
        let start = told.len();
        let (arrival, max) = (arrival(position, event), self.held_bytes_max);
        let verdict = self.sequence_mut(topic).take(arrival, max, told);
        self.keep(topic, &told[start..]);
        verdict
    }

    /// Takes what was read for the topic's sequence.
    pub(crate) fn fill(
        &mut self,
        topic: TopicId,
        round: u32,
        history: History<Event>,
        told: &mut Vec<Told<Event>>,
    ) -> Verdict {
        let start = told.len();
        let verdict = self.sequence_mut(topic).fill(round, history, told);
        self.keep(topic, &told[start..]);
        verdict
    }

    /// Takes what was read for clients that come back.
    pub(crate) fn remember(&mut self, topic: TopicId, backlog: &Backlog) {
        let events: Option<Vec<_>> = backlog.entries.iter().map(|(_, event)| event.clone()).collect();
        if let Some(events) = events {
            let end = self.at(topic);
            self.recent.prepend(topic, backlog.after, &events, end);
        }
    }

    /// What a client gets that had everything up to `since`; none if that has to be read first.
    pub(crate) fn recover(
        &mut self,
        topic: TopicId,
        since: Position,
        backlog: Option<&Backlog>,
        allowance: &mut Allowance,
    ) -> Option<Recovery> {
        let at = self.at(topic);
        if since == at && at != Position::NONE {
            return Some(Recovery::complete(at));
        }
        if at == Position::NONE {
            return Some(Recovery::nothing(at, GapReason::Backplane));
        }
        let is_beyond = since.epoch == at.epoch && since.seq > at.seq;
        if let Some(entries) = self.newest(topic, since, at) {
            return Some(Recovery::assemble(since, at, entries, true, allowance));
        }
        let backlog = backlog.filter(|backlog| backlog.covers(since))?;
        if is_beyond {
            // All that was published before the history was read has come meanwhile.
            return Some(Recovery::nothing(at, GapReason::Epoch));
        }
        let last = backlog.entries.last().map_or(since, |(last, _)| *last);
        let meanwhile = self.newest(topic, last, at);
        let is_all = backlog.reaches(at) || meanwhile.is_some();
        let entries = backlog.entries.iter().cloned().chain(meanwhile.into_iter().flatten());
        Some(Recovery::assemble(since, at, entries, is_all, allowance))
    }

    /// Brings a recovery up to where the topic stands now.
    pub(crate) fn extend(&mut self, topic: TopicId, recovery: &mut Recovery, allowance: &mut Allowance) {
        let at = self.at(topic);
        let entries = self.newest(topic, recovery.end, at).into_iter().flatten();
        recovery.extend(at, entries, allowance);
    }

    /// The events from `since` to `at`, if the node still has all of them. One by one, since who asks may take only a few of
    /// hundreds of thousands.
    fn newest(&mut self, topic: TopicId, since: Position, at: Position) -> Option<impl Iterator<Item = Entry>> {
        if !self.recent.ends_at(topic, at) {
            return None;
        }
        Some(self.recent.after(topic, since)?.map(|event| (event.position, Some(event.clone()))))
    }

    /// What was told at the position that another event claims now.
    pub(crate) fn contradicted(
        &self,
        topic: TopicId,
        position: Option<Position>,
        event: Option<&Event>,
    ) -> Option<Kept> {
        let told = self.recent.at(topic, position?)?;
        (!told.is(event?)).then(|| told.clone())
    }

    /// The history has been read from before `told` on. If it has another event there, what was told was made up, and from
    /// before it on nothing is proven.
    pub(crate) fn resolve(&mut self, topic: TopicId, told: &Kept, history: &History<Event>) -> Option<Told<Event>> {
        let stored = history.events.iter().find(|event| event.position == Some(told.position));
        if stored.and_then(|stored| stored.event.as_ref()).is_some_and(|event| told.is(event)) {
            return None;
        }
        let since = Position { seq: told.position.seq.saturating_sub(1), ..told.position };
        let position = Some(self.at(topic));
        let gap = Told::Gap(Gap { lost: Lost::All, reason: GapReason::Invalid, since: Some(since), position });
        self.keep(topic, std::slice::from_ref(&gap));
        Some(gap)
    }

    fn keep(&mut self, topic: TopicId, told: &[Told<Event>]) {
        for told in told {
            match told {
                Told::Event(event) => {
                    if let Some(event) = Kept::new(event) {
                        self.recent.push(topic, event);
                    }
                }
                Told::Gap(gap) if gap.lost == Lost::All => self.recent.forget(topic),
                Told::Gap(_) => {}
            }
        }
    }

    fn sequence(&self, topic: TopicId) -> Option<&Sequence<Event>> {
        self.sequences.get(topic.index())
    }

    fn sequence_mut(&mut self, topic: TopicId) -> &mut Sequence<Event> {
        if topic.index() >= self.sequences.len() {
            self.sequences.resize_with(topic.index() + 1, Sequence::default);
        }
        &mut self.sequences[topic.index()]
    }
}

/// Checks what was read, as if it had come on the channel. `invalid` is told of what is not valid.
pub(crate) fn check(tail: Tail, event_bytes_max: usize, mut invalid: impl FnMut(&Invalid)) -> History<Event> {
    let check = |stored: fanfare_backplane::Stored| {
        let event =
            checked(stored.envelope, event_bytes_max).map(|event| Event { position: Some(stored.position), ..event });
        arrival(Some(stored.position), event.inspect_err(&mut invalid).ok())
    };
    let events = tail.events.into_iter().map(check).collect();
    History { position: tail.position, events, more: tail.more }
}

/// What is wrong with an envelope, and the trace that it seems to belong to.
pub(crate) type Invalid = (EnvelopeError, Option<Traceparent>);

/// A stored envelope has no position before it: the history has that.
pub fn checked(envelope: Bytes, event_bytes_max: usize) -> Result<Event, Invalid> {
    let event = Event::decode_traced(envelope, event_bytes_max)?;
    if event.position.is_some() { Err((EnvelopeError::NotAnEnvelope, event.traceparent)) } else { Ok(event) }
}

fn arrival(position: Option<Position>, event: Option<Event>) -> Arrival<Event> {
    let bytes = event.as_ref().map_or(0, |event| event.envelope.len()) + OVERHEAD_BYTES;
    Arrival { position, event, bytes }
}
