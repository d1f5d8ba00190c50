//! What a handler answers instead of data. Deliberately two kinds: what the client is told, and what only the log is.

use std::error::Error;
use std::fmt;

/// The code of what the client is not told about.
const INTERNAL: &str = "internal";

/// An answer that is no data.
///
/// [`RequestError::new`] is for the client: it gets the code and the message. Any other error, which `?` turns into this
/// one, is for the log alone: the client gets `internal` and no word of it.
///
/// ```
/// use fanfare_client::RequestError;
///
/// fn load(days: u32) -> Result<String, RequestError> {
///     if days > 90 {
///         return Err(RequestError::new("too_large", "at most 90 days can be shown"));
///     }
///     // An I/O error becomes `internal`.
///     Ok(std::fs::read_to_string("figures.json")?)
/// }
/// # assert_eq!(load(91).unwrap_err().code(), "too_large");
/// # assert_eq!(load(1).unwrap_err().code(), "internal");
/// ```
pub struct RequestError(Kind);

enum Kind {
    Told { code: String, message: String },
    Internal(Box<dyn Error + Send + Sync>),
}

impl RequestError {
    /// For the client: a code for its program, and a sentence of up to 1,024 bytes for its developer. Clients know the codes
    /// of the contract, among them `forbidden`, `bad_frame`, `too_large`, `rate_limited` and `unavailable`; a node passes any
    /// other on as `internal`, with the message.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> RequestError {
        RequestError(Kind::Told { code: code.into(), message: message.into() })
    }

    /// For the log; what `?` does. Takes what is no [`std::error::Error`], too: a text, an `anyhow::Error`.
    pub fn internal(error: impl Into<Box<dyn Error + Send + Sync>>) -> RequestError {
        RequestError(Kind::Internal(error.into()))
    }

    /// The code that the client gets.
    pub fn code(&self) -> &str {
        match &self.0 {
            Kind::Told { code, .. } => code,
            Kind::Internal(_) => INTERNAL,
        }
    }

    /// The message that the client gets.
    pub fn message(&self) -> &str {
        match &self.0 {
            Kind::Told { message, .. } => message,
            Kind::Internal(_) => "the backend failed",
        }
    }

    /// What only the log gets: the error with its causes.
    pub(crate) fn hidden(&self) -> Option<String> {
        let Kind::Internal(error) = &self.0 else { return None };
        let mut words = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            words.push_str(": ");
            words.push_str(&error.to_string());
            cause = error.source();
        }
        Some(words)
    }
}

/// For the backend's own eyes, so nothing is hidden.
impl fmt::Debug for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.hidden().unwrap_or_else(|| self.message().to_owned());
        f.debug_struct("RequestError").field("code", &self.code()).field("message", &message).finish()
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for RequestError {
    fn from(error: E) -> Self {
        RequestError::internal(error)
    }
}
