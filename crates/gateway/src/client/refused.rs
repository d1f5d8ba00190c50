//! Why a command is refused. The same for a frame, which is answered with `error`, and for a command over HTTP, which is
//! answered with a status.

use std::borrow::Cow;

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
}
