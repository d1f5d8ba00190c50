//! Why a backend's request is refused, as a problem document.

use bytes::Bytes;
use fanfare_backplane::{ID_BYTES_MAX, PublishError, ReadError};
use fanfare_protocol::{EnvelopeError, PostedError};
use http_body_util::Full;
use hyper::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::TOKEN_ID_BYTES_MAX;
use crate::api_keys::Verb;
use crate::config::NeverDurable;
use crate::problem;

/// When a backend should try again after 503, in seconds.
const RETRY_AFTER_S: u32 = 1;

/// Why a request, or one item of it, is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("there is nothing at this path")]
    NotFound,
    #[error("this path allows {0}")]
    Method(Method),
    #[error("send `Authorization: Bearer` with an API key that this node knows")]
    Key,
    #[error("this API key has sent more than api_requests_per_minute = {0} requests")]
    RateLimited(u32),
    #[error("this API key lacks the verb `{0}`")]
    Verb(Verb),
    #[error("this API key may not {0} in this tenant")]
    Scope(Verb),
    #[error("this API key may not revoke tokens of every tenant: name the `tenant`")]
    TenantMissing,
    #[error("{0}")]
    Name(String),
    #[error("send the body as application/json or application/msgpack")]
    MediaType,
    #[error("send the body as application/json")]
    NotJson,
    #[error("the body did not arrive in time")]
    BodyTimeout,
    #[error("the body could not be read")]
    Body,
    #[error("the body is longer than {bytes_max} bytes ({setting})")]
    BodyTooLarge { bytes_max: usize, setting: &'static str },
    #[error("the body has {0} events; at most {1} are taken at once (api_batch_events_max)")]
    TooManyEvents(usize, usize),
    #[error("{0}")]
    NoEvents(PostedError),
    #[error("{0}")]
    Item(String),
    #[error("{0}")]
    Envelope(#[from] EnvelopeError),
    #[error("{0}")]
    NeverDurable(#[from] NeverDurable),
    #[error("durable must be true or false")]
    DurableValue,
    #[error("Idempotency-Key must be 1 to {ID_BYTES_MAX} visible characters, and the event durable (durable=true)")]
    IdempotencyKey,
    #[error(
        "the event's id, which is its `id` or Idempotency-Key with `:` and its index, must have 1 to {ID_BYTES_MAX} \
         bytes, and the event be durable"
    )]
    ItemId,
    #[error("not published: an event of this topic before it was not taken")]
    NotReached,
    #[error("limit must be a number from 1 to {0}")]
    Limit(usize),
    #[error("before is no position")]
    Before,
    #[error("cursor is none that a list has given")]
    Cursor,
    #[error("the body must be {{\"jti\", \"tenant\"?, \"expires_at\"?}}: {0}")]
    Revocation(String),
    #[error("`jti` must have 1 to {TOKEN_ID_BYTES_MAX} bytes")]
    TokenId,
    #[error("`expires_at` must be in milliseconds since 1970: a token's `exp` is in seconds, so multiply it by 1000")]
    ExpiryInSeconds,
    #[error("give `tenant` and `user` together")]
    UserWithoutTenant,
    #[error("{0}")]
    Publish(#[from] PublishError),
    #[error("{0}")]
    Read(#[from] ReadError),
}

impl Refusal {
    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        match self {
            Self::Method(allowed) if *allowed == Method::POST => return problem::method_not_allowed("POST"),
            Self::Method(_) => return problem::method_not_allowed("GET, HEAD"),
            _ => {}
        }
        let (status, code) = self.status();
        let mut response = problem::document_with(status, code, &self.to_string(), self.reason());
        let retry_after_s = match self {
            // When the next request is let through at the latest.
            Self::RateLimited(per_minute) => Some(60_u32.div_ceil(*per_minute)),
            _ => (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_S),
        };
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    /// As the `error` of one item among others.
    pub(super) fn item(&self) -> Value {
        let mut error = json!({ "code": self.status().1, "message": self.to_string() });
        if let Some(reason) = self.reason() {
            error["reason"] = reason.into();
        }
        error
    }

    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Envelope(error) => Some(error.reason()),
            Self::BodyTooLarge { .. } => Some("too_large"),
            _ => None,
        }
    }

    /// The status, and the code for programs.
    pub(super) fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Key => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Self::RateLimited(_) => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Self::Verb(_) | Self::Scope(_) | Self::TenantMissing => (StatusCode::FORBIDDEN, "forbidden"),
            Self::Name(_) => (StatusCode::BAD_REQUEST, "invalid_topic"),
            Self::MediaType | Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_frame"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "timeout"),
            Self::BodyTooLarge { .. } | Self::TooManyEvents(..) | Self::Envelope(EnvelopeError::TooLarge { .. }) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large")
            }
            Self::Publish(PublishError::Unavailable) | Self::Read(ReadError::Unavailable) | Self::NotReached => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
            Self::Publish(PublishError::Timeout) | Self::Read(ReadError::Timeout) => {
                (StatusCode::GATEWAY_TIMEOUT, "timeout")
            }
            Self::Publish(PublishError::Refused(_)) | Self::Read(ReadError::Refused(_)) => {
                (StatusCode::BAD_GATEWAY, "internal")
            }
            _ => (StatusCode::BAD_REQUEST, "bad_frame"),
        }
    }
}
