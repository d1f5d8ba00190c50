//! The HTTP API for backends: publish one event, ephemeral or durable. Every request shows an API key; what goes wrong is told as a problem
//! document. Everything about an event is checked here, so a backend learns what Redis would carry in silence.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_backplane::{ID_BYTES_MAX, PublishError};
use fanfare_protocol::{Codec, EnvelopeError, Event, Position, Tenant, Topic, TopicKey};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;

use crate::api_keys::{ApiKey, ApiKeys, Verb};
use crate::config::NeverDurable;
use crate::metrics::Via;
use crate::node::Node;
use crate::publishing::Publication;
use crate::{problem, upgrade};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// When a backend should try again after 503, in seconds.
const RETRY_AFTER_S: &str = "1";

/// The API of one node.
pub struct Api {
    /// The node.
    pub node: Arc<Node>,
    /// Who may use it.
    pub keys: ApiKeys,
    /// Until a request's body is complete.
    pub body_timeout: Duration,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("there is nothing at this path")]
    NotFound,
    #[error("this path allows POST")]
    Method,
    #[error("send `Authorization: Bearer` with an API key that this node knows")]
    Key,
    #[error("this API key may not publish in this tenant")]
    Scope,
    #[error("{0}")]
    Topic(String),
    #[error("send the event as application/json or application/msgpack")]
    MediaType,
    #[error("the body did not arrive in time")]
    BodyTimeout,
    #[error("the body could not be read")]
    Body,
    #[error("the body is longer than {0} bytes (event_bytes_max)")]
    BodyTooLarge(usize),
    #[error("{0}")]
    Envelope(#[from] EnvelopeError),
    #[error("{0}")]
    NeverDurable(#[from] NeverDurable),
    #[error("durable must be true or false")]
    DurableValue,
    #[error("Idempotency-Key must be 1 to {ID_BYTES_MAX} visible characters, and the event durable (durable=true)")]
    IdempotencyKey,
    #[error("{0}")]
    Publish(#[from] PublishError),
}

impl Api {
    /// Answers a request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answer = match self.publish(request).await {
            Ok(None) => problem::json(StatusCode::OK, &json!({ "published": true })),
            Ok(Some(position)) => problem::json(StatusCode::OK, &json!({ "published": true, "position": position })),
            Err(refusal) => refusal.response(),
        };
        self.node.metrics.api_answered(answer.status());
        answer
    }

    async fn publish(&self, request: Request<Incoming>) -> Result<Option<Position>, Refusal> {
        let (head, body) = request.into_parts();
        let (tenant, topic) = events_path(head.uri.path()).ok_or(Refusal::NotFound)?;
        if head.method != Method::POST {
            return Err(Refusal::Method);
        }
        let key = self.key(&head.headers)?;
        let topic = permitted(&key, tenant, topic)?;
        let codec = codec(&head.headers)?;
        let rule = self.node.config.rules.of(topic.topic());
        let bytes = self.read(body, rule.event_bytes_max).await?;
        let event = Event::from_envelope(codec, bytes, rule.event_bytes_max)?;
        let wants_durable = wants_durable(head.uri.query().unwrap_or_default())?;
        let publication = Publication::new(topic, rule, event, wants_durable)?;
        let id = idempotency_key(&head.headers, publication.is_durable())?;
        let position = publication.with_id(id).send(&self.node.backplane).await?;
        self.node.metrics.published(Via::Http);
        Ok(position)
    }

    fn key(&self, headers: &HeaderMap) -> Result<ApiKey, Refusal> {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| upgrade::bearer(value.to_str().ok()?));
        bearer.and_then(|bearer| self.keys.check(bearer)).ok_or(Refusal::Key)
    }

    /// The whole body, which is never kept beyond the limit.
    async fn read(&self, body: Incoming, bytes_max: usize) -> Result<Bytes, Refusal> {
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(Refusal::BodyTooLarge(bytes_max));
        }
        let collected = tokio::time::timeout(self.body_timeout, Limited::new(body, bytes_max).collect()).await;
        match collected.map_err(|_| Refusal::BodyTimeout)? {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge(bytes_max)),
            Err(_) => Err(Refusal::Body),
        }
    }
}

impl Refusal {
    fn response(&self) -> Response<Full<Bytes>> {
        if matches!(self, Self::Method) {
            return problem::method_not_allowed("POST");
        }
        let (status, code) = self.status();
        let reason = match self {
            Self::Envelope(error) => Some(error.reason()),
            Self::BodyTooLarge(_) => Some("too_large"),
            _ => None,
        };
        let mut response = problem::document_with(status, code, &self.to_string(), reason);
        match status {
            StatusCode::UNAUTHORIZED => {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
            }
            _ => {}
        }
        response
    }

    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Key => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Self::Scope => (StatusCode::FORBIDDEN, "forbidden"),
            Self::Topic(_) => (StatusCode::BAD_REQUEST, "invalid_topic"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_frame"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "timeout"),
            Self::BodyTooLarge(_) | Self::Envelope(EnvelopeError::TooLarge { .. }) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large")
            }
            Self::Envelope(_) | Self::NeverDurable(_) | Self::Body | Self::DurableValue | Self::IdempotencyKey => {
                (StatusCode::BAD_REQUEST, "bad_frame")
            }
            Self::Publish(PublishError::Unavailable) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Publish(PublishError::Timeout) => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
            Self::Publish(PublishError::Refused(_)) => (StatusCode::BAD_GATEWAY, "internal"),
        }
    }
}

/// Tenant and topic of `/v1/tenants/{tenant}/topics/{topic}/events`, as they are written.
fn events_path(path: &str) -> Option<(&str, &str)> {
    let (tenant, rest) = path.strip_prefix("/v1/tenants/")?.split_once('/')?;
    let (topic, rest) = rest.strip_prefix("topics/")?.split_once('/')?;
    (rest == "events").then_some((tenant, topic))
}

/// The topic, when the key may publish to it.
fn permitted(key: &ApiKey, tenant: &str, topic: &str) -> Result<TopicKey, Refusal> {
    if !key.may_anywhere(Verb::Publish) {
        return Err(Refusal::Scope);
    }
    let wrong = |error: &dyn std::fmt::Display| Refusal::Topic(error.to_string());
    let tenant = Tenant::parse(&decode(tenant)?).map_err(|error| wrong(&error))?;
    if !key.may(Verb::Publish, &tenant) {
        return Err(Refusal::Scope);
    }
    let topic = Topic::parse(&decode(topic)?).map_err(|error| wrong(&error))?;
    Ok(TopicKey::new(&tenant, &topic))
}

/// A segment of a path (RFC 3986 §2.1).
fn decode(segment: &str) -> Result<Cow<'_, str>, Refusal> {
    let decoded = percent_decode_str(segment).decode_utf8();
    decoded.map_err(|_| Refusal::Topic("the path is not UTF-8 when percent-decoded".to_owned()))
}

/// `application/vnd.msgpack` is the registered name; the shorter ones are in wider use. The form's type is what
/// `curl -d` says of whatever it sends.
fn codec(headers: &HeaderMap) -> Result<Codec, Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Codec::Json) };
    let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match media_type.to_ascii_lowercase().as_str() {
        "application/json" | "application/x-www-form-urlencoded" => Ok(Codec::Json),
        "application/msgpack" | "application/vnd.msgpack" | "application/x-msgpack" => Ok(Codec::Msgpack),
        _ => Err(Refusal::MediaType),
    }
}

/// Parameters that are not known are ignored.
fn wants_durable(query: &str) -> Result<bool, Refusal> {
    let durable = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "durable");
    match durable.as_ref().map(|(_, value)| &**value) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Refusal::DurableValue),
    }
}

/// What makes a repeated request harmless: the event's idempotency id. An ephemeral event has none.
fn idempotency_key(headers: &HeaderMap, is_durable: bool) -> Result<Option<Box<str>>, Refusal> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=ID_BYTES_MAX).contains(&key.len()) && is_durable);
    key.map(|key| Some(key.into())).ok_or(Refusal::IdempotencyKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_tenant_and_topic() {
        let path = "/v1/tenants/acme/topics/channel:a%2Fb/events";
        assert_eq!(events_path(path), Some(("acme", "channel:a%2Fb")));
        for other in [
            "/v1/tenants/acme/topics/channel:a/b/events",
            "/v1/tenants/acme/topics/channel:a/events/",
            "/v1/tenants/acme/topics/channel:a",
            "/v1/tenants/acme/events",
            "/v2/tenants/acme/topics/channel:a/events",
            "/",
        ] {
            assert_eq!(events_path(other), None, "{other}");
        }
    }

    #[test]
    fn durable_is_true_false_or_a_mistake() {
        assert!(matches!(wants_durable(""), Ok(false)));
        assert!(matches!(wants_durable("trace=1&durable=false"), Ok(false)));
        assert!(matches!(wants_durable("durable=true"), Ok(true)));
        assert!(matches!(wants_durable("durable=1"), Err(Refusal::DurableValue)));
    }
}
