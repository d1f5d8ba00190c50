//! One client on one topic: where it stands, what it has received, and what it does with each frame about the topic. It
//! keeps to the contract's rules for clients: a position is applied once, and nothing is inferred from a jump of `seq`.

use serde_json::value::RawValue;

use super::frame::{Frame, split};
use super::notes::{Arrivals, Notes};
use crate::feed::{Kind, TopicIssued};
use crate::mark::{Mark, MarkFinder};
use crate::reasons::count;
use crate::sequence::{Arrival, Missing, Sequence};

/// The position that a node tells which doesn't know where a topic stands.
const UNKNOWN: &str = "0-0";
/// Live events that may wait for the answers that precede them.
const HELD_MAX: usize = 10_000;

#[derive(Default)]
pub(crate) struct Place {
    /// The last position it was told; none before the first `subscribed`.
    position: Option<Box<str>>,
    /// The position of the last event that it was given.
    applied: Option<Box<str>>,
    durable: Sequence,
    ephemeral: Sequence,
    stage: Stage,
    /// Live events that came while more of the history was to be asked for.
    held: Vec<(Box<str>, Mark)>,
    /// The moment that is watched has been followed by an event.
    has_come_again: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Not subscribed on this connection.
    #[default]
    Away,
    /// Subscribed; more of the history has to be asked for.
    Behind,
    Live,
}

/// What a frame is judged with.
pub(crate) struct Scene<'a> {
    pub(crate) notes: &'a mut Notes,
    pub(crate) finder: &'a mut MarkFinder,
    pub(crate) run: u32,
    pub(crate) topic: u32,
    pub(crate) now_ns: u64,
    /// Events that were due before this don't show that a topic delivers again.
    pub(crate) watched_from_ns: Option<u64>,
}

impl Place {
    /// The position to come back with.
    pub(crate) fn since(&self) -> Option<&str> {
        self.position.as_deref()
    }

    pub(crate) fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }

    pub(crate) fn has_come_again(&self) -> bool {
        self.has_come_again
    }

    /// A new moment is watched.
    pub(crate) fn watch(&mut self) {
        self.has_come_again = false;
    }

    /// The connection is gone.
    pub(crate) fn lose(&mut self) {
        self.stage = Stage::Away;
        self.held.clear();
    }

    /// An answer to `subscribe`. True when there is more to ask for.
    pub(crate) fn subscribed(&mut self, frame: &Frame<'_>, scene: &mut Scene<'_>) -> bool {
        if self.position.is_some() && self.stage == Stage::Away {
            self.ephemeral.return_from_away();
        }
        match frame.recovered {
            Some(true) => scene.notes.recovered += 1,
            Some(false) => {
                self.durable.gap();
                count(&mut scene.notes.not_recovered, frame.reason.as_deref().unwrap_or("no reason").to_owned());
            }
            None => {}
        }
        let had = self.applied.clone().filter(|_| self.position.as_deref() == Some(UNKNOWN));
        for kept in &frame.events {
            if had.as_deref().is_some_and(|had| is_at_or_before(&kept.position, had)) {
                scene.notes.durable.replayed += 1;
                continue;
            }
            if let Some(mark) = scene.mark(kept.event) {
                self.receive(mark, true, scene);
            }
            self.go_to(&kept.position);
        }
        if frame.recovered == Some(false) && !frame.events.is_empty() {
            self.durable.gap_so_far();
        }
        if frame.more {
            self.stage = Stage::Behind;
            return true;
        }
        self.position = frame.position.as_deref().map(Into::into);
        self.stage = Stage::Live;
        let end = self.position.clone().unwrap_or_default();
        for (position, mark) in std::mem::take(&mut self.held) {
            if is_at_or_before(&end, &position) && end != position {
                self.apply(&position, mark, scene);
            }
        }
        false
    }

    /// A live event.
    pub(crate) fn event(&mut self, event: &RawValue, position: Option<&str>, scene: &mut Scene<'_>) {
        if self.stage == Stage::Away {
            count(&mut scene.notes.violations, "an event before `subscribed`".to_owned());
        }
        let Some(mark) = scene.mark(event) else { return };
        match position {
            Some(position) if self.stage == Stage::Behind && self.held.len() < HELD_MAX => {
                self.held.push((position.into(), mark));
            }
            Some(position) => self.apply(position, mark, scene),
            None => self.receive(mark, false, scene),
        }
    }

    /// A gap notice.
    pub(crate) fn gap(&mut self, frame: &Frame<'_>, notes: &mut Notes) {
        let (lost, reason) = (frame.lost.as_deref().unwrap_or("all"), frame.reason.as_deref().unwrap_or("no reason"));
        count(&mut notes.gaps, format!("{lost}, {reason}"));
        self.ephemeral.gap();
        if lost == "all" {
            self.durable.gap();
            if let Some(position) = frame.position.as_deref().filter(|_| self.stage == Stage::Live) {
                self.position = Some(position.into());
            }
        }
    }

    /// What is missing of both kinds.
    pub(crate) fn missing(&self, issued: &TopicIssued) -> (Missing, Missing) {
        let of =
            |sequence: &Sequence, issued: &crate::feed::Issued| sequence.missing(issued.events, &issued.unconfirmed);
        (of(&self.durable, &issued.durable), of(&self.ephemeral, &issued.ephemeral))
    }

    fn apply(&mut self, position: &str, mark: Mark, scene: &mut Scene<'_>) {
        self.go_to(position);
        self.receive(mark, false, scene);
    }

    /// An event of this position was given to the client.
    fn go_to(&mut self, position: &str) {
        self.position = Some(position.into());
        self.applied = Some(position.into());
    }

    fn receive(&mut self, mark: Mark, is_recovered: bool, scene: &mut Scene<'_>) {
        let (kind, topic) = Kind::of_channel(mark.channel);
        if topic != scene.topic {
            scene.notes.strange += 1;
            return;
        }
        let (sequence, arrivals) = match kind {
            Kind::Durable => (&mut self.durable, &mut scene.notes.durable),
            Kind::Ephemeral => (&mut self.ephemeral, &mut scene.notes.ephemeral),
        };
        arrivals.add(sequence.take(mark.seq), is_recovered);
        let watched = scene.watched_from_ns.filter(|from_ns| kind == Kind::Durable && *from_ns <= mark.intended_ns);
        if let Some(from_ns) = watched.filter(|_| !self.has_come_again) {
            self.has_come_again = true;
            scene.notes.again.record_ns(scene.now_ns.saturating_sub(from_ns));
        }
    }
}

/// In one epoch; positions of different ones can't be compared.
fn is_at_or_before(position: &str, other: &str) -> bool {
    split(position).zip(split(other)).is_some_and(|(a, b)| a.0 == b.0 && a.1 <= b.1)
}

impl Arrivals {
    fn add(&mut self, arrival: Arrival, is_recovered: bool) {
        match arrival {
            Arrival::InOrder => {}
            Arrival::Late => self.disordered += 1,
            Arrival::Duplicate => {
                self.duplicated += 1;
                return;
            }
        }
        self.received += 1;
        self.recovered += u64::from(is_recovered);
    }
}

impl Scene<'_> {
    fn mark(&mut self, event: &RawValue) -> Option<Mark> {
        let mark = self.finder.find(event.get().as_bytes()).filter(|mark| mark.run == self.run);
        self.notes.strange += u64::from(mark.is_none());
        mark
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::feed::Issued;
    use crate::mark::Envelope;

    const TOPIC: u32 = 3;

    struct Client {
        place: Place,
        notes: Notes,
        watched_from_ns: Option<u64>,
    }

    impl Client {
        fn new() -> Client {
            Client { place: Place::default(), notes: Notes::new(), watched_from_ns: None }
        }

        fn hear(&mut self, frame: &str) -> bool {
            let frame: Frame<'_> = serde_json::from_str(frame).unwrap();
            let mut scene = Scene {
                notes: &mut self.notes,
                finder: &mut MarkFinder::new(),
                run: 1,
                topic: TOPIC,
                now_ns: 5_000_000,
                watched_from_ns: self.watched_from_ns,
            };
            match frame.op.as_ref() {
                "subscribed" => return self.place.subscribed(&frame, &mut scene),
                "event" => self.place.event(frame.event.unwrap(), frame.position.as_deref(), &mut scene),
                _ => self.place.gap(&frame, &mut self.notes),
            }
            false
        }

        fn live(&mut self, seq: u64) {
            let event = event(Kind::Durable, seq);
            self.hear(&format!(r#"{{"op":"event","topic":"t","position":"7-{}","event":{event}}}"#, seq + 1));
        }

        fn ephemeral(&mut self, seq: u64) {
            let event = event(Kind::Ephemeral, seq);
            self.hear(&format!(r#"{{"op":"event","topic":"t","event":{event}}}"#));
        }

        /// `subscribed` at this position, with these events.
        fn back(&mut self, at: u64, seqs: &[u64], rest: &str) -> bool {
            let kept = |seq: &u64| format!(r#"{{"position":"7-{}","event":{}}}"#, seq + 1, event(Kind::Durable, *seq));
            let events: Vec<String> = seqs.iter().map(kept).collect();
            self.hear(&format!(
                r#"{{"op":"subscribed","id":1,"topic":"t","position":"7-{at}","events":[{}]{rest}}}"#,
                events.join(",")
            ))
        }

        fn missing(&self, durable: u64, ephemeral: u64) -> (Missing, Missing) {
            let issued = |events| Issued { events, unconfirmed: Vec::new() };
            self.place.missing(&TopicIssued { durable: issued(durable), ephemeral: issued(ephemeral) })
        }
    }

    fn event(kind: Kind, seq: u64) -> String {
        let mark = Mark { run: 1, channel: kind.channel(TOPIC), seq, intended_ns: 4_000_000 };
        String::from_utf8(Envelope::new(128).unwrap().stamped(mark).to_vec()).unwrap()
    }

    const RECOVERED: &str = r#","recovered":true"#;

    #[test]
    fn what_was_missed_is_recovered_once_and_in_order() {
        let mut client = Client::new();
        client.back(0, &[], "");
        client.live(0);
        client.place.lose();
        assert_eq!(client.place.since(), Some("7-1"));
        client.back(3, &[1, 2], RECOVERED);
        client.live(3);
        assert_eq!(client.missing(4, 0).0, Missing::default());
        let durable = client.notes.durable;
        assert_eq!((durable.received, durable.recovered, durable.duplicated, durable.disordered), (4, 2, 0, 0));
    }

    #[test]
    fn an_event_that_a_complete_answer_leaves_out_is_lost_in_silence() {
        let mut client = Client::new();
        client.back(0, &[], "");
        client.place.lose();
        client.back(3, &[0, 2], RECOVERED);
        assert_eq!(client.missing(4, 0).0.lost, 2, "one in the middle, and the last");
    }

    #[test]
    fn an_answer_that_admits_a_loss_covers_it_and_nothing_later() {
        let mut client = Client::new();
        client.back(0, &[], "");
        client.place.lose();
        client.back(4, &[1, 3], r#","recovered":false,"reason":"expired""#);
        client.live(5);
        let missing = client.missing(6, 0).0;
        assert_eq!((missing.covered, missing.lost), (2, 1));
        assert_eq!(client.notes.not_recovered["expired"], 1);
    }

    #[test]
    fn a_client_that_was_told_no_position_leaves_out_what_it_has_had() {
        let mut client = Client::new();
        client.back(0, &[], "");
        client.live(0);
        client.place.lose();
        client.hear(r#"{"op":"subscribed","id":1,"topic":"t","position":"0-0","recovered":false,"reason":"expired"}"#);
        client.place.lose();
        assert_eq!(client.place.since(), Some(UNKNOWN));
        client.back(3, &[0, 2], r#","recovered":false,"reason":"expired""#);
        let durable = client.notes.durable;
        assert_eq!((durable.received, durable.replayed, durable.duplicated), (2, 1, 0));
        assert_eq!(client.missing(3, 0).0, Missing { covered: 1, ..Missing::default() });
        client.place.lose();
        client.back(3, &[2], RECOVERED);
        assert_eq!(client.notes.durable.duplicated, 1, "now it could say what it had");
    }

    #[test]
    fn ephemeral_events_of_the_time_away_are_neither_lost_nor_covered() {
        let mut client = Client::new();
        client.back(0, &[], "");
        client.ephemeral(0);
        client.place.lose();
        client.back(0, &[], RECOVERED);
        client.ephemeral(3);
        client.ephemeral(5);
        let missing = client.missing(0, 6).1;
        assert_eq!((missing.away, missing.lost), (2, 1));
        client.hear(r#"{"op":"gap","topic":"t","lost":"ephemeral","reason":"backplane"}"#);
        let missing = client.missing(0, 6).1;
        assert_eq!((missing.away, missing.covered, missing.lost), (2, 1, 0));
    }

    #[test]
    fn a_gap_of_ephemeral_events_covers_no_durable_one() {
        let mut client = Client::new();
        client.back(0, &[], "");
        client.live(0);
        client.hear(r#"{"op":"gap","topic":"t","lost":"ephemeral","reason":"backplane"}"#);
        client.live(2);
        assert_eq!(client.missing(3, 0).0.lost, 1);
        client.hear(r#"{"op":"gap","topic":"t","lost":"all","reason":"epoch","position":"9-4"}"#);
        assert_eq!(client.missing(3, 0).0, Missing { covered: 1, ..Missing::default() });
        assert_eq!(client.place.since(), Some("9-4"));
    }

    #[test]
    fn what_comes_live_waits_until_all_before_it_is_asked_for() {
        let mut client = Client::new();
        client.back(0, &[], "");
        client.place.lose();
        assert!(client.back(4, &[0, 1], r#","recovered":true,"more":true"#), "ask on");
        assert_eq!(client.place.since(), Some("7-2"));
        client.live(4);
        assert!(!client.back(5, &[2, 3, 4], RECOVERED));
        client.live(5);
        assert_eq!(client.missing(6, 0).0, Missing::default());
        assert_eq!((client.notes.durable.duplicated, client.notes.durable.disordered), (0, 0));
        assert!(client.place.is_live());
    }

    #[test]
    fn a_replay_and_an_event_too_early_are_seen() {
        let mut client = Client::new();
        client.live(0);
        assert_eq!(client.notes.violations["an event before `subscribed`"], 1);
        client.back(1, &[0], RECOVERED);
        assert_eq!(client.notes.durable.duplicated, 1);
        client.live(2);
        client.live(1);
        assert_eq!(client.notes.durable.disordered, 1);
    }

    #[test]
    fn a_topic_delivers_again_with_the_first_event_after_the_moment() {
        let mut client = Client::new();
        client.back(0, &[], "");
        client.watched_from_ns = Some(4_500_000);
        client.live(0);
        assert!(!client.place.has_come_again(), "it was due before");
        client.watched_from_ns = Some(3_500_000);
        client.live(1);
        client.live(2);
        assert!(client.place.has_come_again());
        assert_eq!((client.notes.again.quantiles().count, client.notes.again.quantiles().max), (1, 1_500));
    }
}
