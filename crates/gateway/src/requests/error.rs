//! Why a request brought no data: what the client is told.

use std::borrow::Cow;

use fanfare_protocol::{BackendError, ErrorCode};

use super::table::Full;

/// The longest message of a backend that is passed on, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Why there is no answer, or what a backend said instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskError {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: Cow<'static, str>,
}

impl AskError {
    pub(super) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// What a backend said: a code that clients know, or `internal`; its message as far as it is a message's length.
    pub(super) fn of_backend(error: BackendError) -> Self {
        let BackendError { code, mut message } = error;
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        }
        Self::new(code.unwrap_or(ErrorCode::Internal), message)
    }
}

pub(super) fn refused(full: &Full) -> AskError {
    AskError::new(ErrorCode::RateLimited, format!("{} = {} reached", full.setting, full.max))
}

/// What is said when the backplane was silent, or away for a while.
pub(super) const UNSURE: &str = "the backplane did not answer for a while: a backend may have the request";
