//! The HTTP API for backends. Every request shows an API key, whose scope is asked before anything else is read; what goes
//! wrong is told as a problem document. `openapi.json` beside this file describes it all.

mod control;
mod history;
mod openapi;
mod presence;
mod publish;
mod refusal;
mod route;
mod stats;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_core::rate::{FrameRate, RateLimiter};
use fanfare_protocol::Tenant;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;

use self::refusal::Refusal;
use self::route::Route;
use crate::api_keys::{ApiKey, ApiKeys, Verb};
use crate::node::Node;
use crate::upgrade;

/// The longest `jti` that can be revoked, in bytes.
const TOKEN_ID_BYTES_MAX: usize = 256;

/// The API of one node.
pub struct Api {
    node: Arc<Node>,
    keys: ApiKeys,
    limits: ApiLimits,
    /// By the names of keys; those of keys that are gone are forgotten when a new one comes.
    rates: Mutex<HashMap<Arc<str>, RateLimiter>>,
}

/// What one request, and one key, may use.
#[derive(Clone, Copy, Debug)]
pub struct ApiLimits {
    /// Until a request's body is complete.
    pub body_timeout: Duration,
    /// A request's body, in bytes.
    pub body_bytes_max: usize,
    /// Events of one request.
    pub batch_events_max: usize,
    /// Requests of one key; `None` is no limit.
    pub rate: Option<FrameRate>,
}

/// A request of somebody with a key.
struct Call<'a> {
    head: &'a Parts,
    key: ApiKey,
    body: Incoming,
}

impl Api {
    /// For whoever has one of these keys.
    pub fn new(node: Arc<Node>, keys: ApiKeys, limits: ApiLimits) -> Self {
        Self { node, keys, limits, rates: Mutex::default() }
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let answer = self.route(&head, body).await.unwrap_or_else(|refusal| refusal.response());
        self.node.metrics.api_answered(answer.status());
        answer
    }

    async fn route(&self, head: &Parts, body: Incoming) -> Result<Response<Full<Bytes>>, Refusal> {
        let route = Route::of(head.uri.path()).ok_or(Refusal::NotFound)?;
        let is_head = head.method == Method::HEAD && route.method() == Method::GET;
        if head.method != route.method() && !is_head {
            return Err(Refusal::Method(route.method()));
        }
        let key = self.key(&head.headers)?;
        self.check_rate(&key)?;
        if let Some(verb) = route.verb().filter(|verb| !key.may_anywhere(*verb)) {
            return Err(Refusal::Verb(verb));
        }
        let call = Call { head, key, body };
        match route {
            Route::TopicEvents { tenant, topic } => self.topic_events(call, tenant, topic).await,
            Route::TenantEvents { tenant } => self.tenant_events(call, tenant).await,
            Route::History { tenant, topic } => self.history(&call, tenant, topic).await,
            Route::Presence { tenant, topic } => self.presence(&call, tenant, topic).await,
            Route::Disconnect { tenant, user } => self.disconnect(&call, tenant, user).await,
            Route::Revoke => self.revoke(call).await,
            Route::Stats => self.stats(&call).await,
            Route::OpenApi => Ok(openapi::document()),
        }
    }

    fn key(&self, headers: &HeaderMap) -> Result<ApiKey, Refusal> {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| upgrade::bearer(value.to_str().ok()?));
        bearer.and_then(|bearer| self.keys.check(bearer)).ok_or(Refusal::Key)
    }

    fn check_rate(&self, key: &ApiKey) -> Result<(), Refusal> {
        let Some(rate) = self.limits.rate else { return Ok(()) };
        let mut rates = self.rates.lock();
        if !rates.contains_key(&key.name) {
            let names = self.keys.names();
            rates.retain(|name, _| names.contains(name));
        }
        let limiter = rates.entry(Arc::clone(&key.name)).or_insert_with(|| RateLimiter::new(rate));
        let passes = limiter.passes(self.node.clock.now());
        if passes { Ok(()) } else { Err(Refusal::RateLimited(rate.per_minute.get())) }
    }

    /// The whole body, which is never kept beyond the limit.
    async fn read(&self, body: Incoming) -> Result<Bytes, Refusal> {
        let too_large =
            || Refusal::BodyTooLarge { bytes_max: self.limits.body_bytes_max, setting: "api_body_bytes_max" };
        if body.size_hint().lower() > self.limits.body_bytes_max as u64 {
            return Err(too_large());
        }
        let body = Limited::new(body, self.limits.body_bytes_max);
        let collected = tokio::time::timeout(self.limits.body_timeout, body.collect()).await;
        match collected.map_err(|_| Refusal::BodyTimeout)? {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(_) => Err(Refusal::Body),
        }
    }
}

impl Call<'_> {
    /// A tenant in the path, where the key allows this.
    fn tenant(&self, verb: Verb, written: &str) -> Result<Tenant, Refusal> {
        let tenant = Tenant::parse(&decode(written)?).map_err(|error| Refusal::Name(error.to_string()))?;
        if self.key.may(verb, &tenant) { Ok(tenant) } else { Err(Refusal::Scope(verb)) }
    }

    /// A body that is JSON, or said to be nothing else.
    fn is_json(&self) -> bool {
        let media_type = self.head.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        let media_type = media_type.map(|media_type| media_type.split(';').next().unwrap_or_default().trim());
        media_type.is_none_or(|media_type| {
            ["application/json", "application/x-www-form-urlencoded"]
                .iter()
                .any(|json| media_type.eq_ignore_ascii_case(json))
        })
    }
}

/// A parameter of the query. Others than are known are ignored.
fn parameter<'a>(head: &'a Parts, name: &str) -> Option<Cow<'a, str>> {
    let query = head.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).find(|(of, _)| of == name).map(|(_, value)| value)
}

/// A segment of a path (RFC 3986 §2.1).
fn decode(segment: &str) -> Result<Cow<'_, str>, Refusal> {
    let decoded = percent_decode_str(segment).decode_utf8();
    decoded.map_err(|_| Refusal::Name("the path is not UTF-8 when percent-decoded".to_owned()))
}
