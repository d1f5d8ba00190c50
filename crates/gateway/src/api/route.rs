//! The paths of the HTTP API.

use hyper::Method;

use crate::api_keys::Verb;

/// What a path asks for; names in it as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `/v1/tenants/{tenant}/topics/{topic}/events`
    TopicEvents { tenant: &'a str, topic: &'a str },
    /// `/v1/tenants/{tenant}/events`
    TenantEvents { tenant: &'a str },
    /// `/v1/tenants/{tenant}/topics/{topic}/history`
    History { tenant: &'a str, topic: &'a str },
    /// `/v1/tenants/{tenant}/topics/{topic}/presence`
    Presence { tenant: &'a str, topic: &'a str },
    /// `/v1/tenants/{tenant}/users/{user}/disconnect`
    Disconnect { tenant: &'a str, user: &'a str },
    /// `/v1/tokens/revoke`
    Revoke,
    /// `/v1/stats`
    Stats,
    /// `/v1/openapi.json`
    OpenApi,
}

impl<'a> Route<'a> {
    /// What is at this path.
    pub(super) fn of(path: &'a str) -> Option<Route<'a>> {
        let segments: Vec<_> = path.strip_prefix("/v1/")?.split('/').collect();
        Some(match segments[..] {
            ["tenants", tenant, "topics", topic, "events"] => Route::TopicEvents { tenant, topic },
            ["tenants", tenant, "topics", topic, "history"] => Route::History { tenant, topic },
            ["tenants", tenant, "topics", topic, "presence"] => Route::Presence { tenant, topic },
            ["tenants", tenant, "events"] => Route::TenantEvents { tenant },
            ["tenants", tenant, "users", user, "disconnect"] => Route::Disconnect { tenant, user },
            ["tokens", "revoke"] => Route::Revoke,
            ["stats"] => Route::Stats,
            ["openapi.json"] => Route::OpenApi,
            _ => return None,
        })
    }

    /// The one method that it takes.
    pub(super) fn method(&self) -> Method {
        match self {
            Route::TopicEvents { .. } | Route::TenantEvents { .. } | Route::Disconnect { .. } | Route::Revoke => {
                Method::POST
            }
            Route::History { .. } | Route::Presence { .. } | Route::Stats | Route::OpenApi => Method::GET,
        }
    }

    /// What a key must allow; any key may read what the API is.
    pub(super) fn verb(&self) -> Option<Verb> {
        match self {
            Route::TopicEvents { .. } | Route::TenantEvents { .. } => Some(Verb::Publish),
            Route::History { .. } | Route::Presence { .. } | Route::Stats => Some(Verb::Read),
            Route::Disconnect { .. } => Some(Verb::Disconnect),
            Route::Revoke => Some(Verb::Revoke),
            Route::OpenApi => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_route_or_none() {
        let topic = "channel:a%2Fb";
        assert_eq!(
            Route::of("/v1/tenants/acme/topics/channel:a%2Fb/events"),
            Some(Route::TopicEvents { tenant: "acme", topic })
        );
        assert_eq!(Route::of("/v1/tenants/acme/events"), Some(Route::TenantEvents { tenant: "acme" }));
        assert_eq!(Route::of("/v1/stats"), Some(Route::Stats));
        for other in [
            "/v1/tenants/acme/topics/channel:a/b/events",
            "/v1/tenants/acme/topics/channel:a/events/",
            "/v1/tenants/acme/topics/channel:a",
            "/v1/tenants/acme/users/42",
            "/v1/stats/",
            "/v2/stats",
            "/",
        ] {
            assert_eq!(Route::of(other), None, "{other}");
        }
    }
}
