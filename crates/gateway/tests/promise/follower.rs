//! What a client makes of what it is told about one topic, as the contract's clients do: it skips positions that it has
//! applied, keeps back what comes live while it still asks on for what it missed, and knows from where to resume. Nothing here
//! judges; that is [`crate::model`]'s work.

use std::collections::HashSet;

use fanfare_protocol::Position;

use crate::model::{At, Number};

/// What a node told about one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// `subscribed`, or the topic's part of `welcome`.
    Subscribed {
        /// Where the topic stands.
        position: Position,
        /// The answer to a `since`.
        recovery: Option<Recovery>,
    },
    /// `event`; number 0 is one that can't be understood.
    Event {
        /// Which.
        number: Number,
        /// Where it stands, if it is durable.
        position: Option<Position>,
    },
    /// `gap`.
    Gap {
        /// `lost: "all"`.
        all: bool,
        /// Why.
        reason: String,
        /// From where.
        since: Option<Position>,
        /// To where.
        position: Option<Position>,
    },
    /// The connection ended, or `unsubscribed`.
    Away,
}

/// The answer to a `since`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// What was asked.
    pub(crate) since: Position,
    /// Why not all is there.
    pub(crate) reason: Option<String>,
    /// What came since.
    pub(crate) events: Vec<(Position, Number)>,
    /// There is more.
    pub(crate) more: bool,
}

/// What happens to a client, in the order in which it applies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// When it was told.
    pub(crate) at: At,
    /// What.
    pub(crate) story: Story,
}

/// What happens to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Story {
    /// It is subscribed for the first time.
    Begin {
        /// Where the topic stood.
        position: Position,
    },
    /// An event is applied.
    Event {
        /// Which.
        number: Number,
        /// Where it stands, if it is durable.
        position: Option<Position>,
    },
    /// It knows that it may have missed events.
    Notice {
        /// Durable ones, too.
        all: bool,
        /// `gap` and `recovered: false` say why; `away` is its own absence.
        reason: String,
        /// From where.
        since: Option<Position>,
        /// To where.
        position: Option<Position>,
    },
}

impl Step {
    /// Whether durable events may have been missed.
    pub(crate) fn covers_all(&self) -> bool {
        matches!(self.story, Story::Notice { all: true, .. })
    }
}

/// A client's view of one topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Follower {
    told: Vec<(At, Told)>,
    steps: Vec<Step>,
    faults: Vec<String>,
    /// How many events came again.
    pub(crate) replays: usize,
    cursor: Option<Position>,
    is_subscribed: bool,
    floor: Option<Position>,
    /// What came live while it asks on.
    held: Option<Vec<Step>>,
    applied: HashSet<Position>,
}

impl Follower {
    /// From where to resume; none before the first subscription.
    pub(crate) fn cursor(&self) -> Option<Position> {
        self.cursor
    }

    /// Whether it has been told that there is more.
    pub(crate) fn asks_on(&self) -> bool {
        self.held.is_some()
    }

    /// All that it was told.
    pub(crate) fn told(&self) -> &[(At, Told)] {
        &self.told
    }

    /// All that happened.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What must not have been told, whatever was published.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Something was wrong that only the connection knows.
    pub(crate) fn fault(&mut self, at: At, words: &str) {
        self.faults.push(format!("{words}, at {at:?}"));
    }

    /// It is told something.
    pub(crate) fn take(&mut self, at: At, told: Told) {
        self.told.push((at, told.clone()));
        match told {
            Told::Subscribed { position, recovery } => self.subscribed(at, position, recovery),
            Told::Event { number, position } => {
                if !self.is_subscribed {
                    self.fault(at, &format!("event {number} without a subscription"));
                } else if let (Some(position), Some(floor)) = (position, self.floor)
                    && before_or_at(position, floor)
                {
                    self.fault(at, &format!("event {number} at {position}, and the topic stood at {floor}"));
                }
                self.live(Step { at, story: Story::Event { number, position } });
            }
            Told::Gap { all, reason, since, position } => {
                if !self.is_subscribed {
                    self.fault(at, "a gap without a subscription");
                }
                self.live(Step { at, story: Story::Notice { all, reason, since, position } });
            }
            Told::Away => {
                self.is_subscribed = false;
                self.held = None;
            }
        }
    }

    fn subscribed(&mut self, at: At, position: Position, recovery: Option<Recovery>) {
        let known = Some(position).filter(|position| *position != Position::NONE);
        if self.steps.is_empty() {
            self.steps.push(Step { at, story: Story::Begin { position } });
            self.cursor = Some(position);
        } else if !self.is_subscribed {
            let reason = "away".to_owned();
            self.steps.push(Step { at, story: Story::Notice { all: false, reason, since: None, position: None } });
        }
        self.is_subscribed = true;
        self.floor = known;
        let Some(Recovery { since, reason, events, more }) = recovery else { return };
        let end = if more { events.last().map_or(since, |(last, _)| *last) } else { position };
        let notice = reason.map(|reason| {
            let position = Some(end).filter(|end| *end != Position::NONE);
            let since = Some(since).filter(|since| *since != Position::NONE);
            // Who never had a place asks with one that says so, and nobody can tell what came since.
            let reason = if since.is_none() { "unplaced".to_owned() } else { reason };
            Step { at, story: Story::Notice { all: true, reason, since, position } }
        });
        let held = self.held.take().unwrap_or_default();
        for (position, number) in events {
            let comes_later = held
                .iter()
                .any(|step| matches!(step.story, Story::Event { position: Some(held), .. } if held == position));
            let is_known = self.cursor.is_some_and(|cursor| before_or_at(position, cursor));
            if comes_later || is_known || self.applied.contains(&position) {
                continue;
            }
            self.steps.extend(notice.clone());
            self.apply(Step { at, story: Story::Event { number, position: Some(position) } });
        }
        self.steps.extend(notice);
        if end != Position::NONE && !self.cursor.is_some_and(|cursor| before_or_at(end, cursor)) {
            self.cursor = Some(end);
        }
        if more {
            self.held = Some(held);
        } else {
            for step in held {
                self.apply(step);
            }
        }
    }

    fn live(&mut self, step: Step) {
        match &mut self.held {
            Some(held) => held.push(step),
            None => self.apply(step),
        }
    }

    fn apply(&mut self, step: Step) {
        match step.story {
            Story::Event { position: Some(position), .. } => {
                if !self.applied.insert(position) {
                    self.replays += 1;
                    return;
                }
                if !self.cursor.is_some_and(|cursor| before_or_at(position, cursor)) {
                    self.cursor = Some(position);
                }
            }
            Story::Notice { all: true, position: Some(position), .. } => self.cursor = Some(position),
            _ => {}
        }
        self.steps.push(step);
    }
}

/// Whether a position stands at or before another of the same epoch.
pub(crate) fn before_or_at(position: Position, at: Position) -> bool {
    position.epoch == at.epoch && position.seq <= at.seq
}
