//! `POST …/events`: one event, or many with a result for each. Everything about an event is checked here, so a backend
//! learns what Redis would carry in silence.

use std::collections::HashMap;

use bytes::Bytes;
use fanfare_backplane::ID_BYTES_MAX;
use fanfare_protocol::{Codec, Event, Position, Posted, PostedError, PostedItem, Tenant, Topic, TopicKey};
use futures_util::stream::{self, StreamExt};
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::{Api, Call, Traced, parameter};
use crate::api_keys::Verb;
use crate::metrics::Via;
use crate::problem;
use crate::publishing::Publication;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Topics of one request that are published to at the same time; the events of one come one after the other.
const TOPICS_AT_ONCE: usize = 64;

/// What a request says for all of its events.
struct Wish<'a> {
    durable: bool,
    id: Option<&'a str>,
}

/// One event of many, and where its result stands.
struct Item {
    index: usize,
    publication: Publication,
}

impl Api {
    pub(super) async fn topic_events(
        &self,
        call: Call<'_>,
        traced: &mut Traced,
        tenant: &str,
        topic: &str,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let key = call.topic(Verb::Publish, tenant, topic)?;
        traced.span = self.node.traces.publish_over_http(key.tenant(), Some(key.topic()), traced.caller);
        let codec = codec(&call.head.headers)?;
        let wish = Wish::of(call.head)?;
        let bytes = self.read(call.body).await?;
        let posted = Posted::read(codec, bytes, self.limits.batch_events_max);
        match posted.map_err(|error| self.no_events(error))? {
            Posted::One(envelope) => {
                let publication = self.publication(key, codec, envelope, wish.durable)?;
                if wish.id.is_some() && !publication.is_durable() {
                    return Err(Refusal::IdempotencyKey);
                }
                if let Some(span) = &mut traced.span {
                    span.of_event(publication.event(), publication.is_durable());
                }
                let publication = publication.with_id(wish.id.map(Box::from)).in_span(traced.span.as_ref());
                let position = publication.send(&self.node.backplane).await?;
                self.node.metrics.published(Via::Http);
                Ok(problem::json(StatusCode::OK, &result(json!({ "published": true }), position)))
            }
            Posted::Many(envelopes) => {
                let items = envelopes.into_iter().enumerate().map(|(index, envelope)| {
                    let publication = self.publication(key.clone(), codec, envelope, wish.durable);
                    let id = wish.id_of(index);
                    (Some(key.topic().to_owned()), publication.and_then(|publication| identified(publication, id)))
                });
                Ok(self.publish_all(items.collect(), traced).await)
            }
        }
    }

    pub(super) async fn tenant_events(
        &self,
        call: Call<'_>,
        traced: &mut Traced,
        tenant: &str,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let tenant = call.tenant(Verb::Publish, tenant)?;
        traced.span = self.node.traces.publish_over_http(tenant.as_str(), None, traced.caller);
        let codec = codec(&call.head.headers)?;
        let wish = Wish::of(call.head)?;
        let bytes = self.read(call.body).await?;
        let posted = PostedItem::read_all(codec, &bytes, self.limits.batch_events_max);
        let posted = posted.map_err(|error| self.no_events(error))?;
        let items = posted.into_iter().enumerate().map(|(index, item)| match item {
            Err(error) => (error.topic, Err(Refusal::Item(error.message))),
            Ok(item) => {
                let topic = item.topic.clone();
                (Some(topic), self.item(&tenant, codec, item, &wish, index))
            }
        });
        Ok(self.publish_all(items.collect(), traced).await)
    }

    fn item(
        &self,
        tenant: &Tenant,
        codec: Codec,
        item: PostedItem,
        wish: &Wish<'_>,
        index: usize,
    ) -> Result<Publication, Refusal> {
        let topic = Topic::parse(&item.topic).map_err(|error| Refusal::Name(error.to_string()))?;
        let durable = item.durable.unwrap_or(wish.durable);
        let publication = self.publication(TopicKey::new(tenant, &topic), codec, item.event, durable)?;
        identified(publication, item.id.or_else(|| wish.id_of(index)))
    }

    fn publication(&self, key: TopicKey, codec: Codec, envelope: Bytes, durable: bool) -> Result<Publication, Refusal> {
        let rule = self.node.config.rules.of(key.topic());
        let event = Event::from_envelope(codec, envelope, rule.event_bytes_max)?;
        Ok(Publication::new(key, rule, event, durable)?)
    }

    fn no_events(&self, error: PostedError) -> Refusal {
        match error {
            PostedError::TooMany(count) => Refusal::TooManyEvents(count, self.limits.batch_events_max),
            PostedError::NoEvents => Refusal::NoEvents(error),
        }
    }

    /// Publishes what can be, each topic's events in their order. A result for each, in theirs.
    async fn publish_all(
        &self,
        items: Vec<(Option<String>, Result<Publication, Refusal>)>,
        traced: &mut Traced,
    ) -> Response<Full<Bytes>> {
        let (count, mut failures) = (items.len(), 0);
        let mut results: Vec<Value> = Vec::with_capacity(items.len());
        let mut by_topic: HashMap<TopicKey, Vec<Item>> = HashMap::new();
        for (index, (topic, publication)) in items.into_iter().enumerate() {
            let mut result = json!({});
            if let Some(topic) = topic {
                result["topic"] = topic.into();
            }
            match publication {
                Ok(publication) => {
                    let publication = publication.in_span(traced.span.as_ref());
                    by_topic.entry(publication.topic().clone()).or_default().push(Item { index, publication });
                }
                Err(refusal) => {
                    failures += 1;
                    result["error"] = refusal.item();
                }
            }
            results.push(result);
        }
        let topics = by_topic.into_values().map(|items| self.publish_in_turn(items));
        let published: Vec<_> = stream::iter(topics).buffer_unordered(TOPICS_AT_ONCE).concat().await;
        for (index, outcome) in published {
            match outcome {
                Ok(position) => results[index] = result(results[index].take(), position),
                Err(refusal) => {
                    failures += 1;
                    results[index]["error"] = refusal.item();
                    self.failed(&refusal, traced);
                }
            }
        }
        if let Some(span) = &mut traced.span {
            span.of_many(count, failures);
        }
        problem::json(StatusCode::OK, &json!({ "results": results }))
    }

    /// Of one topic. Nothing is published after an event of which that isn't known: it would be out of order.
    async fn publish_in_turn(&self, items: Vec<Item>) -> Vec<(usize, Result<Option<Position>, Refusal>)> {
        let mut outcomes = Vec::with_capacity(items.len());
        let mut has_failed = false;
        for Item { index, publication } in items {
            if has_failed {
                outcomes.push((index, Err(Refusal::NotReached)));
                continue;
            }
            let outcome = publication.send(&self.node.backplane).await.map_err(Refusal::from);
            match &outcome {
                Ok(_) => self.node.metrics.published(Via::Http),
                Err(_) => has_failed = true,
            }
            outcomes.push((index, outcome));
        }
        outcomes
    }
}

impl<'a> Wish<'a> {
    fn of(head: &'a Parts) -> Result<Wish<'a>, Refusal> {
        let durable = match parameter(head, "durable").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Refusal::DurableValue),
        };
        let id = match head.headers.get(IDEMPOTENCY_KEY) {
            None => None,
            Some(id) => Some(id.to_str().ok().filter(|id| is_id(id)).ok_or(Refusal::IdempotencyKey)?),
        };
        Ok(Wish { durable, id })
    }

    /// Each event of many has an id of its own, the same whenever the request is repeated.
    fn id_of(&self, index: usize) -> Option<String> {
        self.id.map(|id| format!("{id}:{index}"))
    }
}

fn is_id(id: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len())
}

fn identified(publication: Publication, id: Option<String>) -> Result<Publication, Refusal> {
    match id {
        Some(id) if !is_id(&id) || !publication.is_durable() => Err(Refusal::ItemId),
        id => Ok(publication.with_id(id.map(String::into_boxed_str))),
    }
}

fn result(mut result: Value, position: Option<Position>) -> Value {
    if let Some(position) = position {
        result["position"] = json!(position);
    }
    result
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
