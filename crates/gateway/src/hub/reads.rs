//! Reads of topics' histories that the hub has asked for: gathered into few commands, a few of them on their way at once.
//! Bounded by what the hub asks for: three reads a topic at most, one for its sequence, one for who comes back, one for a doubt.

use std::collections::VecDeque;

use fanfare_backplane::{Backplane, Read, ReadError, ReadLimits, Tail};
use fanfare_core::TopicId;
use fanfare_protocol::{Position, TopicKey};
use tokio::task::JoinSet;

/// Topics read with one call of the backplane.
const TOPICS_A_CALL: usize = 256;

/// Calls on their way at the same time.
const CALLS_MAX: usize = 4;

/// The hub's reads.
pub(crate) struct Reads {
    backplane: Backplane,
    limits: ReadLimits,
    waiting: VecDeque<Wanted>,
    on_their_way: JoinSet<Vec<Answer>>,
}

/// A read that is wanted.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The topic's number when it was asked for.
    pub(crate) topic: TopicId,
    /// Its name, in case the number is another's by then.
    pub(crate) key: TopicKey,
    /// The events after this position; none: only where the topic stands.
    pub(crate) after: Option<Position>,
    /// For what.
    pub(crate) purpose: Purpose,
}

/// What a read is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The topic's own sequence, which has asked in this round.
    Sequence(u32),
    /// Clients that come back.
    Recovery,
    /// Two events have claimed the position that follows: which one is the topic's?
    Doubt,
}

/// What became of a read.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What was wanted.
    pub(crate) wanted: Wanted,
    /// What the backplane said.
    pub(crate) result: Result<Tail, ReadError>,
}

impl Reads {
    /// None on their way yet.
    pub(crate) fn new(backplane: Backplane, limits: ReadLimits) -> Self {
        Self { backplane, limits, waiting: VecDeque::new(), on_their_way: JoinSet::new() }
    }

    /// Takes one more. It goes out with [`Reads::start`].
    pub(crate) fn want(&mut self, wanted: Wanted) {
        self.waiting.push_back(wanted);
    }

    /// Drops what was not sent yet: the backplane is away, and whoever needs it then asks again.
    pub(crate) fn give_up(&mut self) {
        self.waiting.clear();
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn start(&mut self) {
        while self.on_their_way.len() < CALLS_MAX && !self.waiting.is_empty() {
            let count = self.waiting.len().min(TOPICS_A_CALL);
            let wanted: Vec<_> = self.waiting.drain(..count).collect();
            let (backplane, limits) = (self.backplane.clone(), self.limits);
            self.on_their_way.spawn(async move {
                let reads: Vec<_> =
                    wanted.iter().map(|wanted| Read { topic: wanted.key.clone(), after: wanted.after }).collect();
                let results = backplane.read(&reads, limits).await;
                wanted.into_iter().zip(results).map(|(wanted, result)| Answer { wanted, result }).collect()
            });
        }
    }

    /// The next answers. Pending while none are on their way.
    pub(crate) async fn next(&mut self) -> Vec<Answer> {
        match self.on_their_way.join_next().await {
            Some(Ok(answers)) => answers,
            // A read that panicked: the topics' clients must not wait for ever.
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => std::future::pending().await,
        }
    }
}
