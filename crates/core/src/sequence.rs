//! The order of one topic's events on this node: what came in order is delivered, what came before is skipped, and what is
//! missing is read from the topic's history before anything that follows it. A state machine without I/O: whoever owns
//! it reads when told to and hands in what was read.
//!
//! Deliberately blind to what an event says, and to who is subscribed.

mod past;

use fanfare_protocol::{GapReason, Lost, Position};

use self::past::{Claim, Past};

/// A topic's place in its history.
#[derive(Debug)]
pub struct Sequence<E> {
    /// Everything up to here was delivered or told as a gap. None until the first read: nobody was told anything.
    /// [`Position::NONE`] when subscribers were told that the place is not known.
    at: Option<Position>,
    stage: Stage<E>,
    /// Tells the answer to the last question from those to earlier ones.
    round: u32,
}

#[derive(Debug)]
enum Stage<E> {
    /// The backplane doesn't deliver the topic.
    Away,
    /// What comes is in order.
    Live,
    /// A read is on its way, and what comes waits for it.
    Reading(Box<Reading<E>>),
}

#[derive(Debug)]
struct Reading<E> {
    held: Vec<Arrival<E>>,
    held_bytes: usize,
    /// How many of `held` were there when the read was asked for: what it doesn't confirm of them never was.
    asked_with: usize,
    /// The subscription stood all the time since `at`, so nothing that came later is missing.
    is_unbroken: bool,
    /// Something was dropped for want of room: the answer on its way may be too old for it.
    has_dropped: bool,
    /// Among what was dropped were ephemeral events, which no history has.
    owes_gap: bool,
}

/// What came on a topic's channel or stands in its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival<E> {
    /// Where a durable event stands.
    pub position: Option<Position>,
    /// None for a durable event that is not valid: it has a place all the same.
    pub event: Option<E>,
    /// What it costs to hold it, in bytes.
    pub bytes: usize,
}

/// What a read brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History<E> {
    /// Where the topic stands; [`Position::NONE`] if that is not known.
    pub position: Position,
    /// What is kept after the position that was asked for, in order.
    pub events: Vec<Arrival<E>>,
    /// There is more behind them.
    pub more: bool,
}

/// What subscribers are told, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told<E> {
    /// An event.
    Event(E),
    /// A stretch that can't be proven complete.
    Gap(Gap),
}

/// A stretch that can't be proven complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Which events may be missing.
    pub lost: Lost,
    /// Why.
    pub reason: GapReason,
    /// The last position before it, if that is known.
    pub since: Option<Position>,
    /// From here on all is complete again.
    pub position: Option<Position>,
}

/// A read that has to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The events after this position are wanted; none: only where the topic stands.
    pub after: Option<Position>,
    /// To be handed in with the answer.
    pub round: u32,
}

/// What became of an arrival or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// A read has to be made.
    pub ask: Option<Ask>,
    /// Events dropped since they were known already.
    pub repeated: u64,
    /// Events dropped since no history has them: somebody claimed a position.
    pub unfounded: u64,
}

impl Verdict {
    fn asking(ask: Ask) -> Self {
        Self { ask: Some(ask), ..Self::default() }
    }

    fn and(self, then: Self) -> Self {
        Self { ask: then.ask, repeated: self.repeated + then.repeated, unfounded: self.unfounded + then.unfounded }
    }
}

impl<E> Default for Sequence<E> {
    fn default() -> Self {
        Self { at: None, stage: Stage::Away, round: 0 }
    }
}

impl<E> Sequence<E> {
    /// Everything up to here was delivered or told as a gap; none before the first read.
    pub fn at(&self) -> Option<Position> {
        self.at
    }

    /// Whether the topic is delivered, and where it stands has been looked up.
    pub fn is_ready(&self) -> bool {
        self.at.is_some() && !matches!(self.stage, Stage::Away)
    }

    /// What has to be read, if anything has.
    pub fn asks(&self) -> Option<Ask> {
        let after = self.at.filter(|at| *at != Position::NONE);
        matches!(self.stage, Stage::Reading(_)).then_some(Ask { after, round: self.round })
    }

    /// Whether what comes is in order, as far as is known.
    pub fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Live)
    }

    /// Subscribers are told that the place is not known: they are owed a gap as soon as it is.
    pub fn be_blind(&mut self) {
        self.at.get_or_insert(Position::NONE);
    }

    /// The topic is gone; one of the same name begins anew. What was asked for is not for that one.
    pub fn reset(&mut self) {
        *self = Self { round: self.round.wrapping_add(1), ..Self::default() };
    }

    /// The backplane delivers nothing from here on. What waited is dropped: history has what is durable, and the rest is
    /// covered by the gap that every such topic gets.
    pub fn lose(&mut self) {
        self.stage = Stage::Away;
    }

    /// The backplane delivers from here on. What came before is read.
    pub fn confirm(&mut self) -> Ask {
        self.ask(Vec::new(), false, false)
    }

    /// Takes what came on the channel. Up to `held_bytes_max` waits for a read.
    pub fn take(&mut self, arrival: Arrival<E>, held_bytes_max: usize, told: &mut Vec<Told<E>>) -> Verdict {
        match &mut self.stage {
            Stage::Away => Verdict::default(),
            Stage::Reading(reading) => {
                reading.hold(arrival, held_bytes_max);
                Verdict::default()
            }
            Stage::Live => self.go_on(vec![arrival], 0, told),
        }
    }

    /// Takes the answer to [`Ask`]. An answer to an earlier question changes nothing.
    ///
    /// If events were asked for, then everything that came on the channel before the history was read must have been handed
    /// to [`Sequence::take`] before: an event in the history that didn't come is then known to stand before all that did.
    pub fn fill(&mut self, round: u32, history: History<E>, told: &mut Vec<Told<E>>) -> Verdict {
        if round != self.round || !matches!(self.stage, Stage::Reading(_)) {
            return Verdict::default();
        }
        let Stage::Reading(reading) = std::mem::replace(&mut self.stage, Stage::Live) else {
            return Verdict::default();
        };
        match self.at {
            // Nobody was told anything, so nobody can miss anything.
            None => self.at = Some(history.position),
            Some(Position::NONE) => {
                told.push(gap(GapReason::Backplane, None, Some(history.position)));
                self.at = Some(history.position);
            }
            Some(at) => return self.merge(at, *reading, history, told),
        }
        if reading.has_dropped {
            return Verdict::asking(self.ask(reading.held, false, reading.owes_gap));
        }
        self.go_on(reading.held, reading.asked_with, told)
    }

    /// Brings together what was read after `at` and what came meanwhile, in the order in which the backplane took it. What
    /// stands in the history before the first event that came goes first; what stands there behind the last one that
    /// came will come too.
    fn merge(&mut self, at: Position, reading: Reading<E>, history: History<E>, told: &mut Vec<Told<E>>) -> Verdict {
        let Reading { held, asked_with, is_unbroken, has_dropped, owes_gap, .. } = reading;
        let is_unbroken = is_unbroken && !has_dropped;
        let mut past = Past::new(history, is_unbroken);
        let mut verdict = Verdict::default();
        let (held, asked_with) = past.sift(at, held, asked_with, &mut verdict);
        let is_real = |(index, arrival): (usize, &Arrival<E>)| {
            let position = arrival.position?;
            let claim = past.judge(at, position, index < asked_with);
            (!matches!(claim, Claim::Known | Claim::Unfounded)).then_some((position, claim))
        };
        let first = held.iter().enumerate().find_map(is_real);
        if first.is_none() && is_unbroken && !past.is_unknown() {
            // Whoever claimed a position made it up. What the history has more than we do will come.
            return verdict.and(self.go_on(held, asked_with, told));
        }
        let before_first = first.as_ref().map_or(usize::MAX, |(first, _)| past.count_before(*first));
        let at = past.walk(at, before_first, told);
        self.at = Some(at);
        if has_dropped || past.has_more && past.events.is_empty() {
            // The next answer is newer, so it judges all that is held now.
            return verdict.and(Verdict::asking(self.ask(held, is_unbroken, owes_gap)));
        }
        if owes_gap {
            told.push(Told::Gap(Gap {
                lost: Lost::Ephemeral,
                reason: GapReason::Backplane,
                since: None,
                position: None,
            }));
        }
        // What is missing before the first of them is told before all of them.
        let at = match first {
            Some((first, Claim::Next | Claim::Founded)) => past.reach(at, before(first), told),
            _ => past.end(at, told),
        };
        self.at = Some(at);
        if at == Position::NONE {
            // Nothing can be proven, so what comes is taken as it comes.
            return verdict.and(self.go_on(held, asked_with, told));
        }
        verdict.and(self.interleave(held, asked_with, past, told))
    }

    /// What came, with what stands in the history between.
    fn interleave(
        &mut self,
        held: Vec<Arrival<E>>,
        judged: usize,
        mut past: Past<E>,
        told: &mut Vec<Told<E>>,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        let mut held = held.into_iter().enumerate();
        while let Some((index, arrival)) = held.next() {
            let (Some(position), Some(at)) = (arrival.position, self.at) else {
                told.extend(arrival.event.map(Told::Event));
                continue;
            };
            let claim = past.judge(at, position, index < judged);
            match claim {
                Claim::Known => verdict.repeated += 1,
                Claim::Unfounded => verdict.unfounded += 1,
                Claim::Next | Claim::Founded => {
                    let at = past.walk(at, past.count_before(position), told);
                    past.reach(at, before(position), told);
                    // What is stored counts: anybody may claim a position.
                    let stored = past.events.pop_front_if(|event| event.position == Some(position));
                    tell(position, stored.unwrap_or(arrival).event, told);
                    self.at = Some(position);
                }
                Claim::Unread => {
                    self.at = Some(past.walk(at, usize::MAX, told));
                    let rest = std::iter::once(arrival).chain(held.map(|(_, arrival)| arrival)).collect();
                    return verdict.and(Verdict::asking(self.ask(rest, past.is_unbroken, false)));
                }
                Claim::Later => {
                    self.at = Some(past.finish(at, told));
                    let rest = std::iter::once(arrival).chain(held.map(|(_, arrival)| arrival)).collect();
                    return verdict.and(self.go_on(rest, 0, told));
                }
            }
        }
        // On an unbroken subscription what the history has more is still to come.
        if !past.is_unbroken && !past.has_more {
            self.at = self.at.map(|at| past.finish(at, told));
        }
        verdict
    }

    /// Goes through what waited. The first `judged` arrivals came before the last read was asked for.
    fn go_on(&mut self, arrivals: Vec<Arrival<E>>, judged: usize, told: &mut Vec<Told<E>>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut arrivals = arrivals.into_iter().enumerate();
        while let Some((index, arrival)) = arrivals.next() {
            let (Some(position), Some(at)) = (arrival.position, self.at) else {
                told.extend(arrival.event.map(Told::Event));
                continue;
            };
            if is_known(at, position) {
                verdict.repeated += 1;
            } else if at == Position::NONE || at == before(position) {
                tell(position, arrival.event, told);
                self.at = Some(position);
            } else if index < judged {
                verdict.unfounded += 1;
            } else {
                let rest = std::iter::once(arrival).chain(arrivals.map(|(_, arrival)| arrival)).collect();
                verdict.ask = Some(self.ask(rest, true, false));
                return verdict;
            }
        }
        verdict
    }

    fn ask(&mut self, held: Vec<Arrival<E>>, is_unbroken: bool, owes_gap: bool) -> Ask {
        self.round = self.round.wrapping_add(1);
        let held_bytes = held.iter().map(|arrival| arrival.bytes).sum();
        let asked_with = held.len();
        let reading = Reading { held, held_bytes, asked_with, is_unbroken, has_dropped: false, owes_gap };
        self.stage = Stage::Reading(Box::new(reading));
        Ask { after: self.at.filter(|at| *at != Position::NONE), round: self.round }
    }
}

impl<E> Reading<E> {
    fn hold(&mut self, arrival: Arrival<E>, held_bytes_max: usize) {
        self.held_bytes += arrival.bytes;
        self.held.push(arrival);
        if self.held_bytes > held_bytes_max {
            // All of it: what was kept would have to wait for what was dropped.
            self.owes_gap |= self.held.iter().any(|held| held.position.is_none());
            self.held.clear();
            self.held_bytes = 0;
            self.asked_with = 0;
            self.has_dropped = true;
        }
    }
}

/// The event at `position`, or that it is not valid.
fn tell<E>(position: Position, event: Option<E>, told: &mut Vec<Told<E>>) {
    told.push(match event {
        Some(event) => Told::Event(event),
        None => gap(GapReason::Invalid, Some(before(position)), Some(position)),
    });
}

fn gap<E>(reason: GapReason, since: Option<Position>, position: Option<Position>) -> Told<E> {
    let known = |position: &Position| *position != Position::NONE;
    Told::Gap(Gap { lost: Lost::All, reason, since: since.filter(known), position: position.filter(known) })
}

/// Whether a topic that has reached `at` has reached `position` too, as far as one epoch tells.
fn is_known(at: Position, position: Position) -> bool {
    position.epoch == at.epoch && position.seq <= at.seq
}

/// How positions of one server stand to each other, where epochs go up.
fn order(position: Position) -> (u64, u64) {
    (position.epoch, position.seq)
}

fn before(position: Position) -> Position {
    Position { seq: position.seq.saturating_sub(1), ..position }
}
