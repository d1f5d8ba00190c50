//! How far what reaches a node lags behind what Redis takes, as the node's own probes tell. For metrics; whether delivery
//! works at all is [`crate::State`]'s to say.

use std::time::{Duration, Instant};

/// The last proof that a message published on the backplane came back to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// How long it took, from publishing it until it was read from the socket.
    pub lag: Duration,
    /// When it came back.
    pub proved: Instant,
    /// Since when there should be a newer proof: the next probe was sent then, or could not be.
    pub waiting_since: Option<Instant>,
}

impl Delivery {
    /// How far delivery lags behind now: as long as the last proof took, or as the next one is waited for.
    pub fn lag_now(&self) -> Duration {
        self.waiting_since.map_or(self.lag, |since| since.elapsed().max(self.lag))
    }
}
