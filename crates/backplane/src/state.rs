//! Does the backplane work now? For readiness and metrics; deliberately not in order with the messages, which
//! [`crate::Notice`] is.

/// The state of the subscription connection, as `Backplane::state` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Since the start, the backplane was never up.
    Connecting {
        /// Why the last attempt failed; nothing before the first one ended. Names the fix, and no secret.
        error: Option<String>,
    },
    /// Every topic that was wanted when the connection came up has been confirmed or refused, and messages flow.
    Up,
    /// It was up, and the connection was lost.
    Down {
        /// Why, or why the last attempt to return failed.
        error: String,
    },
}

impl State {
    /// Do messages flow?
    pub fn is_up(&self) -> bool {
        *self == State::Up
    }
}
