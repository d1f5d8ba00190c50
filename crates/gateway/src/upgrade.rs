//! `GET /ws`: from an HTTP request to a client (RFC 6455 §4.2). fastwebsockets makes the handshake; origin, subprotocols
//! and tokens, which it doesn't look at, are judged here.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use fanfare_core::admission::Place;
use fanfare_protocol::Codec;
use fastwebsockets::{WebSocketError, upgrade};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, HeaderValue, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::client::Credentials;
use crate::lifecycle::Phase;
use crate::node::Node;
use crate::origin::OriginPolicy;
use crate::refusal::Refusal;
use crate::socket::Socket;
use crate::{cors, dead_peer, problem};

const JSON: &str = "fanfare.v1.json";
const MSGPACK: &str = "fanfare.v1.msgpack";
const TOKEN_PREFIX: &str = "fanfare.token.";

/// What the client offers in `Sec-WebSocket-Protocol`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    codec: Option<Codec>,
    token: Option<String>,
}

/// Answers an upgrade request, and serves the client once it is upgraded.
pub async fn handle(
    node: &Arc<Node>,
    origins: &OriginPolicy,
    mut request: Request<Incoming>,
    address: IpAddr,
) -> Response<Full<Bytes>> {
    if !upgrade::is_upgrade_request(&request) {
        return upgrade_required("this is a WebSocket endpoint: connect with ws:// or wss://");
    }
    let offer = Offer::read(request.headers());
    let admitted = admit(node, origins, &request, &offer, address).await;
    if offer.codec.is_none()
        && let Err(refusal) = &admitted
    {
        node.metrics.upgrade_refused();
        return refusal.response();
    }
    let (response, upgraded) = match upgrade::upgrade(&mut request) {
        Ok(upgrading) => upgrading,
        Err(WebSocketError::MissingSecWebSocketKey) => {
            return problem::response(StatusCode::BAD_REQUEST, "bad_request", "Sec-WebSocket-Key is missing");
        }
        Err(_) => return upgrade_required("only version 13 of the WebSocket protocol is spoken here"),
    };
    let node = Arc::clone(node);
    let codec = offer.codec.unwrap_or(Codec::Json);
    tokio::spawn(async move {
        // A client that goes away before the answer reaches it gives its place back here.
        if let Ok(websocket) = upgraded.await
            && let Some(socket) = bare(websocket.into_inner())
        {
            node.serve(socket, codec, address, admitted);
        }
    });
    let mut response = response.map(|_: Empty<Bytes>| Full::default());
    if let Some(codec) = offer.codec {
        let chosen = match codec {
            Codec::Json => JSON,
            Codec::Msgpack => MSGPACK,
        };
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
    }
    response
}

/// Says what the client should have asked for (RFC 9110 §15.5.22, RFC 6455 §4.4).
fn upgrade_required(message: &str) -> Response<Full<Bytes>> {
    let mut response = problem::response(StatusCode::UPGRADE_REQUIRED, "bad_request", message);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// Origin, then place, then token: what costs least is judged first.
pub(crate) async fn admit(
    node: &Node,
    origins: &OriginPolicy,
    request: &Request<Incoming>,
    offer: &Offer,
    address: IpAddr,
) -> Result<(Place, Credentials), Refusal> {
    let place = let_in(node, origins, request.headers(), address)?;
    let full = |reached| node.metrics.refused_place(reached);
    let credentials = match token(request, offer) {
        None => Credentials::Awaited(node.admission.enter_pending(address).map_err(full)?),
        Some(token) => {
            let principal = node.authenticate(&token).await?;
            let place = node.admission.enter_principal(&principal.tenant, &principal.user).map_err(full)?;
            Credentials::Principal(Arc::new(principal), place)
        }
    };
    Ok((place, credentials))
}

/// A place on the node, for a page that may connect.
pub(crate) fn let_in(
    node: &Node,
    origins: &OriginPolicy,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<Place, Refusal> {
    if !origins.allows(cors::origin(headers)) {
        return Err(Refusal::Origin);
    }
    if node.lifecycle.phase() >= Phase::Draining {
        return Err(Refusal::Draining);
    }
    Ok(node.admission.enter(address).map_err(|reached| node.metrics.refused_place(reached))?)
}

/// The token, by the ways of the contract in their order: header, subprotocol, query.
pub(crate) fn token(request: &Request<Incoming>, offer: &Offer) -> Option<String> {
    let bearer = request.headers().get(AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?));
    bearer.map(ToOwned::to_owned).or_else(|| offer.token.clone()).or_else(|| query_token(request.uri().query()?))
}

/// The token of an `Authorization` header (RFC 6750 §2.1); the scheme's case doesn't matter (RFC 9110 §11.1).
pub fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A JWT has no character that a query would have to escape (RFC 7515 §2).
fn query_token(query: &str) -> Option<String> {
    let token = query.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    (!token.is_empty()).then(|| token.to_owned())
}

impl Offer {
    fn read(headers: &HeaderMap) -> Self {
        let mut offer = Self::default();
        let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        for protocol in values.flat_map(|value| value.split(',')).map(str::trim) {
            match protocol {
                JSON => offer.codec = offer.codec.or(Some(Codec::Json)),
                MSGPACK => offer.codec = offer.codec.or(Some(Codec::Msgpack)),
                other => {
                    let token = other.strip_prefix(TOKEN_PREFIX).map(ToOwned::to_owned);
                    offer.token = offer.token.take().or(token);
                }
            }
        }
        offer
    }
}

/// The bare socket: from here on nothing of hyper's is kept. A client that answers pings needs no watch of the kernel.
pub fn bare(upgraded: TokioIo<hyper::upgrade::Upgraded>) -> Option<Socket> {
    match upgraded.into_inner().downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let stream = parts.io.into_inner();
            dead_peer::unwatch(&stream);
            Some(Socket::plain(stream, own(&parts.read_buf)))
        }
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>().ok()?;
            let stream = parts.io.into_inner();
            dead_peer::unwatch(stream.get_ref().0);
            Some(Socket::tls(stream, own(&parts.read_buf)))
        }
    }
}

/// A copy: hyper's buffer would stay as long as a slice of it.
fn own(read_buf: &Bytes) -> Bytes {
    if read_buf.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(read_buf) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn offer(values: &[&str]) -> Offer {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(SEC_WEBSOCKET_PROTOCOL, value.parse().unwrap());
        }
        Offer::read(&headers)
    }

    #[test]
    fn the_first_known_subprotocol_is_chosen_and_the_token_found() {
        assert_eq!(offer(&[]), Offer::default());
        assert_eq!(offer(&["chat"]), Offer::default());
        assert_eq!(offer(&["fanfare.v1.msgpack, fanfare.v1.json"]).codec, Some(Codec::Msgpack));
        let both = offer(&["fanfare.v1.json", "fanfare.token.a.b.c"]);
        assert_eq!(both, Offer { codec: Some(Codec::Json), token: Some("a.b.c".into()) });
    }

    #[test]
    fn a_token_is_found_in_the_query_and_in_the_header() {
        assert_eq!(query_token("a=b&token=x.y.z&c=d"), Some("x.y.z".into()));
        assert_eq!(query_token("mytoken=x"), None);
        assert_eq!(query_token("token="), None);
        assert_eq!(bearer("bearer x"), Some("x"));
        assert_eq!(bearer("Basic x"), None);
    }
}
