//! What all clients of a herd found out together. Plain numbers: one thread writes them.

use crate::histogram::Micros;
use crate::reasons::Reasons;

/// Arrivals of one kind of event.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrivals {
    /// For the first time.
    pub(crate) received: u64,
    /// Those among them that came in the answer to `since`.
    pub(crate) recovered: u64,
    /// Again, to a client that had been told no position and so could give none: it applies a position only once.
    pub(crate) replayed: u64,
    pub(crate) duplicated: u64,
    pub(crate) disordered: u64,
}

#[derive(Clone)]
pub(crate) struct Notes {
    pub(crate) durable: Arrivals,
    pub(crate) ephemeral: Arrivals,
    /// Events of a topic the client never subscribed to, or without a mark of this run.
    pub(crate) strange: u64,
    /// Answers to `since` that said that everything is there.
    pub(crate) recovered: u64,
    /// Those that said that something is missing, by reason.
    pub(crate) not_recovered: Reasons,
    /// Gap notices by what was lost and why.
    pub(crate) gaps: Reasons,
    /// Refused frames, by code.
    pub(crate) errors: Reasons,
    /// Why connections ended that nobody here cut off.
    pub(crate) ends: Reasons,
    /// What must never come, such as an event before `subscribed`.
    pub(crate) violations: Reasons,
    /// Connections beyond each client's first.
    pub(crate) returns: u64,
    /// From the first attempt to connect, after being told or left to, to all topics answered for.
    pub(crate) resume: Micros,
    /// From the end of one connection to all topics answered for on another.
    pub(crate) away: Micros,
    /// From a moment that is watched to the first durable event published after it, by client and topic.
    pub(crate) again: Micros,
}

impl Notes {
    pub(crate) fn new() -> Notes {
        Notes {
            durable: Arrivals::default(),
            ephemeral: Arrivals::default(),
            strange: 0,
            recovered: 0,
            not_recovered: Reasons::new(),
            gaps: Reasons::new(),
            errors: Reasons::new(),
            ends: Reasons::new(),
            violations: Reasons::new(),
            returns: 0,
            resume: Micros::new(),
            away: Micros::new(),
            again: Micros::new(),
        }
    }
}
