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
use fanfare_protocol::{Tenant, Topic, TopicKey, Traceparent};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;

use self::refusal::Refusal;
use self::route::Route;
use crate::api_keys::{ApiKey, ApiKeys, Verb};
use crate::body::{self, BodyError};
use crate::node::Node;
use crate::traces::{self, LogTrace, Span};
use crate::upgrade;

/// What a page has when nobody says how many.
const PAGE_DEFAULT: usize = 100;

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

/// The trace of one request.
struct Traced {
    /// What its header says.
    caller: Option<Traceparent>,
    /// Of one that publishes, when traces are on.
    span: Option<Span>,
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
        let mut traced = Traced { caller: traces::header(&head.headers), span: None };
        let call = Call { head, key, body };
        let answer = match route {
            Route::TopicEvents { tenant, topic } => self.topic_events(call, &mut traced, tenant, topic).await,
            Route::TenantEvents { tenant } => self.tenant_events(call, &mut traced, tenant).await,
            Route::History { tenant, topic } => self.history(&call, tenant, topic).await,
            Route::Presence { tenant, topic } => self.presence(&call, tenant, topic).await,
            Route::Disconnect { tenant, user } => self.disconnect(&call, tenant, user).await,
            Route::Revoke => self.revoke(call).await,
            Route::Stats => self.stats(&call).await,
            Route::OpenApi => Ok(openapi::document()),
        };
        answer.inspect_err(|refusal| self.failed(refusal, &mut traced))
    }

    /// Tells the trace of a failure, and the log where it is none of the backend's own.
    fn failed(&self, refusal: &Refusal, traced: &mut Traced) {
        let (status, code) = refusal.status();
        if let Some(span) = &mut traced.span {
            span.fail(code);
        }
        if status.is_server_error() {
            self.node.metrics.api_failed(code, refusal, LogTrace::of(traced.span.as_ref(), traced.caller));
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

    async fn read(&self, body: Incoming) -> Result<Bytes, Refusal> {
        let bytes_max = self.limits.body_bytes_max;
        body::read(body, bytes_max, self.limits.body_timeout).await.map_err(|error| match error {
            BodyError::TooLong => Refusal::BodyTooLarge { bytes_max, setting: "api_body_bytes_max" },
            BodyError::Late => Refusal::BodyTimeout,
            BodyError::Broken => Refusal::Body,
        })
    }
}

impl Call<'_> {
    /// A tenant in the path, where the key allows this.
    fn tenant(&self, verb: Verb, written: &str) -> Result<Tenant, Refusal> {
        let tenant = Tenant::parse(&decode(written)?).map_err(|error| Refusal::Name(error.to_string()))?;
        if self.key.may(verb, &tenant) { Ok(tenant) } else { Err(Refusal::Scope(verb)) }
    }

    /// A topic in the path, where the key allows this in its tenant.
    fn topic(&self, verb: Verb, tenant: &str, topic: &str) -> Result<TopicKey, Refusal> {
        let tenant = self.tenant(verb, tenant)?;
        let topic = Topic::parse(&decode(topic)?).map_err(|error| Refusal::Name(error.to_string()))?;
        Ok(TopicKey::new(&tenant, &topic))
    }

    /// How many are asked for on a page, 1 to `max`.
    fn limit(&self, max: usize) -> Result<usize, Refusal> {
        match parameter(self.head, "limit") {
            None => Ok(PAGE_DEFAULT.min(max)),
            Some(limit) => limit.parse().ok().filter(|limit| (1..=max).contains(limit)).ok_or(Refusal::Limit(max)),
        }
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

/// A page that is encoded already.
fn page(body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
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
