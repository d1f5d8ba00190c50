//! Why a client can't stay, told in the two ways that a client may understand: a browser can't read a refused upgrade, so
//! it is upgraded, told `disconnect` and closed; anybody else gets an HTTP status.

use std::time::Duration;

use bytes::Bytes;
use fanfare_core::admission::LimitReached;
use fanfare_core::{Farewell, Session};
use fanfare_protocol::{CloseCode, Codec, ErrorCode};
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

use crate::auth::AuthError;
use crate::connection::Handler;
use crate::control::Control;
use crate::{client, drain, problem};

/// When a client should try again after 429 and 503, unless more is known.
const RETRY_AFTER_UNAVAILABLE: Duration = Duration::from_secs(1);

/// The same where a limit was reached: as long as a WebSocket client waits at least.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(5);

/// Why an upgrade, or a stream, is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The token is not believed.
    #[error("{}", .0.message())]
    Token(#[from] AuthError),
    /// There is no token, and no frame that could bring one.
    #[error("send a token: Authorization: Bearer, or the parameter token")]
    NoToken,
    /// The request can't be read.
    #[error("{1}")]
    Request(ErrorCode, String),
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
            Self::Token(_) | Self::NoToken => Farewell::new(CloseCode::Unauthenticated, self.to_string()),
            Self::Request(..) => Farewell::new(CloseCode::BadFrame, self.to_string()),
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
            Self::Token(_) | Self::NoToken => (StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated),
            Self::Request(code, _) => (status(*code), *code),
            Self::Limit(_) | Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
        }
    }

    /// As an answer.
    pub fn response(&self) -> Response<Full<Bytes>> {
        let (_, code) = self.status();
        let mut response = response(code, &self.to_string());
        if let Self::Limit(_) = self {
            retry_after(&mut response, RETRY_AFTER_LIMIT);
        }
        response
    }
}

/// The status that tells a code over HTTP.
pub fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadFrame | ErrorCode::InvalidTopic | ErrorCode::TooManySubscriptions => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::NoBackend | ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An error as an answer to a client: its status, and a body with `code` and `message`.
pub fn response(code: ErrorCode, message: &str) -> Response<Full<Bytes>> {
    let mut response = problem::response(status(code), code.as_str(), message);
    match code {
        ErrorCode::Unauthenticated => {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        ErrorCode::Unavailable | ErrorCode::NoBackend | ErrorCode::RateLimited => {
            retry_after(&mut response, RETRY_AFTER_UNAVAILABLE);
        }
        _ => {}
    }
    response
}

/// Says when to try again, in whole seconds (RFC 9110 §10.2.3).
pub fn retry_after<B>(response: &mut Response<B>, wait: Duration) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
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
