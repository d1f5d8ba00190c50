//! What became of a request, as it is counted and as the client is told.

use bytes::Bytes;
use fanfare_protocol::{BackendError, ErrorCode};

use super::AskError;

/// The end of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A backend's data.
    Reply(Bytes),
    /// A backend's error.
    Refused(BackendError),
    /// A backend's data, more than a client may be sent.
    TooLarge { bytes: usize, bytes_max: usize },
    /// The node's own words, as it was not answered.
    Unanswered(AskError),
}

impl Outcome {
    pub(super) fn unanswered(code: ErrorCode, message: &'static str) -> Outcome {
        Outcome::Unanswered(AskError::new(code, message))
    }

    /// Its label in metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Outcome::Reply(_) => "reply",
            Outcome::Refused(_) => "error",
            Outcome::TooLarge { .. } => ErrorCode::TooLarge.as_str(),
            Outcome::Unanswered(error) => error.code.as_str(),
        }
    }

    pub(super) fn is_answer(&self) -> bool {
        !matches!(self, Outcome::Unanswered(_))
    }

    pub(super) fn into_result(self) -> Result<Bytes, AskError> {
        match self {
            Outcome::Reply(data) => Ok(data),
            Outcome::Refused(error) => Err(AskError::of_backend(error)),
            Outcome::TooLarge { bytes, bytes_max } => {
                let message =
                    format!("the backend's answer has {bytes} bytes of data; at most {bytes_max} are allowed");
                Err(AskError::new(ErrorCode::TooLarge, message))
            }
            Outcome::Unanswered(error) => Err(error),
        }
    }
}
