//! `POST …/disconnect` and `POST /v1/tokens/revoke`: orders to all nodes.

use std::time::Duration;

use bytes::Bytes;
use fanfare_protocol::{Tenant, Topic};
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::refusal::Refusal;
use super::{Api, Call, TOKEN_ID_BYTES_MAX, decode};
use crate::api_keys::Verb;
use crate::{clock, problem};

/// How long a revoked token is remembered of which nobody says when it expires: 7 days.
const REMEMBERED: Duration = Duration::from_hours(7 * 24);

/// The longest that a token is remembered: a year.
const REMEMBERED_MAX: Duration = Duration::from_hours(365 * 24);

/// A token is believed for a while after it has expired (`jwt_leeway_s`), and clocks differ.
const GRACE: Duration = Duration::from_hours(1);

/// In 1973, if it is in milliseconds; in 5138, if it is in seconds.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revocation {
    jti: String,
    #[serde(default)]
    tenant: Option<String>,
    /// Unix ms.
    #[serde(default)]
    expires_at: Option<u64>,
}

impl Api {
    pub(super) async fn disconnect(
        &self,
        call: &Call<'_>,
        tenant: &str,
        user: &str,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let tenant = call.tenant(Verb::Disconnect, tenant)?;
        let user = decode(user)?;
        Topic::user(&user).map_err(|error| Refusal::Name(format!("the user makes no topic: {error}")))?;
        self.node.control.disconnect(&tenant, &user).await?;
        Ok(accepted())
    }

    pub(super) async fn revoke(&self, call: Call<'_>) -> Result<Response<Full<Bytes>>, Refusal> {
        if !call.is_json() {
            return Err(Refusal::NotJson);
        }
        let key = call.key.clone();
        let body = self.read(call.body).await?;
        let revocation = Revocation::read(&body)?;
        if !(1..=TOKEN_ID_BYTES_MAX).contains(&revocation.jti.len()) {
            return Err(Refusal::TokenId);
        }
        let parse = |tenant: String| Tenant::parse(&tenant).map_err(|error| Refusal::Name(error.to_string()));
        let tenant = revocation.tenant.map(parse).transpose()?;
        match &tenant {
            Some(tenant) if !key.may(Verb::Revoke, tenant) => return Err(Refusal::Scope(Verb::Revoke)),
            None if !key.may_in_every_tenant(Verb::Revoke) => return Err(Refusal::TenantMissing),
            _ => {}
        }
        if revocation.expires_at.is_some_and(|end| end < MILLISECONDS_FROM) {
            return Err(Refusal::ExpiryInSeconds);
        }
        let left = |end: u64| Duration::from_millis(end.saturating_sub(clock::unix_ms())) + GRACE;
        let ttl = revocation.expires_at.map_or(REMEMBERED, left).min(REMEMBERED_MAX);
        self.node.control.revoke(&revocation.jti, tenant.as_ref(), ttl).await?;
        Ok(accepted())
    }
}

impl Revocation {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        // Its fields one after the other in an array would do, too.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(Refusal::Revocation("it is no JSON object".to_owned()));
        }
        serde_json::from_slice(body).map_err(|error| Refusal::Revocation(error.to_string()))
    }
}

/// The nodes have been told; each does it by itself.
fn accepted() -> Response<Full<Bytes>> {
    problem::json(StatusCode::ACCEPTED, &json!({ "accepted": true }))
}
