//! `GET …/history`: what a topic has kept.

use bytes::Bytes;
use fanfare_backplane::ReadLimits;
use fanfare_protocol::{Codec, assemble};
use http_body_util::Full;
use hyper::Response;

use super::refusal::Refusal;
use super::{Api, Call, page, parameter};
use crate::api_keys::Verb;
use crate::client::history;

/// Events on a page, at most.
const EVENTS_MAX: usize = 1_000;

impl Api {
    pub(super) async fn history(
        &self,
        call: &Call<'_>,
        tenant: &str,
        topic: &str,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let key = call.topic(Verb::Read, tenant, topic)?;
        let events_max = call.limit(EVENTS_MAX)?;
        let before = parameter(call.head, "before").map(|before| before.parse()).transpose();
        let before = before.map_err(|_| Refusal::Before)?;
        let limits = ReadLimits { events_max, bytes_max: self.limits.body_bytes_max };
        let found = self.node.backplane.history(&key, before, limits).await?;
        let event_bytes_max = self.node.config.rules.of(key.topic()).event_bytes_max;
        let events = history::checked(&self.node, &key, found.events, event_bytes_max);
        let events = assemble::list(Codec::Json, events.iter().map(|event| event.encode(Codec::Json)));
        let mut body = serde_json::json!({ "more": found.more }).to_string().into_bytes();
        assemble::add_field(Codec::Json, &mut body, "events", &events);
        Ok(page(body))
    }
}
