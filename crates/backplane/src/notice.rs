//! What a node is told by its backplane, in one order: messages, and how far they can be trusted to be complete.
//! Deliberately raw: a topic or payload from outside is checked by who reads it.

use std::time::Instant;

use bytes::Bytes;
use fanfare_protocol::TopicKey;

/// What a notice costs beside its bytes: its slot in the queue, twice since the queue grows by doubling, and the
/// allocations of topic and payload.
const OVERHEAD_BYTES: usize = 256;

/// One thing that happened. The order of notices is the order in which Redis did it.
#[derive(Debug, Clone)]
pub enum Notice {
    /// Something was published.
    Message {
        /// `<tenant>:<topic>` as it stood on the channel after the prefix.
        topic: Bytes,
        /// What was published, untouched.
        payload: Bytes,
        /// When this node read it from the socket.
        received: Instant,
    },
    /// These topics are subscribed from here on: no message of theirs that comes after this notice is missing.
    Confirmed(Vec<TopicKey>),
    /// Everything that was published before `Backplane::fence` was called with this number stands before this notice.
    Fence(u64),
    /// This topic can't be subscribed. It is tried again when it is wanted again, and on the next connection.
    Refused {
        /// The topic.
        topic: TopicKey,
        /// The server's words, such as `NOPERM …`.
        error: String,
    },
    /// The subscription of these topics is interrupted from here on, and that of no other: each gets another
    /// [`Notice::Confirmed`] or `Refused`. Only a cluster, where a topic's slot is one primary's among others, tells this.
    Lost(Vec<TopicKey>),
    /// The connection is lost: what is published from here on may be missed.
    Down {
        /// Why.
        error: String,
    },
    /// A connection stands. [`Notice::Confirmed`] follows for every wanted topic that Redis accepts.
    Up {
        /// Is it the first since the start?
        first: bool,
    },
}

impl Notice {
    /// What the notice costs in an inbox, in bytes.
    pub(crate) fn cost_bytes(&self) -> usize {
        let own = match self {
            Notice::Message { topic, payload, .. } => topic.len() + payload.len(),
            Notice::Confirmed(topics) | Notice::Lost(topics) => topics.len() * Notice::CONFIRMED_TOPIC_BYTES,
            Notice::Refused { topic, error } => topic.as_str().len() + error.len(),
            Notice::Down { error } => error.len(),
            Notice::Up { .. } | Notice::Fence(_) => 0,
        };
        own + OVERHEAD_BYTES
    }

    /// Is it the answer to wanting a topic?
    pub(crate) fn is_verdict(&self) -> bool {
        matches!(self, Notice::Confirmed(_) | Notice::Refused { .. })
    }

    /// What one more topic costs in a [`Notice::Confirmed`]. Its text is shared with the table of wanted topics.
    pub(crate) const CONFIRMED_TOPIC_BYTES: usize = size_of::<TopicKey>();
}
