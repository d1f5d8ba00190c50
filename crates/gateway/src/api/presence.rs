//! `GET …/presence`: who is there, in pages.

use bytes::Bytes;
use fanfare_backplane::{PresenceCursor, PresenceLimits};
use fanfare_protocol::{Codec, Topic, TopicKey, assemble};
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::refusal::Refusal;
use super::{Api, Call, decode, parameter};
use crate::api_keys::Verb;
use crate::presence::{self, PAGE_USERS_MAX};

/// Users on a page when nobody says how many.
const USERS_DEFAULT: usize = 100;

impl Api {
    pub(super) async fn presence(
        &self,
        call: &Call<'_>,
        tenant: &str,
        topic: &str,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let tenant = call.tenant(Verb::Read, tenant)?;
        let topic = Topic::parse(&decode(topic)?).map_err(|error| Refusal::Name(error.to_string()))?;
        let limit = |limit: &str| limit.parse().ok().filter(|limit| (1..=PAGE_USERS_MAX).contains(limit));
        let users_max = match parameter(call.head, "limit") {
            None => USERS_DEFAULT,
            Some(written) => limit(&written).ok_or(Refusal::Limit(PAGE_USERS_MAX))?,
        };
        let cursor = parameter(call.head, "cursor").map(|cursor| cursor.parse::<PresenceCursor>()).transpose();
        let cursor = cursor.map_err(|_| Refusal::Cursor)?.unwrap_or_default();
        let limits = PresenceLimits { users_max, bytes_max: self.limits.body_bytes_max };
        let page = self.node.presence.list(&TopicKey::new(&tenant, &topic), limits, &cursor).await?;
        let mut body = serde_json::json!({ "count": page.count });
        if let Some(cursor) = &page.cursor {
            body["cursor"] = cursor.to_string().into();
        }
        let mut body = body.to_string().into_bytes();
        assemble::add_field(Codec::Json, &mut body, "users", &presence::users(Codec::Json, &page));
        let mut response = Response::new(Full::from(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}
