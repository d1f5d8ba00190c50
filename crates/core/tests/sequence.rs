//! The promise for one topic, as a model without I/O: a backplane that loses connections, writes and history at any moment,
//! and a node that has to deliver every event once and in order or tell a gap. Millions of steps, none of them waits.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::VecDeque;

use fanfare_core::sequence::{Arrival, Ask, Gap, History, Sequence, Told, Verdict};
use fanfare_protocol::{GapReason, Lost, Position};
use proptest::prelude::*;

/// A forged event's number: it must never be told.
const FORGED: u64 = u64::MAX;

/// An event of the model: its number in the order in which the backplane took it.
type Number = u64;

#[derive(Debug, Clone)]
enum Step {
    Durable,
    Invalid,
    Ephemeral,
    /// Somebody claims a position, in this epoch or in another.
    Forge(bool),
    /// So many messages reach the node.
    Deliver(usize),
    /// The subscription is lost, and what was on its way.
    Lose,
    /// It stands again.
    Confirm,
    /// The server executes the read that was asked for, and may answer in parts.
    Execute(usize),
    /// Its answer reaches the node.
    Answer,
    /// Only so many events are kept.
    Trim(usize),
    /// All history is gone, the place in it too.
    Expire,
    /// Another server, which never had the last so many writes.
    FailOver(usize),
}

/// What the subscription brings to the node.
enum Message {
    Arrival(Arrival<Number>),
    /// All that was published before a history was read has come: its answer may be handed in.
    Fence(u32, History<Number>),
}

/// A topic on a server, a node that subscribes to it, and one client.
#[derive(Default)]
struct World {
    published: Vec<Option<Position>>,
    stored: VecDeque<(Position, Number, bool)>,
    head: Option<Position>,
    last_epoch: u64,
    is_subscribed: bool,
    is_confirmed: bool,
    on_their_way: VecDeque<Message>,
    sequence: Sequence<Number>,
    asked: Option<Ask>,
    /// Answers to reads that may be handed in, whatever is on its way.
    answered: VecDeque<(u32, History<Number>)>,
    /// What the client was told since it was subscribed, which was before the event of that number.
    told: Vec<Told<Number>>,
    from: Option<Number>,
    /// A loss for which no gap was told yet.
    owes_gap: bool,
    held_bytes_max: usize,
}

impl World {
    fn take(&mut self, step: &Step) {
        match *step {
            Step::Durable => self.publish_durable(true),
            Step::Invalid => self.publish_durable(false),
            Step::Ephemeral => self.publish(None, true),
            Step::Forge(is_other_epoch) => self.forge(is_other_epoch),
            Step::Deliver(count) => (0..count).for_each(|_| self.deliver()),
            Step::Lose => self.lose(),
            Step::Confirm => self.confirm(),
            Step::Execute(limit) => self.execute(limit),
            Step::Answer => self.answer(),
            Step::Trim(count) => self.trim(count),
            Step::Expire => {
                self.stored.clear();
                self.head = None;
            }
            Step::FailOver(lost) => self.fail_over(lost),
        }
    }

    /// As the library on the server does it: an epoch begins where none is.
    fn begin(&mut self) -> Position {
        *self.head.get_or_insert_with(|| {
            self.last_epoch += 10;
            Position { epoch: self.last_epoch, seq: 0 }
        })
    }

    fn publish_durable(&mut self, is_valid: bool) {
        let head = self.begin();
        let position = Position { seq: head.seq + 1, ..head };
        self.head = Some(position);
        self.stored.push_back((position, self.published.len() as u64, is_valid));
        self.publish(Some(position), is_valid);
    }

    fn publish(&mut self, position: Option<Position>, is_valid: bool) {
        let number = self.published.len() as u64;
        self.published.push(position);
        self.send(position, is_valid.then_some(number));
    }

    fn forge(&mut self, is_other_epoch: bool) {
        let Some(head) = self.head else { return };
        let position = if is_other_epoch {
            Position { epoch: head.epoch + 1_000_000, seq: 1 }
        } else {
            Position { seq: head.seq + 1_000, ..head }
        };
        self.send(Some(position), Some(FORGED));
    }

    fn send(&mut self, position: Option<Position>, event: Option<Number>) {
        if self.is_subscribed {
            self.on_their_way.push_back(Message::Arrival(Arrival { position, event, bytes: 1 }));
        }
    }

    fn deliver(&mut self) {
        match self.on_their_way.pop_front() {
            Some(Message::Arrival(arrival)) => {
                let mut told = Vec::new();
                let verdict = self.sequence.take(arrival, self.held_bytes_max, &mut told);
                self.done(verdict, told);
            }
            Some(Message::Fence(round, history)) => self.answered.push_back((round, history)),
            None => {}
        }
    }

    fn lose(&mut self) {
        self.is_subscribed = false;
        self.on_their_way.clear();
        if std::mem::take(&mut self.is_confirmed) {
            self.sequence.lose();
            self.owes_gap = true;
        }
    }

    fn confirm(&mut self) {
        if !self.is_subscribed {
            self.is_subscribed = true;
            self.is_confirmed = true;
            let ask = self.sequence.confirm();
            self.asked = Some(ask);
        }
    }

    fn execute(&mut self, limit: usize) {
        let Some(ask) = self.asked.take() else { return };
        let position = self.begin();
        let after = |at: Position| ask.after.is_some_and(|after| (at.epoch, at.seq) > (after.epoch, after.seq));
        let mut events: Vec<_> = self.stored.iter().filter(|(at, ..)| after(*at)).collect();
        let more = events.len() > limit;
        events.truncate(limit);
        let arrival = |&&(position, number, is_valid): &&(Position, Number, bool)| Arrival {
            position: Some(position),
            event: is_valid.then_some(number),
            bytes: 1,
        };
        let events = events.iter().map(arrival).collect();
        let history = History { position, events, more };
        if ask.after.is_some() && self.is_subscribed {
            self.on_their_way.push_back(Message::Fence(ask.round, history));
        } else {
            self.answered.push_back((ask.round, history));
        }
    }

    fn answer(&mut self) {
        let Some((round, history)) = self.answered.pop_front() else { return };
        let mut told = Vec::new();
        let verdict = self.sequence.fill(round, history, &mut told);
        self.done(verdict, told);
    }

    fn done(&mut self, verdict: Verdict, told: Vec<Told<Number>>) {
        if verdict.ask.is_some() {
            self.asked = verdict.ask;
        }
        self.told.extend(told);
        if self.from.is_none() && self.sequence.is_ready() {
            // The client subscribes: what was told before concerned nobody.
            self.told.clear();
            self.owes_gap = false;
            let at = self.sequence.at().unwrap();
            let is_after = |position: &Option<Position>| {
                position.is_some_and(|position| (position.epoch, position.seq) > (at.epoch, at.seq))
            };
            let first = self.published.iter().position(is_after).unwrap_or(self.published.len());
            self.from = Some(first as u64);
        }
    }

    fn trim(&mut self, count: usize) {
        while self.stored.len() > count {
            self.stored.pop_front();
        }
    }

    fn fail_over(&mut self, lost: usize) {
        self.lose();
        for _ in 0..lost {
            self.stored.pop_back();
        }
        // Another history of the server, so another epoch.
        self.head = None;
    }

    /// Whatever was under way comes to its end.
    fn settle(&mut self) {
        self.confirm();
        for _ in 0..10_000 {
            if self.asked.is_none() && self.answered.is_empty() && self.on_their_way.is_empty() {
                return;
            }
            self.deliver();
            self.execute(3);
            self.answer();
        }
        panic!("it never comes to rest");
    }

    /// Each event was told once and in order, or stands where a gap was told.
    fn check(&self) {
        let from = self.from.unwrap();
        let mut is_told = vec![false; self.published.len()];
        let mut last = None;
        // For each event told and each gap: which event was told before it.
        let mut gaps = Vec::new();
        for told in &self.told {
            match told {
                Told::Event(number) => {
                    assert_ne!(*number, FORGED, "a forged event was told");
                    assert!(last < Some(*number), "{number} after {last:?}: {:?}", self.told);
                    is_told[usize::try_from(*number).unwrap()] = true;
                    last = Some(*number);
                }
                Told::Gap(gap) => gaps.push((last, *gap)),
            }
        }
        for (number, position) in (0..).zip(&self.published).skip(usize::try_from(from).unwrap()) {
            if is_told[usize::try_from(number).unwrap()] {
                continue;
            }
            let is_covered = match position {
                // It may be told later, but not before an event that came earlier.
                None => self.owes_gap || gaps.iter().any(|(before, _)| self.last_before(number) <= *before),
                Some(position) => gaps.iter().any(|(_, gap)| covers(gap, *position)),
            };
            assert!(is_covered, "{number} at {position:?} is lost in silence: {:?} of {:?}", self.told, self.published);
        }
    }

    /// The last event told of those before this one.
    fn last_before(&self, number: Number) -> Option<Number> {
        let events = self.told.iter().filter_map(|told| match told {
            Told::Event(told) => Some(*told),
            Told::Gap(_) => None,
        });
        events.filter(|&told| told < number).max()
    }
}

/// In the model epochs go up.
fn covers(gap: &Gap, position: Position) -> bool {
    let order = |position: Position| (position.epoch, position.seq);
    let is_after = gap.since.is_none_or(|since| order(position) > order(since));
    gap.lost == Lost::All && is_after && gap.position.is_none_or(|end| order(position) <= order(end))
}

/// What may happen but for one thing: on top of claims made up by somebody, or of histories that expire while their events
/// are still on their way.
fn steps(extra: BoxedStrategy<Step>) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Durable),
        1 => Just(Step::Invalid),
        4 => Just(Step::Ephemeral),
        2 => extra,
        6 => (1_usize..4).prop_map(Step::Deliver),
        1 => Just(Step::Lose),
        3 => Just(Step::Confirm),
        5 => (1_usize..5).prop_map(Step::Execute),
        5 => Just(Step::Answer),
        1 => (0_usize..4).prop_map(Step::Trim),
        1 => (0_usize..4).prop_map(Step::FailOver),
    ];
    prop::collection::vec(step, 1..120)
}

fn run(steps: &[Step], held_bytes_max: usize) {
    let mut world = World { held_bytes_max, ..World::default() };
    for step in steps {
        world.take(step);
    }
    world.settle();
    // What is lost without a trace shows with the next events.
    world.publish_durable(true);
    world.settle();
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_told_once_and_in_order_or_covered_by_a_gap(
        steps in steps(Just(Step::Expire).boxed()),
        held_bytes_max in 0_usize..12,
    ) {
        run(&steps, held_bytes_max);
    }

    #[test]
    fn a_made_up_position_is_not_believed_and_costs_no_event(
        steps in steps(any::<bool>().prop_map(Step::Forge).boxed()),
        held_bytes_max in 0_usize..12,
    ) {
        run(&steps, held_bytes_max);
    }
}

#[test]
fn an_answer_to_an_earlier_question_changes_nothing() {
    let mut sequence = Sequence::<Number>::default();
    let first = sequence.confirm();
    sequence.lose();
    let second = sequence.confirm();
    let history = |seq| History { position: Position { epoch: 1, seq }, events: Vec::new(), more: false };
    sequence.fill(first.round, history(1), &mut Vec::new());
    assert_eq!(sequence.at(), None);
    sequence.fill(second.round, history(2), &mut Vec::new());
    assert_eq!(sequence.at(), Some(Position { epoch: 1, seq: 2 }));
}

#[test]
fn who_was_told_no_place_is_told_a_gap_as_soon_as_there_is_one() {
    let mut sequence = Sequence::<Number>::default();
    sequence.be_blind();
    let ask = sequence.confirm();
    assert_eq!(ask.after, None);
    let position = Position { epoch: 1, seq: 7 };
    let mut told = Vec::new();
    sequence.fill(ask.round, History { position, events: Vec::new(), more: false }, &mut told);
    let gap = Gap { lost: Lost::All, reason: GapReason::Backplane, since: None, position: Some(position) };
    assert_eq!(told, [Told::Gap(gap)]);
}

#[test]
fn a_second_answer_to_the_same_question_changes_nothing() {
    let mut sequence = Sequence::<Number>::default();
    let ask = sequence.confirm();
    let history = || History { position: Position { epoch: 1, seq: 7 }, events: Vec::new(), more: false };
    sequence.fill(ask.round, history(), &mut Vec::new());
    sequence.fill(ask.round, history(), &mut Vec::new());
    assert!(sequence.is_live() && sequence.is_ready());
}

#[test]
fn a_history_that_can_not_be_read_any_more_is_told_as_a_gap_and_what_follows_comes() {
    let mut sequence = Sequence::<Number>::default();
    let at = |epoch, seq| Position { epoch, seq };
    let ask = sequence.confirm();
    sequence.fill(ask.round, History { position: at(1, 7), events: Vec::new(), more: false }, &mut Vec::new());
    let mut told = Vec::new();
    let arrival = |position, event| Arrival { position: Some(position), event: Some(event), bytes: 1 };
    let ask = sequence.take(arrival(at(9, 1), 1), 100, &mut told).ask.unwrap();
    let unknown = History { position: Position::NONE, events: Vec::new(), more: false };
    sequence.fill(ask.round, unknown, &mut told);
    sequence.take(arrival(at(9, 2), 2), 100, &mut told);
    let since = Some(at(1, 7));
    let gap = Gap { lost: Lost::All, reason: GapReason::Backplane, since, position: None };
    assert_eq!(told, [Told::Gap(gap), Told::Event(1), Told::Event(2)]);
}
