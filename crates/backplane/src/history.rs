//! What a durable topic has kept, as the backplane hands it out. Deliberately raw: an envelope is checked by who reads it.

use std::time::Duration;

use bytes::Bytes;
use fanfare_protocol::{Position, TopicKey};

/// Events a topic keeps unless the publisher says otherwise.
pub const MAXLEN_DEFAULT: u64 = 1_000;

/// How long a topic's history outlives its last event unless the publisher says otherwise.
pub const TTL_DEFAULT: Duration = Duration::from_hours(24);

/// The shortest time that a history may outlive its last event.
pub const TTL_MIN: Duration = Duration::from_mins(1);

/// The longest idempotency id, in bytes.
pub const ID_BYTES_MAX: usize = 128;

/// How a durable event is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// How many events the topic keeps, at least; the oldest go first.
    pub maxlen: u64,
    /// How long the history outlives this event, at least [`TTL_MIN`].
    pub ttl: Duration,
    /// Within five minutes an event with the same id is not published again: the first one's position is the answer.
    pub id: Option<Box<str>>,
}

impl Default for Keep {
    fn default() -> Self {
        Keep { maxlen: MAXLEN_DEFAULT, ttl: TTL_DEFAULT, id: None }
    }
}

/// One event of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where it stands.
    pub position: Position,
    /// The envelope as it was published, in JSON or `MessagePack`.
    pub envelope: Bytes,
}

/// What is asked of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Which.
    pub topic: TopicKey,
    /// Its events after this position are wanted; none: only where it stands.
    pub after: Option<Position>,
}

/// How much a read may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Events of one topic.
    pub events_max: usize,
    /// From so many bytes of envelopes of one topic on, no more are read; one event may go beyond.
    pub bytes_max: usize,
}

/// What a topic has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Where the topic stands now: the position of its last event, or `<epoch>-0` when the epoch has none yet. A topic
    /// that had no history has begun one with this read, so that a resume from here can be proven complete.
    /// [`Position::NONE`] when that could not be written (a full or read-only Redis): nothing can be proven from there.
    pub position: Position,
    /// What is kept after `Read::after`, oldest first: the rest of its epoch and what came in later ones. When the
    /// present epoch is the lower number, all of the present one.
    pub events: Vec<Stored>,
    /// There is more than the limits allowed: ask on from the last event.
    pub more: bool,
}

/// A page of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Oldest first.
    pub events: Vec<Stored>,
    /// There are older ones.
    pub more: bool,
}

/// Why a history was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The backplane is away.
    #[error("the backplane is away")]
    Unavailable,
    /// No answer in time.
    #[error("the backplane did not answer in time")]
    Timeout,
    /// The server refused it, in its own words: `NOPERM …`.
    #[error("the backplane refused it: {0}")]
    Refused(String),
}
