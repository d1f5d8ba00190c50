//! What a durable topic has kept, as the backplane hands it out. Deliberately raw: an envelope is checked by who reads it.

use std::time::Duration;

use bytes::Bytes;
use fanfare_protocol::{Position, TopicKey};

use crate::backplane::PublishError;

/// Events a topic keeps unless the publisher says otherwise.
pub const MAXLEN_DEFAULT: u64 = 1_000;

/// How long a topic's history outlives its last event unless the publisher says otherwise.
pub const TTL_DEFAULT: Duration = Duration::from_hours(24);

/// The shortest time that a history may outlive its last event.
pub const TTL_MIN: Duration = Duration::from_mins(1);

/// The longest idempotency id, in bytes.
pub const ID_BYTES_MAX: usize = 128;

/// The largest number that the function library takes: 15 digits, which its arithmetic holds exactly.
const NUMBER_MAX: u64 = 999_999_999_999_999;

/// The largest envelope that can be kept, in bytes: 1 MiB.
pub const ENVELOPE_BYTES_MAX: usize = 1024 * 1024;

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

impl Keep {
    /// Why an event can't be kept so, in words that name the fix. The function library on Redis checks the same.
    pub(crate) fn refusal(&self, envelope: &[u8]) -> Option<String> {
        let begins_map = matches!(envelope.first(), Some(b'{' | 0x80..=0x8f | 0xde | 0xdf));
        if !begins_map {
            return Some("an envelope is a JSON object, which begins with {, or a MessagePack map".to_owned());
        }
        if envelope.len() > ENVELOPE_BYTES_MAX {
            let bytes = envelope.len();
            return Some(format!("the envelope has {bytes} bytes; at most {ENVELOPE_BYTES_MAX} are allowed"));
        }
        if self.maxlen == 0 || self.maxlen > NUMBER_MAX {
            return Some(format!("maxlen must be 1 to {NUMBER_MAX} events"));
        }
        if self.ttl < TTL_MIN || self.ttl.as_millis() > u128::from(NUMBER_MAX) {
            return Some(format!("the ttl must be {} to {NUMBER_MAX} milliseconds", TTL_MIN.as_millis()));
        }
        match &self.id {
            Some(id) if id.is_empty() || id.len() > ID_BYTES_MAX => {
                Some(format!("the idempotency id must have 1 to {ID_BYTES_MAX} bytes"))
            }
            _ => None,
        }
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

/// What reads and changes in one go has read nothing when it fails.
impl From<PublishError> for ReadError {
    fn from(error: PublishError) -> ReadError {
        match error {
            PublishError::Unavailable => ReadError::Unavailable,
            PublishError::Timeout => ReadError::Timeout,
            PublishError::Refused(words) => ReadError::Refused(words),
        }
    }
}

impl ReadError {
    /// Whether asking again would bring the same: a permission is missing, or a function. Otherwise the server is busy with
    /// something that ends by itself (<https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors>).
    pub fn is_lasting(&self) -> bool {
        const PASSING: [&str; 5] = ["LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"];
        match self {
            ReadError::Unavailable | ReadError::Timeout => false,
            ReadError::Refused(words) => !PASSING.iter().any(|passing| words.starts_with(passing)),
        }
    }
}
