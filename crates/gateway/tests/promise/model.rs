//! The promise, as a check over what was published and what each client was told. No I/O, and no knowledge of how a node
//! works.
//!
//! The contract: *each event published is delivered once and in order, or covered by a gap notice, whatever fails*. In detail,
//! for one client and one topic, from its first `subscribed` on:
//!
//! 1. **Once.** An event is applied once. A durable event that comes again with the same position is a replay, which a client
//!    skips. Only one that was published again (an idempotent retry after its id was lost) may be applied twice: at another
//!    position, after a gap.
//! 2. **In order.** What is applied comes in the order in which Redis took it, durable and ephemeral events together. One
//!    publisher writes each topic, one event after the other, so its numbers are that order. Ephemeral events have no position
//!    by which anybody could tell what a client had before, so for them 1 and 2 hold within one subscription: a client that
//!    moves to a node that is a moment behind may get the last ones again.
//! 3. **Durable events are complete**: each one acknowledged after `subscribed.position` is applied, or lies in a stretch that a
//!    `gap` with `lost: "all"` or an answer with `recovered: false` tells. The notice stands between what was applied before
//!    the event and what is applied after it, and the positions it gives include the event.
//! 4. **Ephemeral events are complete** from the first applied event on, and from the moment the client had its `subscribed`:
//!    one that is missing is covered by any notice, or by the client's own absence. Notices of ephemeral losses are spread, so
//!    one may come later than events behind the hole, but no later than the spread; and never before the ephemeral event
//!    that was applied last before the hole.
//! 5. **A notice is about the past**: what was published after it was told is not covered by it.
//! 6. **A gap is told only where history can't fill it**: `expired` and `epoch` are told only of topics whose history was
//!    harmed, `invalid` only of those that had an event that is not valid. (`backplane` may be told at any time: that a
//!    node can't look is nobody's fault but the fault's.)
//! 7. **A position means one event**, for all clients and the publisher, for ever.
//! 8. Nothing comes of a topic before its `subscribed` or after its `unsubscribed`; no `event` at or before
//!    `subscribed.position`; and nothing that nobody published: neither an event of another tenant or topic, nor one that is not
//!    valid, nor one whose position somebody made up.
//!
//! What was published without an answer (*unclear*) may or may not have happened: it may be missing, and if it comes, 1, 2, 7 and
//! 8 hold for it.
//!
//! Not promised, and so not asked for: ephemeral events while the client itself was away; that no notice is told without a loss
//! (but see 6); any time in which something happens (the world waits for the end with patience).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use fanfare_protocol::Position;

use crate::follower::{Follower, Step, Story};

/// How long after an event that follows a hole a notice of ephemeral loss may still come: the spread of the nodes' notices is
/// shorter, but a node or a client may be stopped meanwhile.
pub(crate) const NOTICE_PATIENCE: Duration = Duration::from_secs(8);

/// An event's number in its topic, from 1, in the order of publishing.
pub(crate) type Number = u64;

/// A time since the world began.
pub(crate) type At = Duration;

/// How an event was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By PUBLISH.
    Ephemeral,
    /// By `fanfare_publish`.
    Durable,
    /// By `fanfare_publish`, and it is no envelope: it has a place, and is told as a gap.
    Invalid,
}

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// How.
    pub(crate) kind: Kind,
    /// When it was begun: it was not published before.
    pub(crate) started: At,
    /// Redis has answered that it took it.
    pub(crate) is_acknowledged: bool,
    /// Where it stands. More than one when it was published again after its id was lost.
    pub(crate) positions: Vec<Position>,
    /// How often it may have been published.
    pub(crate) attempts: u32,
}

/// All that was published to one topic, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    events: Vec<Published>,
    /// Since when the topic's history may lack something.
    pub(crate) harmed: Option<At>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which of the promises.
    pub(crate) rule: Rule,
    /// The event it is about, if it is about one.
    pub(crate) number: Option<Number>,
    /// What is wrong, for people.
    pub(crate) words: String,
}

/// The promises, by the numbers above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    Once,
    InOrder,
    DurableComplete,
    EphemeralComplete,
    GapWithoutReason,
    OnePositionOneEvent,
    Protocol,
    NotPublished,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { rule, words, .. } = self;
        write!(f, "{rule:?}: {words}")
    }
}

impl Log {
    /// The next event is about to be published.
    pub(crate) fn start(&mut self, kind: Kind, started: At) -> Number {
        let event = Published { kind, started, is_acknowledged: false, positions: Vec::new(), attempts: 1 };
        self.events.push(event);
        self.events.len() as Number
    }

    /// It is tried once more.
    pub(crate) fn retry(&mut self, number: Number) {
        self.event_mut(number).attempts += 1;
    }

    /// Redis has refused an attempt: it was not published by that.
    pub(crate) fn refuse(&mut self, number: Number) {
        self.event_mut(number).attempts -= 1;
    }

    /// Redis has taken it.
    pub(crate) fn acknowledge(&mut self, number: Number, position: Option<Position>) {
        let event = self.event_mut(number);
        event.is_acknowledged = true;
        event.positions.extend(position.filter(|position| !event.positions.contains(position)));
    }

    /// The history is about to lose something.
    pub(crate) fn harm(&mut self, at: At) {
        self.harmed.get_or_insert(at);
    }

    /// One event, if there is one of this number.
    pub(crate) fn get(&self, number: Number) -> Option<&Published> {
        self.events.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// All events with their numbers.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (Number, &Published)> {
        self.events.iter().enumerate().map(|(index, event)| (index as Number + 1, event))
    }

    fn event_mut(&mut self, number: Number) -> &mut Published {
        &mut self.events[usize::try_from(number - 1).expect("an event's number")]
    }
}

/// Which event each position of a topic means: as Redis answered, and as any client was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    numbers: HashMap<Position, Number>,
}

impl Places {
    /// From what the publisher was answered.
    pub(crate) fn of(log: &Log) -> (Places, Vec<Violation>) {
        let mut places = Places::default();
        let mut violations = Vec::new();
        for (number, event) in log.iter() {
            for &position in &event.positions {
                violations.extend(places.learn(position, number));
            }
        }
        (places, violations)
    }

    /// A client was told this. One who was told first is as good as the next.
    pub(crate) fn learn(&mut self, position: Position, number: Number) -> Option<Violation> {
        let known = *self.numbers.entry(position).or_insert(number);
        let words = || format!("{position} is event {known} and event {number}");
        (known != number).then(|| Violation { rule: Rule::OnePositionOneEvent, number: Some(number), words: words() })
    }

    /// The number of the last event at or before a position; none when the epoch is not known.
    fn last_at(&self, position: Position) -> Option<Number> {
        if let Some(number) = self.numbers.get(&position) {
            return Some(*number);
        }
        let epoch = || self.numbers.iter().filter(|(place, _)| place.epoch == position.epoch);
        let before = epoch().filter(|(place, _)| place.seq <= position.seq).map(|(_, number)| *number).max();
        before.or_else(|| epoch().map(|(_, number)| number.saturating_sub(1)).min())
    }
}

/// Checks what one client was told of one topic.
pub(crate) fn check(log: &Log, places: &Places, follower: &Follower) -> Vec<Violation> {
    let checker = Checker { log, places, steps: follower.steps() };
    let mut violations: Vec<_> = follower
        .faults()
        .iter()
        .map(|words| Violation { rule: Rule::Protocol, number: None, words: words.clone() })
        .collect();
    checker.check_published(&mut violations);
    checker.check_order(&mut violations);
    checker.check_reasons(&mut violations);
    checker.check_complete(&mut violations);
    violations
}

struct Checker<'a> {
    log: &'a Log,
    places: &'a Places,
    steps: &'a [Step],
}

/// An event that was applied: its place among the steps, its number.
#[derive(Clone, Copy)]
struct Applied {
    index: usize,
    number: Number,
    position: Option<Position>,
}

/// What was applied before.
#[derive(Default)]
struct Before {
    seen: HashMap<Number, Applied>,
    last: Number,
    last_durable: Number,
}

impl Before {
    /// The client was away, and may be on another node now.
    fn subscribe_anew(&mut self) {
        self.seen.retain(|_, applied| applied.position.is_some());
        self.last = 0;
    }
}

impl Checker<'_> {
    fn applied(&self) -> impl Iterator<Item = Applied> {
        self.steps.iter().enumerate().filter_map(|(index, step)| match step.story {
            Story::Event { number, position } => Some(Applied { index, number, position }),
            _ => None,
        })
    }

    fn check_published(&self, violations: &mut Vec<Violation>) {
        for Applied { number, position, .. } in self.applied() {
            let mut wrong = |words: String| {
                violations.push(Violation { rule: Rule::NotPublished, number: Some(number), words });
            };
            let Some(event) = self.log.get(number) else {
                wrong(format!("event {number} was never published"));
                continue;
            };
            let is_durable = position.is_some();
            match event.kind {
                Kind::Invalid => wrong(format!("event {number} is not valid")),
                Kind::Ephemeral if is_durable => wrong(format!("event {number} was ephemeral, and has a position")),
                Kind::Durable if !is_durable => wrong(format!("event {number} was durable, and has no position")),
                _ if event.attempts == 0 => wrong(format!("event {number} was refused")),
                _ => {}
            }
            let is_elsewhere = position.is_some_and(|position| !event.positions.contains(&position));
            if event.kind == Kind::Durable && is_elsewhere && event.is_acknowledged && event.attempts <= 1 {
                wrong(format!("event {number} was published at {:?}, not at {position:?}", event.positions));
            }
        }
    }

    fn check_order(&self, violations: &mut Vec<Violation>) {
        let mut before = Before::default();
        for (index, step) in self.steps.iter().enumerate() {
            let (number, position) = match &step.story {
                Story::Event { number, position } => (*number, *position),
                Story::Notice { reason, .. } if reason == "away" => {
                    before.subscribe_anew();
                    continue;
                }
                _ => continue,
            };
            let mut wrong = |rule: Rule, words: String| {
                violations.push(Violation { rule, number: Some(number), words });
            };
            let applied = Applied { index, number, position };
            if let Some(first) = before.seen.insert(number, applied) {
                let is_moved = position.is_some() && position != first.position;
                if !is_moved || !self.steps[first.index..index].iter().any(Step::covers_all) {
                    let words = format!("event {number} was applied twice: at {:?} and {position:?}", first.position);
                    wrong(Rule::Once, words);
                }
            }
            let last = before.last.max(position.map_or(0, |_| before.last_durable));
            if number < last {
                wrong(Rule::InOrder, format!("event {number} comes after event {last}"));
            }
            before.last = before.last.max(number);
            before.last_durable = before.last_durable.max(position.map_or(0, |_| number));
        }
    }

    fn check_reasons(&self, violations: &mut Vec<Violation>) {
        for step in self.steps {
            let Story::Notice { all: true, reason, .. } = &step.story else { continue };
            let is_harmed = |at: Option<At>| at.is_some_and(|harmed| harmed <= step.at);
            let is_founded = match reason.as_str() {
                "backplane" | "unplaced" => true,
                "invalid" => {
                    is_harmed(self.log.iter().find(|(_, event)| event.kind == Kind::Invalid).map(|(_, e)| e.started))
                }
                _ => is_harmed(self.log.harmed),
            };
            if !is_founded {
                let words = format!("a gap ({reason}) at {:?}, though history has it all", step.at);
                violations.push(Violation { rule: Rule::GapWithoutReason, number: None, words });
            }
        }
    }

    fn check_complete(&self, violations: &mut Vec<Violation>) {
        let applied: Vec<_> = self.applied().collect();
        let Some(begin) = self.steps.first() else { return };
        let Story::Begin { position } = begin.story else {
            let words = format!("the first thing told is {:?}", begin.story);
            violations.push(Violation { rule: Rule::Protocol, number: None, words });
            return;
        };
        let (durable, ephemeral): (Vec<_>, Vec<_>) =
            applied.iter().copied().partition(|applied| applied.position.is_some());
        let first = applied.first().map_or(Number::MAX, |first| first.number);
        let floor = Some(position).filter(|at| *at != Position::NONE).and_then(|at| self.places.last_at(at));
        let numbers: HashSet<_> = applied.iter().map(|applied| applied.number).collect();
        for (number, event) in self.log.iter() {
            if !event.is_acknowledged || numbers.contains(&number) {
                continue;
            }
            let is_later = event.started > begin.at;
            let is_later = is_later || number > first;
            let (rule, is_promised, same_kind) = if event.kind == Kind::Ephemeral {
                (Rule::EphemeralComplete, is_later, &ephemeral)
            } else {
                (Rule::DurableComplete, floor.map_or(is_later, |floor| number > floor), &durable)
            };
            // Behind the last one that came nothing is known to be missing yet; the world sees to it that the end comes.
            let is_over = same_kind.iter().any(|applied| applied.number > number);
            if is_promised && is_over && !self.is_covered(number, event, same_kind, &applied) {
                let words = format!("event {number} ({:?} at {:?}) is lost in silence", event.kind, event.positions);
                violations.push(Violation { rule, number: Some(number), words });
            }
        }
    }

    /// Whether some notice speaks of an event that was not applied.
    fn is_covered(&self, number: Number, event: &Published, same_kind: &[Applied], applied: &[Applied]) -> bool {
        let from = same_kind.iter().filter(|applied| applied.number < number).map(|applied| applied.index + 1).max();
        let is_durable = event.kind != Kind::Ephemeral;
        // Several answers may have brought events behind it: the first of them counts.
        let behind = if is_durable { same_kind } else { applied };
        let next = behind.iter().filter(|applied| applied.number > number).map(|applied| applied.index).min();
        let next_at = next.map_or(At::MAX, |next| self.steps[next].at);
        let to = if is_durable { next.unwrap_or(self.steps.len()) } else { self.steps.len() };
        let from = from.unwrap_or(0);
        from <= to
            && self.steps[from..to].iter().any(|step| {
                let Story::Notice { all, since, position, .. } = &step.story else { return false };
                let is_of_the_past = step.at >= event.started;
                let is_timely = step.at <= next_at.saturating_add(NOTICE_PATIENCE);
                let is_within = !is_durable || *all && self.is_within(number, *since, *position);
                is_of_the_past && is_timely && is_within
            })
    }

    fn is_within(&self, number: Number, since: Option<Position>, position: Option<Position>) -> bool {
        let known = |position: Option<Position>| position.and_then(|position| self.places.last_at(position));
        known(since).is_none_or(|since| since < number) && known(position).is_none_or(|position| number <= position)
    }
}

/// How far a client has come: the highest numbers that it has applied of durable and of ephemeral events.
pub(crate) fn reached(follower: &Follower) -> (Number, Number) {
    follower.steps().iter().fold((0, 0), |(durable, ephemeral), step| match step.story {
        Story::Event { number, position: Some(_) } => (durable.max(number), ephemeral),
        Story::Event { number, position: None } => (durable, ephemeral.max(number)),
        _ => (durable, ephemeral),
    })
}
