//! `GET …/presence`: who is there, in pages.

use bytes::Bytes;
use fanfare_backplane::{PresenceCursor, PresenceLimits};
use fanfare_protocol::{Codec, assemble};
use http_body_util::Full;
use hyper::Response;

use super::refusal::Refusal;
use super::{Api, Call, page, parameter};
use crate::api_keys::Verb;
use crate::presence::{self, PAGE_USERS_MAX};

impl Api {
    pub(super) async fn presence(
        &self,
        call: &Call<'_>,
        tenant: &str,
        topic: &str,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let key = call.topic(Verb::Read, tenant, topic)?;
        let users_max = call.limit(PAGE_USERS_MAX)?;
        let cursor = parameter(call.head, "cursor").map(|cursor| cursor.parse::<PresenceCursor>()).transpose();
        let cursor = cursor.map_err(|_| Refusal::Cursor)?.unwrap_or_default();
        let limits = PresenceLimits { users_max, bytes_max: self.limits.body_bytes_max };
        let found = self.node.presence.list(&key, limits, &cursor).await?;
        let mut body = serde_json::json!({ "count": found.count });
        if let Some(cursor) = &found.cursor {
            body["cursor"] = cursor.to_string().into();
        }
        let mut body = body.to_string().into_bytes();
        assemble::add_field(Codec::Json, &mut body, "users", &presence::users(Codec::Json, &found));
        Ok(page(body))
    }
}
