//! What one topic's subscribers are told together, events and gaps between them, or who comes and goes; framed at most once
//! per codec and shared by every recipient.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use fanfare_protocol::{
    Change, Codec, Event, ServerFrame, TopicKey, Traceparent, event_frame_json, event_frame_msgpack,
};

use crate::frame;
use crate::sequence::{Gap, Told};
use crate::session::SessionId;

/// A topic's number on this node, given out by [`crate::topics::Topics`] and used again after the topic is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u32);

impl TopicId {
    /// As an index into a table with a slot for each topic.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Events and gaps of one topic, in order, and their wire bytes once somebody needs them.
#[derive(Debug)]
pub struct Batch {
    topic: TopicId,
    name: TopicKey,
    members: Vec<Member>,
    events: usize,
    gaps: usize,
    /// Whoever is left out of any of them, in order.
    left_out: Vec<SessionId>,
    json: OnceLock<Block>,
    msgpack: OnceLock<Block>,
}

/// What is told, and whom not.
#[derive(Debug)]
pub struct Member {
    said: Said,
    except: Except,
    traceparent: Option<Traceparent>,
}

/// What one frame tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// An event, or that some may be missing.
    Told(Told<Event>),
    /// A user comes or goes.
    Change(Change),
    /// How many users there are.
    Count(u64),
}

/// The sessions of this node that are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Except {
    /// None.
    #[default]
    Nobody,
    /// The publisher's.
    One(SessionId),
    /// All of one user.
    Many(Box<[SessionId]>),
}

/// Wire bytes of a whole batch in one codec; `ends[i]` is where frame `i` ends.
#[derive(Debug)]
struct Block {
    bytes: Bytes,
    ends: Vec<usize>,
}

impl Batch {
    /// A batch of what is told in this order.
    pub fn new<M: Into<Member>>(topic: TopicId, name: TopicKey, told: impl IntoIterator<Item = M>) -> Self {
        let members: Vec<_> = told.into_iter().map(Into::into).collect();
        let mut left_out: Vec<_> = members.iter().flat_map(|member| member.except.sessions()).copied().collect();
        left_out.sort_unstable();
        left_out.dedup();
        let events = members.iter().filter(|member| matches!(member.said, Said::Told(Told::Event(_)))).count();
        let gaps = members.iter().filter(|member| matches!(member.said, Said::Told(Told::Gap(_)))).count();
        Self { topic, name, members, events, gaps, left_out, json: OnceLock::new(), msgpack: OnceLock::new() }
    }

    /// The topic of all its events.
    pub fn topic(&self) -> TopicId {
        self.topic
    }

    /// The topic's name.
    pub fn name(&self) -> &TopicKey {
        &self.name
    }

    /// How many frames it becomes.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many of its frames are events.
    pub fn events(&self) -> usize {
        self.events
    }

    /// How many of its frames tell a gap.
    pub fn gaps(&self) -> usize {
        self.gaps
    }

    /// Whether `session` gets less than all of it.
    pub fn leaves_out(&self, session: SessionId) -> bool {
        !self.left_out.is_empty() && self.left_out.binary_search(&session).is_ok()
    }

    /// The conflation key of frame `index`.
    pub fn key(&self, index: usize) -> Option<&str> {
        match &self.members[index].said {
            Said::Told(Told::Event(event)) => event.key.as_deref(),
            Said::Told(Told::Gap(_)) => None,
            // What is newer of a user counts, and of the number.
            Said::Change(change) => Some(&change.user),
            Said::Count(_) => Some(""),
        }
    }

    /// The wire bytes of the frames in `range`.
    pub fn bytes(&self, codec: Codec, range: Range<usize>) -> &[u8] {
        let block = self.block(codec);
        let start = if range.start == 0 { 0 } else { block.ends[range.start - 1] };
        let end = if range.end == 0 { 0 } else { block.ends[range.end - 1] };
        &block.bytes[start..end]
    }

    /// The frame in which the byte lies that is `offset` bytes after the beginning of frame `start`.
    pub(crate) fn index_at(&self, codec: Codec, start: usize, offset: usize) -> usize {
        let ends = &self.block(codec).ends;
        let offset = offset + if start == 0 { 0 } else { ends[start - 1] };
        start + ends[start..].partition_point(|&end| end <= offset)
    }

    /// The runs of frames meant for `session`: all of them, but for those it was left out of.
    pub fn runs_for(&self, session: SessionId) -> impl Iterator<Item = Range<usize>> + '_ {
        let len = self.members.len();
        let gets_all = !self.leaves_out(session);
        let left_out = move |index: usize| !gets_all && self.members[index].except.sessions().contains(&session);
        let mut next = 0;
        std::iter::from_fn(move || {
            let start = (next..len).find(|&index| !left_out(index))?;
            next = if gets_all { len } else { (start..len).find(|&index| left_out(index)).unwrap_or(len) };
            Some(start..next)
        })
    }

    fn block(&self, codec: Codec) -> &Block {
        match codec {
            Codec::Json => &self.json,
            Codec::Msgpack => &self.msgpack,
        }
        .get_or_init(|| self.encode(codec))
    }

    fn encode(&self, codec: Codec) -> Block {
        let bytes = |member: &Member| match &member.said {
            Said::Told(Told::Event(event)) => {
                event.envelope.len() + 128 + member.traceparent.map_or(0, |_| Traceparent::FIELD_BYTES)
            }
            _ => 256,
        };
        let mut bytes = Vec::with_capacity(self.members.iter().map(bytes).sum());
        let mut payload = Vec::new();
        let mut ends = Vec::with_capacity(self.members.len());
        for member in &self.members {
            payload.clear();
            match (&member.said, codec) {
                (Said::Told(Told::Event(event)), Codec::Json) => {
                    event_frame_json(&mut payload, self.name.topic(), event, member.traceparent);
                }
                (Said::Told(Told::Event(event)), Codec::Msgpack) => {
                    event_frame_msgpack(&mut payload, self.name.topic(), event, member.traceparent);
                }
                (Said::Told(Told::Gap(gap)), _) => payload = gap.frame(&self.name).encode(codec),
                (Said::Change(change), _) => payload = change.frame(self.name.topic(), codec),
                (&Said::Count(count), _) => {
                    let topic = self.name.topic();
                    payload = ServerFrame::Presence { id: None, topic, count, cursor: None }.encode(codec);
                }
            }
            frame::put_message(&mut bytes, codec, &payload);
            ends.push(bytes.len());
        }
        Block { bytes: bytes.into(), ends }
    }
}

impl Member {
    /// The span that an event's frame names as the node's own.
    #[must_use]
    pub fn in_span(self, traceparent: Option<Traceparent>) -> Self {
        Self { traceparent, ..self }
    }
}

/// The second of the pair says who is left out.
impl<T: Into<Said>, X: Into<Except>> From<(T, X)> for Member {
    fn from((said, except): (T, X)) -> Self {
        Self { said: said.into(), except: except.into(), traceparent: None }
    }
}

impl From<Event> for Said {
    fn from(event: Event) -> Self {
        Said::Told(Told::Event(event))
    }
}

impl From<Told<Event>> for Said {
    fn from(told: Told<Event>) -> Self {
        Said::Told(told)
    }
}

impl Except {
    fn sessions(&self) -> &[SessionId] {
        match self {
            Self::Nobody => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl From<Option<SessionId>> for Except {
    fn from(session: Option<SessionId>) -> Self {
        session.map_or(Self::Nobody, Self::One)
    }
}

impl From<Vec<SessionId>> for Except {
    fn from(sessions: Vec<SessionId>) -> Self {
        match sessions[..] {
            [] => Self::Nobody,
            [one] => Self::One(one),
            _ => Self::Many(sessions.into()),
        }
    }
}

impl Gap {
    /// What subscribers of the topic are told.
    pub fn frame<'a>(&self, name: &'a TopicKey) -> ServerFrame<'a> {
        let Self { lost, reason, since, position } = *self;
        ServerFrame::Gap { topic: name.topic(), lost, reason, since, position }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use fanfare_protocol::{GapReason, Lost};
    use proptest::prelude::*;

    fn batch(exceptions: &[Option<u64>]) -> Batch {
        let event = Event::decode(Bytes::from_static(br#"{"type":"t"}"#), 1000).unwrap();
        let members = exceptions.iter().map(|except| (event.clone(), except.map(SessionId)));
        Batch::new(TopicId(0), TopicKey::parse("acme:channel:x").unwrap(), members)
    }

    fn delivered(batch: &Batch, session: u64) -> Vec<usize> {
        batch.runs_for(SessionId(session)).flatten().collect()
    }

    #[test]
    fn a_session_gets_every_event_but_those_it_was_left_out_of() {
        assert_eq!(delivered(&batch(&[None, Some(1), None, Some(2)]), 1), [0, 2, 3]);
        assert_eq!(delivered(&batch(&[Some(1), Some(1)]), 1), [0; 0]);
        assert_eq!(delivered(&batch(&[]), 1), [0; 0]);
        assert_eq!(batch(&[None, None, None]).runs_for(SessionId(1)).count(), 1, "one run, not three");
    }

    proptest! {
        #[test]
        fn runs_are_what_is_left_after_leaving_out(
            exceptions in prop::collection::vec(prop::option::of(0_u64..3), 0..12),
        ) {
            let batch = batch(&exceptions);
            for session in 0..4 {
                let meant = |index: &usize| exceptions[*index] != Some(session);
                let expected: Vec<_> = (0..exceptions.len()).filter(meant).collect();
                prop_assert_eq!(batch.leaves_out(SessionId(session)), expected.len() < exceptions.len());
                prop_assert_eq!(delivered(&batch, session), expected);
                // Neighbours are in one run.
                let runs: Vec<_> = batch.runs_for(SessionId(session)).collect();
                prop_assert!(runs.iter().all(|run| !run.is_empty()));
                prop_assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }

    #[test]
    fn a_batch_is_encoded_once_for_each_codec_however_many_ask() {
        let batch = batch(&[None, Some(1), None]);
        for codec in [Codec::Json, Codec::Msgpack] {
            let place = || batch.bytes(codec, 0..3).as_ptr().addr();
            let places = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(place)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(places, [place(); 4]);
        }
        assert_ne!(batch.bytes(Codec::Json, 0..3), batch.bytes(Codec::Msgpack, 0..3));
    }

    #[test]
    fn a_gap_stands_between_events() {
        let event = Event::decode(Bytes::from_static(br#"{"type":"t"}"#), 1000).unwrap();
        let gap = Gap { lost: Lost::All, reason: GapReason::Expired, since: None, position: None };
        let told = [Told::Event(event.clone()), Told::Gap(gap), Told::Event(event)].map(|told| (told, None));
        let batch = Batch::new(TopicId(0), TopicKey::parse("acme:channel:x").unwrap(), told);
        assert_eq!((batch.len(), batch.gaps(), batch.key(1)), (3, 1, None));
        let told = br#"{"op":"gap","topic":"channel:x","lost":"all","reason":"expired"}"#;
        assert_eq!(batch.bytes(Codec::Json, 1..2), frame::message(Codec::Json, told));
    }

    #[test]
    fn who_comes_and_goes_is_told_to_all_but_the_user_s_own_sessions() {
        let change = Change { is_joined: true, user: "ana".into(), info: None, count: 3 };
        let said = [
            (Said::Change(change), Except::from(vec![SessionId(1), SessionId(2)])),
            (Said::Count(600), Except::Nobody),
        ];
        let batch = Batch::new(TopicId(0), TopicKey::parse("acme:channel:x").unwrap().presence(), said);
        assert_eq!((batch.len(), batch.events(), batch.gaps()), (2, 0, 0));
        assert_eq!((batch.key(0), batch.key(1)), (Some("ana"), Some("")));
        for (session, expected) in [(1, &[1][..]), (2, &[1]), (3, &[0, 1])] {
            assert_eq!(delivered(&batch, session), expected);
        }
        let told = [
            &br#"{"op":"joined","topic":"channel:x","user":"ana"}"#[..],
            br#"{"op":"presence","topic":"channel:x","count":600}"#,
        ];
        let told = told.map(|told| frame::message(Codec::Json, told).to_vec()).concat();
        assert_eq!(batch.bytes(Codec::Json, 0..2), told);
    }

    #[test]
    fn a_codec_that_nobody_asks_for_is_not_encoded() {
        let batch = batch(&[None]);
        batch.bytes(Codec::Msgpack, 0..1);
        assert!(batch.json.get().is_none() && batch.msgpack.get().is_some());
    }

    #[test]
    fn a_byte_belongs_to_the_event_whose_frame_it_is_in() {
        let batch = batch(&[None, None, None]);
        let frame = batch.bytes(Codec::Json, 0..1).len();
        for start in 0..3 {
            for offset in 0..(3 - start) * frame {
                assert_eq!(batch.index_at(Codec::Json, start, offset), start + offset / frame);
            }
        }
    }

    #[test]
    fn frames_of_a_range_are_contiguous() {
        let batch = batch(&[None, None, None]);
        let all = batch.bytes(Codec::Json, 0..3).to_vec();
        let parts = [batch.bytes(Codec::Json, 0..1), batch.bytes(Codec::Json, 1..3)].concat();
        assert_eq!(all, parts);
        assert!(batch.bytes(Codec::Json, 0..0).is_empty());
    }
}
