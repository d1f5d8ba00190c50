//! HTTP answers to what can't be done: always with `code` and `message`, and on the ports of operators and backends as a
//! problem document (RFC 9457), for libraries that know those.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

/// A JSON body with any status.
pub fn json(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    with_type(status, "application/json", body)
}

/// `code` for programs, `message` for people.
pub fn response(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    json(status, &json!({ "code": code, "message": message }))
}

/// A problem document: `code` for programs, `message` for people, which is its `detail` too. It has no type of its own, so its title is the status's
/// (RFC 9457 §4.2.1).
pub fn document(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    document_with(status, code, message, None)
}

/// A problem document that also tells the `reason` why an event is not valid.
pub fn document_with(status: StatusCode, code: &str, message: &str, reason: Option<&str>) -> Response<Full<Bytes>> {
    let mut body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": message,
        "code": code,
        "message": message,
    });
    if let Some(reason) = reason {
        body["reason"] = reason.into();
    }
    with_type(status, "application/problem+json", &body)
}

/// There is nothing at this path.
pub fn not_found() -> Response<Full<Bytes>> {
    document(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}

/// `allowed`: the methods, comma separated.
pub fn method_not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response =
        document(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &format!("this path allows {allowed}"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn with_type(status: StatusCode, content_type: &'static str, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
