//! Why an event was not published, in words that name the fix. Deliberately cheap to clone: one broken connection is the
//! reason of many items of a batch.

use std::time::Duration;

use fanfare_protocol::EnvelopeError;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::link::{CallError, server_words};

/// An event was not published, or it is not known whether it was ([`PublishError::is_uncertain`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Its data has no form in JSON.
    #[error("the event's data can't be written as JSON: {0}")]
    Data(String),
    /// It breaks a rule of the envelope, so that it would reach nobody.
    #[error(transparent)]
    Event(#[from] EnvelopeError),
    /// Durable events, and on a cluster all, need Fanfare's function library.
    #[error(
        "the function library `fanfare` is not loaded on this Redis: start a node, which loads it, or run \
         `fanfare functions load`"
    )]
    NoFunctions,
    /// Redis refused it; nothing was kept and nothing published. The server's words, and what to do about them.
    #[error("Redis refused the event: {0}")]
    Refused(String),
    /// There was no connection, and nothing was sent.
    #[error("Redis is away, so nothing was published: {0}")]
    Unavailable(String),
    /// The connection broke before the answer came.
    #[error("the connection to Redis broke, so it isn't known whether the event was published: {0}")]
    Broken(String),
    /// No answer within the publisher's timeout.
    #[error("Redis did not answer within {0:?}, so it isn't known whether the event was published")]
    Timeout(Duration),
}

impl PublishError {
    /// Whether the event may have been published all the same. To publish it again is harmless for a durable one with an
    /// idempotency id ([`Keep::id`](crate::Keep::id)); any other may then reach clients twice.
    pub fn is_uncertain(&self) -> bool {
        matches!(self, PublishError::Broken(_) | PublishError::Timeout(_))
    }

    /// In a word, for a span.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            PublishError::Data(_) => "data",
            PublishError::Event(error) => error.reason(),
            PublishError::NoFunctions => "no_functions",
            PublishError::Refused(_) => "refused",
            PublishError::Unavailable(_) => "unavailable",
            PublishError::Broken(_) => "broken",
            PublishError::Timeout(_) => "timeout",
        }
    }

    pub(crate) fn refused(error: &RedisError) -> PublishError {
        let words = server_words(error);
        if matches!(error.kind(), ErrorKind::Server(_)) && words.contains("Function not found") {
            return PublishError::NoFunctions;
        }
        let fix = match error.code() {
            Some("OOM") => {
                "Redis is full (maxmemory), so it keeps no durable events, though ephemeral ones pass: give it more \
                 memory, or keep less (maxlen, ttl)"
            }
            Some("MISCONF") => "Redis can't save to disk and takes no writes: see its log, and free the disk",
            Some("READONLY") => "it is a replica: use the address of its primary",
            Some("NOREPLICAS") => "too few replicas are connected (min-replicas-to-write): bring them back",
            Some("NOPERM") if !words.contains("ACL SETUSER") => "grant it with ACL SETUSER",
            _ if error.kind() == ErrorKind::Server(ServerErrorKind::CrossSlot) => {
                "it is a Redis Cluster: use redis+cluster://host:port,host:port"
            }
            Some("MOVED" | "ASK") => "it is a node of a Redis Cluster: use redis+cluster://host:port,host:port",
            _ if words.contains("unknown command") && words.contains("FCALL") => {
                "this Redis allows no functions: publish through a node's HTTP API"
            }
            _ => return PublishError::Refused(words),
        };
        PublishError::Refused(format!("{words}: {fix}"))
    }
}

impl From<CallError> for PublishError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Away(why) => PublishError::Unavailable(why),
            CallError::Refused(error) => PublishError::refused(&error),
            CallError::Broken(why) => PublishError::Broken(why),
            CallError::Timeout(limit) => PublishError::Timeout(limit),
        }
    }
}
