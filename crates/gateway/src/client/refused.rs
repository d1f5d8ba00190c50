//! Why a command is refused. The same for a frame, which is answered with `error`, and for a command over HTTP, which is
//! answered with a status.

use std::borrow::Cow;

use fanfare_backplane::ReadError;
use fanfare_protocol::ErrorCode;

/// A refused command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// For programs.
    pub(crate) code: ErrorCode,
    /// For people.
    pub(crate) message: Cow<'static, str>,
}

impl Refused {
    pub(crate) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// What was asked for could not be read from the backplane.
    pub(crate) fn unread(error: &ReadError) -> Self {
        match error {
            ReadError::Unavailable => Self::new(ErrorCode::Unavailable, "the backplane is away: try again later"),
            ReadError::Timeout => Self::new(ErrorCode::Timeout, "the backplane did not answer: try again later"),
            ReadError::Refused(_) => {
                Self::new(ErrorCode::Internal, "the backplane refused it; the node's log says why")
            }
        }
    }
}
