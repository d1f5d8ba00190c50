//! Does the backplane work now? For readiness and metrics; deliberately not in order with the messages, which
//! [`crate::Notice`] is.

/// The state of delivery to this node, as `Backplane::state` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Since the start, the backplane was never up.
    Connecting {
        /// Why the last attempt failed; nothing before the first one ended. Names the fix, and no secret.
        error: Option<String>,
    },
    /// Every topic that was wanted when the connection came up has been confirmed or refused, and what is published comes
    /// back: messages flow.
    Up,
    /// It was up, the subscriptions stand, and whether messages flow can't be proved now: there is no connection to publish
    /// a probe over, or the server does not allow it.
    Unproven {
        /// Why, and what to do about it.
        error: String,
    },
    /// It was up, and what is published does not come back although Redis answers. The connection is about to be made anew.
    Undelivered {
        /// What it looks like.
        error: String,
    },
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

    /// What it is when the connection is lost, or could not be made.
    pub(crate) fn away(&self, error: &str) -> State {
        let error = error.to_owned();
        match self {
            State::Connecting { .. } => State::Connecting { error: Some(error) },
            _ => State::Down { error },
        }
    }

    /// What it is when the connection stands, and yet nobody should rely on it.
    pub(crate) fn doubted(&self, doubt: State) -> State {
        match (self, doubt) {
            (State::Connecting { .. }, State::Unproven { error } | State::Undelivered { error }) => {
                State::Connecting { error: Some(error) }
            }
            (_, doubt) => doubt,
        }
    }

    /// Why messages don't flow, where that is known.
    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            State::Connecting { error } => error.as_deref(),
            State::Up => None,
            State::Unproven { error } | State::Undelivered { error } | State::Down { error } => Some(error),
        }
    }
}
