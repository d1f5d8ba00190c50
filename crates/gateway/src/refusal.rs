//! Why a client can't stay, told in the two ways that a client may understand: a browser can't read a refused upgrade, so
//! it is upgraded, told `disconnect` and closed; anybody else gets an HTTP status.

use bytes::Bytes;
use fanfare_core::admission::LimitReached;
use fanfare_core::{Farewell, Session};
use fanfare_protocol::{CloseCode, Codec, ErrorCode};
use futures_util::future::BoxFuture;
use hyper::StatusCode;

use crate::auth::AuthError;
use crate::connection::Handler;
use crate::control::Control;
use crate::{client, drain};

/// Why an upgrade is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The token is not believed.
    #[error("{}", .0.message())]
    Token(#[from] AuthError),
    /// The page's origin is not on the list.
    #[error("this origin is not allowed (allowed_origins)")]
    Origin,
    /// There is no place.
    #[error("{0}")]
    Limit(#[from] LimitReached),
    /// The node is about to stop.
    #[error("this node is draining")]
    Draining,
}

impl Refusal {
    /// As the session's farewell.
    pub fn farewell(&self, session: &Session) -> Farewell {
        match self {
            // Not the client's fault: with the same token it may come back.
            Self::Token(error) if error.is_temporary() => Farewell::new(CloseCode::Internal, self.to_string()),
            // Another token might be good, and whoever revoked this one meant its owner to stay away.
            Self::Token(AuthError::Revoked) => Control::farewell_to_revoked(),
            Self::Token(_) => Farewell::new(CloseCode::Unauthenticated, self.to_string()),
            Self::Origin => Farewell::new(CloseCode::Forbidden, self.to_string()),
            Self::Limit(reached) => client::limited(session, *reached),
            Self::Draining => drain::farewell(session),
        }
    }

    /// As an HTTP status and the code of its body.
    pub fn status(&self) -> (StatusCode, ErrorCode) {
        match self {
            Self::Token(error) if error.is_temporary() => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
            Self::Token(AuthError::Revoked) | Self::Origin => (StatusCode::FORBIDDEN, ErrorCode::Forbidden),
            Self::Token(_) => (StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated),
            Self::Limit(_) | Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
        }
    }
}

/// Handles nothing: the farewell of a refused client is on its way.
pub struct Refused;

impl Handler for Refused {
    type Done = ();

    fn message(&mut self, _: Codec, _: Bytes) -> Result<Option<BoxFuture<'static, ()>>, Farewell> {
        Ok(None)
    }

    fn done(&mut self, (): ()) -> Result<Option<BoxFuture<'static, ()>>, Farewell> {
        Ok(None)
    }

    /// It has been said.
    fn say_farewell(&self, _: &Farewell) {}

    fn message_bytes_max(&self) -> usize {
        0
    }

    fn written(&self, _: usize) {}

    fn heard(&self, _: usize) {}

    fn pinged(&mut self, _: &[u8]) -> Result<(), Farewell> {
        Ok(())
    }
}
