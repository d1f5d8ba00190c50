//! Why a frame was refused while its connection lives on. Deliberately apart from [`crate::close_code`]: these never
//! end a connection.

use serde::{Serialize, Serializer};

/// The `code` of an `error` frame, and of an `unsubscribed` that the client didn't ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A field is missing or wrong, or the `op` is unknown.
    BadFrame,
    /// The token is not believed.
    Unauthenticated,
    /// Not allowed. A client can't tell a forbidden topic from one that doesn't exist.
    Forbidden,
    /// The text is no topic.
    InvalidTopic,
    /// The connection has as many subscriptions as it may.
    TooManySubscriptions,
    /// Too many frames in too short a time, or too many requests at once.
    RateLimited,
    /// The event, the request or its answer is over the size limit.
    TooLarge,
    /// No answer in time.
    Timeout,
    /// No backend took the request.
    NoBackend,
    /// Redis can't be reached at the moment.
    Unavailable,
    /// The node failed.
    Internal,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [ErrorCode; 11] = [
        ErrorCode::BadFrame,
        ErrorCode::Unauthenticated,
        ErrorCode::Forbidden,
        ErrorCode::InvalidTopic,
        ErrorCode::TooManySubscriptions,
        ErrorCode::RateLimited,
        ErrorCode::TooLarge,
        ErrorCode::Timeout,
        ErrorCode::NoBackend,
        ErrorCode::Unavailable,
        ErrorCode::Internal,
    ];

    /// The code with this name on the wire.
    pub fn named(name: &str) -> Option<ErrorCode> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// The code on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::BadFrame => "bad_frame",
            ErrorCode::Unauthenticated => "unauthenticated",
            ErrorCode::Forbidden => "forbidden",
            ErrorCode::InvalidTopic => "invalid_topic",
            ErrorCode::TooManySubscriptions => "too_many_subscriptions",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::Timeout => "timeout",
            ErrorCode::NoBackend => "no_backend",
            ErrorCode::Unavailable => "unavailable",
            ErrorCode::Internal => "internal",
        }
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
