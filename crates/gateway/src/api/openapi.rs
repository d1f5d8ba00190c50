//! `GET /v1/openapi.json`: the description of this API (`OpenAPI` 3.1), which the tests hold against the code.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};

const DOCUMENT: &str = include_str!("openapi.json");

/// The document, as it is kept beside this file.
pub(super) fn document() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(DOCUMENT));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use hyper::Method;
    use serde_json::Value;

    use super::*;
    use crate::api::route::Route;

    const PATHS: [&str; 8] = [
        "/v1/tenants/{tenant}/topics/{topic}/events",
        "/v1/tenants/{tenant}/events",
        "/v1/tenants/{tenant}/topics/{topic}/history",
        "/v1/tenants/{tenant}/topics/{topic}/presence",
        "/v1/tenants/{tenant}/users/{user}/disconnect",
        "/v1/tokens/revoke",
        "/v1/stats",
        "/v1/openapi.json",
    ];

    /// Where a route stands in [`PATHS`]. Whoever adds a route finds this, and then the document.
    fn place(route: Route<'_>) -> usize {
        match route {
            Route::TopicEvents { .. } => 0,
            Route::TenantEvents { .. } => 1,
            Route::History { .. } => 2,
            Route::Presence { .. } => 3,
            Route::Disconnect { .. } => 4,
            Route::Revoke => 5,
            Route::Stats => 6,
            Route::OpenApi => 7,
        }
    }

    #[test]
    fn the_document_has_every_route_and_its_method_and_no_others() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let of_api: Vec<_> = paths.keys().filter(|path| path.starts_with("/v1/")).collect();
        assert_eq!(of_api.len(), PATHS.len(), "{of_api:?}");
        for (index, path) in PATHS.into_iter().enumerate() {
            let route = Route::of(path).unwrap();
            assert_eq!(place(route), index, "{path}");
            let methods: Vec<_> =
                paths[path].as_object().unwrap().keys().filter(|name| *name != "parameters").collect();
            assert_eq!(methods, [&route.method().as_str().to_lowercase()], "{path}");
            assert!([Method::GET, Method::POST].contains(&route.method()));
            let description = paths[path][methods[0]]["description"].as_str().unwrap();
            let verb = route.verb().map(|verb| format!("Needs the verb `{verb}`."));
            assert_eq!(description.starts_with("Needs the verb"), verb.is_some(), "{path}");
            assert!(description.starts_with(&verb.unwrap_or_default()), "{path}: {description}");
        }
    }
}
