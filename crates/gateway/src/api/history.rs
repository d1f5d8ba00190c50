//! `GET …/history`: what a topic has kept.

use bytes::Bytes;
use fanfare_backplane::ReadLimits;
use fanfare_protocol::{Codec, Topic, TopicKey, assemble};
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::refusal::Refusal;
use super::{Api, Call, decode, parameter};
use crate::api_keys::Verb;
use crate::client::history;

/// Events on a page, at most and when nobody says how many.
const EVENTS_MAX: usize = 1_000;
const EVENTS_DEFAULT: usize = 100;

impl Api {
    pub(super) async fn history(
        &self,
        call: &Call<'_>,
        tenant: &str,
        topic: &str,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let tenant = call.tenant(Verb::Read, tenant)?;
        let topic = Topic::parse(&decode(topic)?).map_err(|error| Refusal::Name(error.to_string()))?;
        let limit = |limit: &str| limit.parse().ok().filter(|limit| (1..=EVENTS_MAX).contains(limit));
        let events_max = match parameter(call.head, "limit") {
            None => EVENTS_DEFAULT,
            Some(written) => limit(&written).ok_or(Refusal::Limit(EVENTS_MAX))?,
        };
        let before = parameter(call.head, "before").map(|before| before.parse()).transpose();
        let before = before.map_err(|_| Refusal::Before)?;
        let key = TopicKey::new(&tenant, &topic);
        let limits = ReadLimits { events_max, bytes_max: self.limits.body_bytes_max };
        let page = self.node.backplane.history(&key, before, limits).await?;
        let event_bytes_max = self.node.config.rules.of(key.topic()).event_bytes_max;
        let events = history::checked(&self.node, &key, page.events, event_bytes_max);
        let events = assemble::list(Codec::Json, events.iter().map(|event| event.encode(Codec::Json)));
        let mut body = serde_json::json!({ "more": page.more }).to_string().into_bytes();
        assemble::add_field(Codec::Json, &mut body, "events", &events);
        let mut response = Response::new(Full::from(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}
